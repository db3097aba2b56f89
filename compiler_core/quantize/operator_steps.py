"""What each operator becomes on a unit that computes in integers: one step, fused with those before
it where one program computes both."""

from __future__ import annotations

from dataclasses import replace
from math import prod

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Node
from compiler_core.graph.views import clip_limits, pad_amounts, slice_of_axis, slice_steps
from compiler_core.graph.windows import window_of
from compiler_core.quantize.blocks import Reals
from compiler_core.quantize.interleave_steps import depth_to_space
from compiler_core.quantize.layout import (
    Chw,
    Index,
    Placement,
    compact,
    laid_out,
    pixel_index,
    pixels_of,
)
from compiler_core.quantize.layouts import MisfitError
from compiler_core.quantize.product_steps import product
from compiler_core.quantize.skeleton import ConcatStep, ConvKind, ConvStep, PoolStep
from compiler_core.quantize.spread import spread_placement
from compiler_core.quantize.step_builder import Handlers, StepBuilder

_Floats = npt.NDArray[np.float64]

_MOST_CHOSEN = 1 << 22
"""Weights of a choice of channels, nearly all of them 0: each value that is taken costs a
multiplication with every channel, where the CPU would move it."""


def _depthwise(
    work: StepBuilder,
    node: Node,
    source: Placement,
    kind: ConvKind,
    *,
    kernel: _Floats | None = None,
    strides: tuple[int, int] = (1, 1),
    pads: tuple[int, int, int, int] = (0, 0, 0, 0),
    dilations: tuple[int, int] = (1, 1),
) -> ConvStep:
    """One ``float64[kh, kw]`` kernel (default: 1) on every channel."""
    channels = source.chw[0]
    taps = np.ones((1, 1)) if kernel is None else kernel
    return ConvStep(
        name=node.name,
        kind=kind,
        input=source.root,
        output=node.output,
        weight=np.ascontiguousarray(np.broadcast_to(taps, (channels, 1, *taps.shape))),
        bias=np.zeros(channels),
        strides=strides,
        pads=pads,
        dilations=dilations,
        groups=channels,
        sources=work.sources(node),
        clip=node.clip,
    )


def _image_out(work: StepBuilder, tensor: str) -> Chw:
    shape = work.layouts.shape(tensor)
    return (shape[0], 1, shape[1]) if len(shape) == 2 else (shape[0], shape[1], shape[2])


def conv(work: StepBuilder, node: Node) -> None:
    """Conv."""
    window = window_of(work.graph, node)
    assert window is not None  # a rule of the operator
    groups = int(node.attributes.get("group", 1))
    weight = _weight(work, node)
    weight = weight[:, :, None] if weight.ndim == 3 else weight
    if groups > 1:
        source = work.layouts.image(node.inputs[0], moved=True)
    else:
        source, order = work.layouts.channels(node.inputs[0], moved=True)
        if order is not None:
            weight = np.ascontiguousarray(weight[:, np.argsort(order)])
    step = ConvStep(
        name=node.name,
        kind=ConvKind.WEIGHTS,
        input=source.root,
        output=node.output,
        weight=weight,
        bias=_bias(work, node, len(weight)),
        strides=window.strides,
        pads=window.pads,
        dilations=window.dilations,
        groups=groups,
        sources=work.sources(node),
        clip=node.clip,
    )
    work.emit(step, node.output, _image_out(work, node.output))


def _weight(work: StepBuilder, node: Node) -> Reals:
    """The constant as it is where float64 would hold the same values."""
    constant = work.graph.constants[node.inputs[1]]
    exact = constant.dtype in (np.float32, np.float64)
    return np.asarray(constant, dtype=constant.dtype if exact else np.float64)


def _bias(work: StepBuilder, node: Node, outputs: int) -> _Floats:
    if len(node.inputs) < 3 or not node.inputs[2]:
        return np.zeros(outputs)
    bias = np.asarray(work.graph.constants[node.inputs[2]], dtype=np.float64)
    return np.ascontiguousarray(np.broadcast_to(bias.reshape(-1), (outputs,)))


