"""Operators that are too large for the buffers of the unit, as several that are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

from compiler_core.quantize.layout import Chw
from compiler_core.quantize.layouts import NoRoomError
from compiler_core.quantize.skeleton import ConcatStep, ConvStep, PoolStep, Step
from compiler_core.tensor.workload import Window
from compiler_core.units.vta.legality.pool_parts import pool_parts
from compiler_core.units.vta.legality.window_limits import CHANNEL_BLOCK, channel_parts


def parts_of(
    step: Step,
    source: Chw,
    result: Chw,
    fresh: Callable[[str], str],
    lanes: int = CHANNEL_BLOCK,
) -> Iterator[tuple[Step, Chw]]:
    """The steps that compute what ``step`` does, with the shape of what each writes.

    Args:
        step: An operator.
        source: Shape of its input without the batch.
        result: Shape of its output.
        fresh: A name for a tensor like the one given.
        lanes: Channels of an output vector.

    Yields:
        ``step`` alone where it has to be no others; the last one writes its output.
    """
    if isinstance(step, PoolStep):
        yield from _pools(step, source, fresh)
    elif isinstance(step, ConvStep) and step.interleave > 1:
        if len(channel_parts(len(step.weight), lanes)) > 1:
            raise NoRoomError(f"the phases of '{step.name}' have too many constants")
        yield step, result
    elif isinstance(step, ConvStep) and step.groups == 1 and step.residual is None:
        yield from _channels(step, result, fresh, lanes)
    else:
        yield step, result


def _channels(
    step: ConvStep, result: Chw, fresh: Callable[[str], str], lanes: int
) -> Iterator[tuple[Step, Chw]]:
    """Ranges of output channels, whose results lie in one tensor."""
    parts = channel_parts(len(step.weight), lanes)
    if len(parts) == 1:
        yield step, result
        return
    names = []
    for number, part in enumerate(parts):
        names.append(fresh(f"{step.output}/part{number}"))
        weight, bias = step.weight[part], step.bias[part]
        own = replace(
            step, name=f"{step.name}/part{number}", output=names[-1], weight=weight, bias=bias
        )
        yield own, (len(weight), *result[1:])
    yield ConcatStep(step.name, tuple(names), step.output, step.sources), result


def _pools(step: PoolStep, source: Chw, fresh: Callable[[str], str]) -> Iterator[tuple[Step, Chw]]:
    """Pools one after the other; maxima are among their inputs' values, so nothing is rounded."""
    window = Window(step.kernel, step.strides, step.pads, step.dilations)
    windows, shape = pool_parts(window, source[1:]), source
    for number, part in enumerate(windows):
        last = number == len(windows) - 1
        shape = (shape[0], *part.output_size(*shape[1:]))
        own = replace(
            step,
            output=step.output if last else fresh(f"{step.output}/part{number}"),
            name=step.name if last else f"{step.name}/part{number}",
            kernel=part.kernel,
            strides=part.strides,
            pads=part.pads,
            dilations=part.dilations,
            clip=step.clip if last else None,
        )
        yield own, shape
        step = replace(step, input=own.output)
