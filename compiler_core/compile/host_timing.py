"""Latency of a model on this machine or on a board, timed in rounds with its float model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime

from compiler_core.clock.kernels import Kernel, kernels_of
from compiler_core.clock.models import Timed, time_models
from compiler_core.clock.turns import HERE, first_free
from compiler_core.compile.sources import QuantizedModel
from compiler_core.configuration.runtime import Runtime, require_provider, runtime_table
from compiler_core.errors import InputError
from compiler_core.executable.executable import CONSTANTS, CpuSegment, Executable
from compiler_core.executable.report import ClockTiming
from compiler_core.graph.exporter import export_onnx
from compiler_core.graph.runtime import RUNTIME_ERRORS
from compiler_core.units.facets.host import float_sessions

ROUNDS = 50
BUDGET_S = 3.0
THREADS = 1

_OURS, _FLOAT = "model", "float model"


@dataclass(frozen=True)
class HostTimes:
    """What a model takes by the clock.

    Attributes:
        latency_ms: Median.
        clock: What to know beside it.
        kernels: Of each part that runs, in order of execution.
    """

    latency_ms: float
    clock: ClockTiming
    kernels: tuple[tuple[Kernel, ...], ...]


def time_on_host(
    source: QuantizedModel,
    executable: Executable,
    *,
    rounds: int = ROUNDS,
    budget_s: float = BUDGET_S,
) -> HostTimes:
    """Times a model on this machine, or on the first free one of its target's boards.

    Args:
        source: What was compiled; its float model is timed in the same rounds.
        executable: What it became.
        rounds: How many, if the budget allows.
        budget_s: After so much time no round begins, but a few are made.

    Raises:
        InputError: onnxruntime cannot run the model.
        MissingDependencyError: A board cannot be reached, or lacks something.
    """
    ours = timed_parts(executable)
    candidates = {_OURS: ours, _FLOAT: [_float_model(source)]}
    is_float = _models(candidates[_OURS]) == _models(candidates[_FLOAT])
    if is_float:
        del candidates[_FLOAT]
    feeds = source.timed_feeds()
    asked: dict[str, Any] = {"threads": THREADS, "repeats": rounds, "budget_s": budget_s}
    runtime = source.configuration.runtime
    asked["threads"] = runtime.threads
    if executable.target.board:
        for name, value in feeds.items():
            if not isinstance(value, np.ndarray):
                raise InputError(
                    f"target {executable.target.board}: input {name!r} is no tensor; boards are "
                    "sent tensors alone",
                    hint="compile for 'host' on that machine",
                )
        from compiler_core.boards.timing import time_on_boards  # few compiles are for boards

        board = executable.target.board
        options = runtime_table(runtime)
        found = time_on_boards(board, candidates, feeds, profiled=_OURS, options=options, **asked)
        timed, kernels = found.timed, found.kernels
    else:
        require_provider(runtime)
        with first_free([HERE]):
            timed = time_models(candidates, feeds, _opener(runtime), **asked)
            kernels = kernels_of(ours, feeds, runtime.threads)
    return HostTimes(*clock_timing(timed, _OURS, _OURS if is_float else _FLOAT), kernels)


def _opener(runtime: Runtime) -> Callable[[Any], Any]:
    """What opens parts: those of the model as the configuration says, the float model as
    onnxruntime opens it by default."""
    usual = partial(float_sessions().open, portable=False)
    if runtime == Runtime():
        return usual
    return lambda part: usual(part) if part.name == _FLOAT else _RuntimeSession(part, runtime)


class _RuntimeSession:
    """A part of a model with options of its own.

    Raises:
        InputError: onnxruntime cannot run it.
    """

    def __init__(self, part: CpuSegment, runtime: Runtime) -> None:
        self._outputs = list(part.outputs)
        try:
            self._session = onnxruntime.InferenceSession(
                part.model, runtime.session_options(), providers=runtime.providers
            )
        except RUNTIME_ERRORS as error:
            text = " ".join(str(error).split())
            raise InputError(f"onnxruntime cannot run it as [runtime] says: {text}") from error

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Arrays by output name."""
        found = self._session.run(self._outputs, dict(feeds))
        return dict(zip(self._outputs, found, strict=True))


def timed_parts(executable: Executable) -> list[CpuSegment]:
    """What runs, in order."""
    parts = [part for part in executable.segments if isinstance(part, CpuSegment)]
    return [part for part in parts if part.name != CONSTANTS]


def clock_timing(timed: Timed, ours: str, floats: str) -> tuple[float, ClockTiming]:
    """Median in milliseconds of one candidate, and what to know beside it.

    Args:
        timed: Candidates that were timed together.
        ours, floats: Names of two of them.
    """
    together = timed.together
    own, ratio = together.latency_us(ours), together.ratio(ours, floats)
    return own.value / 1e3, ClockTiming(
        own.low / 1e3,
        own.high / 1e3,
        together.rounds,
        together.latency_us(floats).value / 1e3,
        ratio.value,
        ratio.low,
        ratio.high,
        timed.machine,
        together.warnings,
        tuple(us / 1e3 for us in together.samples_us[ours]),
        tuple(us / 1e3 for us in together.samples_us[floats]),
    )


def _float_model(source: QuantizedModel) -> CpuSegment:
    graph = source.model.graph
    model = export_onnx(graph).SerializeToString(deterministic=True)
    return CpuSegment(_FLOAT, graph.inputs, graph.outputs, model)


def _models(parts: Sequence[CpuSegment]) -> list[bytes]:
    return [part.model for part in parts]