def dense(work: StepBuilder, node: Node) -> None:
    """Dense, MatMul, Gemm: a convolution over the layout that its input already has."""
    tensor = node.inputs[0]
    shape = work.layouts.shape(tensor)
    source = work.layouts.prefer_usual(tensor, pixels_of(shape), pixel_index(shape))
    matrix = _weight(work, node)
    matrix = matrix if node.attributes.get("transB") else matrix.T
    bias = _bias(work, node, len(matrix))
    if node.op == "Gemm":
        alpha = np.float64(node.attributes.get("alpha", 1.0))
        matrix = matrix if alpha == 1.0 else matrix * alpha
        bias = bias * float(node.attributes.get("beta", 1.0))
    pixels = prod(shape[:-1])
    place = source.positions(shape).reshape(pixels, shape[-1])
    if pixels > 1 and not _in_pixels(place, source.chw):
        source = work.layouts.moved(tensor, pixels_of(shape), pixel_index(shape))
        place = source.positions(shape).reshape(pixels, shape[-1])
    weight, features = matrix, prod(source.chw) if pixels == 1 else source.chw[0]
    if pixels > 1 or features > shape[-1] or not np.array_equal(place[0], np.arange(shape[-1])):
        weight = np.zeros((len(matrix), features), matrix.dtype)
    index: Index | None = None
    more = 0
    if pixels == 1:
        if weight is not matrix:
            weight[:, place[0]] = matrix
        weight, chw = weight.reshape(-1, *source.chw), (len(matrix), 1, 1)
    else:
        channel, pixel = place // pixels, place % pixels
        weight[:, channel[0]] = matrix
        weight, chw = weight[:, :, None, None], (len(matrix), *source.chw[1:])
        more = work.layouts.usual_room(node.output, chw)
        chw = (*chw[:2], chw[2] + more)
        index = np.arange(len(matrix))[None, :] * (pixels + more) + pixel[:, :1]
        index = laid_out(index.reshape(*shape[:-1], len(matrix)), chw)
    step = ConvStep(
        name=node.name,
        kind=ConvKind.WEIGHTS,
        input=source.root,
        output=node.output,
        weight=weight,
        bias=bias,
        strides=(1, 1),
        pads=(0, 0, 0, more),
        dilations=(1, 1),
        groups=1,
        sources=work.sources(node),
        clip=node.clip,
    )
    work.emit(step, node.output, chw, index)


def _in_pixels(place: Index, chw: Chw) -> bool:
    """Whether the features of each of several places are all channels of one pixel.

    Args:
        place: ``int64[places, features]``, flat positions.
        chw: Where they lie.
    """
    pixels, features = place.shape
    channel, pixel = place // pixels, place % pixels
    whole = chw[0] >= features and chw[1] * chw[2] == pixels
    same = whole and (channel == channel[0]).all()
    return bool(same and (pixel == pixel[:, :1]).all())


def add_activations(work: StepBuilder, node: Node) -> None:
    """Add: into the accumulator of the convolution that computes an operand, or on its own."""
    first, second = node.inputs
    if work.layouts.shape(first) != work.layouts.shape(second):
        add_spread(work, node)
        return
    if work.layouts.placed(first) is None and (known := work.layouts.placed(second)) is not None:
        left = work.layouts.place(first, known.chw, known.index)
    else:
        left = work.layouts.any_order(first)
    right = work.layouts.place(second, left.chw, left.index)
    if not left.same_order(right):
        raise MisfitError(f"'{first}' and '{second}' lie in memory in different orders")
    candidates = [
        (producer, other)
        for tensor, other in ((first, right), (second, left))
        if first != second and (producer := work.producer(tensor)) is not None
    ]
    # The later one is on the main path of most networks.
    fused = max(candidates, key=lambda pair: work.steps.index(pair[0]), default=None)
    _emit_addition(work, node, left, right, fused)


def add_spread(work: StepBuilder, node: Node) -> None:
    """Add of an activation that has one element in place of some axes of the other."""
    large, small = sorted(node.inputs, key=lambda name: -prod(work.layouts.shape(name)))
    left = work.layouts.any_order(large)
    shapes = work.layouts.shape(large), work.layouts.shape(small)
    wanted = spread_placement(left, *shapes)
    if wanted is None:
        raise MisfitError(f"'{small}' cannot lie so that '{large}' finds its elements")
    right = work.layouts.place(small, wanted.chw, wanted.index)
    if not wanted.same_order(right):
        raise MisfitError(f"'{large}' and '{small}' lie in memory in different orders")
    producer = work.producer(large)
    fused = None if producer is None else (producer, right)
    _emit_addition(work, node, left, right, fused)


def _emit_addition(
    work: StepBuilder,
    node: Node,
    left: Placement,
    right: Placement,
    fused: tuple[ConvStep, Placement] | None,
) -> None:
    """Into the accumulator of a convolution, or on its own where there is none."""
    if fused is None:
        alone = _depthwise(work, node, left, ConvKind.ADD)
        step: ConvStep = replace(alone, residual=right.root)
    else:
        producer, other = fused
        work.steps.remove(producer)
        del work.layouts.placements[producer.output]
        step = replace(
            producer,
            output=node.output,
            residual=other.root,
            clip=node.clip,
            sources=producer.sources + work.sources(node),
        )
    work.emit(step, node.output, left.chw, left.index)


def max_pool(work: StepBuilder, node: Node) -> None:
    """MaxPool."""
    window = window_of(work.graph, node)
    assert window is not None  # a rule of the operator
    source = work.layouts.image(node.inputs[0])
    step = PoolStep(
        name=node.name,
        input=source.root,
        output=node.output,
        kernel=window.kernel,
        strides=window.strides,
        pads=window.pads,
        dilations=window.dilations,
        sources=work.sources(node),
        clip=node.clip,
    )
    work.emit(step, node.output, _image_out(work, node.output))


def average_pool(work: StepBuilder, node: Node) -> None:
    """AveragePool."""
    window = window_of(work.graph, node)
    assert window is not None  # a rule of the operator
    step = _depthwise(
        work,
        node,
        work.layouts.image(node.inputs[0]),
        ConvKind.AVERAGE,
        kernel=np.full(window.kernel, 1.0 / prod(window.kernel)),
        strides=window.strides,
        pads=window.pads,
        dilations=window.dilations,
    )
    work.emit(step, node.output, _image_out(work, node.output))


def global_average_pool(work: StepBuilder, node: Node) -> None:
    """GlobalAveragePool."""
    source, order = work.layouts.channels(node.inputs[0])
    kernel = np.full(source.chw[1:], 1.0 / prod(source.chw[1:]))
    step = _depthwise(work, node, source, ConvKind.AVERAGE, kernel=kernel)
    index = None if order is None else compact(order.reshape(-1, 1, 1))
    work.emit(step, node.output, (source.chw[0], 1, 1), index)


def concat(work: StepBuilder, node: Node) -> None:
    """Concat: every input lies in the output; one that already lies elsewhere is copied."""
    sources = [work.layouts.image(tensor) for tensor in node.inputs]
    names = []
    for position, source in enumerate(sources):
        name = source.root
        if (work.unit, name) in work.concatenated:
            name = work.fresh(f"{node.output}/copy{position}")
            copy = _depthwise(work, node, source, ConvKind.COPY)
            copy = replace(copy, name=f"{node.name}/copy{position}", output=name, clip=None)
            work.emit(copy, name, source.chw)
        work.concatenated.add((work.unit, name))
        names.append(name)
    height, width = sources[0].chw[1:]
    chw = (sum(source.chw[0] for source in sources), height, width)
    output = node.output if node.clip is None else work.fresh(f"{node.output}/concat")
    step = ConcatStep(node.name, tuple(names), output, work.sources(node))
    work.emit(step, output, chw)
    if node.clip is not None:
        clamp = _depthwise(work, node, work.layouts.placements[output], ConvKind.COPY)
        clamp = replace(clamp, name=f"{node.name}/clip")
        work.emit(clamp, node.output, chw)


def clamp(work: StepBuilder, node: Node) -> None:
    """Relu, Clip."""
    limits = clip_limits(work.graph, node)
    assert limits is not None  # a rule of the operator
    if node.clip is not None:
        limits = max(node.clip[0], min(limits[0], node.clip[1])), min(limits[1], node.clip[1])
    source = work.layouts.any_order(node.inputs[0])
    step = replace(_depthwise(work, node, source, ConvKind.COPY), clip=limits)
    work.emit(step, node.output, source.chw, source.index)


def slice_tensor(work: StepBuilder, node: Node) -> None:
    """Slice: a strided window whose last tap is the first pixel taken, or a choice of channels."""
    steps = slice_steps(work.graph, node)
    if steps is None:
        choose_channels(work, node)
        return
    first, strides = steps
    kernel = np.zeros((first[0] + 1, first[1] + 1))
    kernel[-1, -1] = 1.0
    source = work.layouts.image(node.inputs[0])
    step = _depthwise(work, node, source, ConvKind.COPY, kernel=kernel, strides=strides)
    work.emit(step, node.output, _image_out(work, node.output))


def choose_channels(work: StepBuilder, node: Node) -> None:
    """Slice along channels: weights 0 and 1 between those that there are and those that are taken.

    Raises:
        MisfitError: What is taken lies in parts of channels.
    """
    found = slice_of_axis(work.graph, node)
    assert found is not None  # a rule of the operator
    axis, taken = found
    source = work.layouts.any_order(node.inputs[0])
    channels, height, width = source.chw
    if channels * len(taken) > _MOST_CHOSEN:
        raise MisfitError(f"'{node.output}' chooses among {channels} channels: the CPU moves them")
    positions = source.positions(work.layouts.shape(node.inputs[0]))
    wanted = np.take(positions, taken, axis - 1)
    own, pixel = np.divmod(wanted, height * width)
    there, here = (
        np.bincount(part.reshape(-1), minlength=channels)
        for part in (positions // (height * width), own)
    )
    chosen = np.flatnonzero(here)
    if (there != here)[chosen].any():
        raise MisfitError(f"'{node.output}' lies in parts of the channels of '{node.inputs[0]}'")
    first, order = np.empty((2, channels), np.int64)
    first[own.reshape(-1)[::-1]] = np.arange(own.size)[::-1]
    order[chosen] = np.argsort(np.argsort(first[chosen]))  # as the model has them
    weight = np.zeros((len(chosen), channels, 1, 1))
    weight[order[chosen], chosen] = 1.0
    step = _depthwise(work, node, source, ConvKind.COPY)
    step = replace(step, weight=weight, bias=np.zeros(len(weight)), groups=1)
    index = order[own] * (height * width) + pixel
    chw = (len(chosen), height, width)
    work.emit(step, node.output, chw, laid_out(index, chw))


def pad_image(work: StepBuilder, node: Node) -> None:
    """Pad: new channels are outputs without a weight; after a Slice both are one operator."""
    amounts = pad_amounts(work.graph, node)
    assert amounts is not None  # a rule of the operator
    before, after = amounts
    source = work.layouts.image(node.inputs[0])
    pads = (before[1], before[2], after[1], after[2])
    step = _depthwise(work, node, source, ConvKind.COPY, pads=pads)
    if before[0] or after[0]:
        inner = work.producer(node.inputs[0])
        taps = np.ones((1, 1))
        own = inner is not None and inner.groups == len(inner.weight)  # not of chosen channels
        if inner is not None and own and inner.kind is ConvKind.COPY and not any(pads):
            work.steps.remove(inner)
            del work.layouts.placements[inner.output]
            taps = inner.weight[0, 0]
            step = replace(
                step,
                input=inner.input,
                strides=inner.strides,
                pads=inner.pads,
                sources=inner.sources + step.sources,
            )
        channels = source.chw[0]
        weight = np.zeros((before[0] + channels + after[0], channels, *taps.shape))
        weight[before[0] + np.arange(channels), np.arange(channels)] = taps
        step = replace(step, weight=weight, bias=np.zeros(len(weight)), groups=1)
    work.emit(step, node.output, _image_out(work, node.output))


def matrix_product(work: StepBuilder, node: Node) -> None:
    """MatMul: by a constant matrix, or of two activations."""
    if node.inputs[1] in work.graph.constants:
        dense(work, node)
    else:
        product(work, node)


HANDLERS: Handlers = {
    "Conv": conv,
    "Dense": dense,
    "MatMul": matrix_product,
    "Gemm": dense,
    "Add": add_activations,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "Concat": concat,
    "DepthToSpace": depth_to_space,
    "Relu": clamp,
    "Clip": clamp,
    "Slice": slice_tensor,
    "Pad": pad_image,
}
