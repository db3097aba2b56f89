"""What the VTA can run: one small rule per limit, whose docstring is the message that a user reads.

A rule takes a graph and a node and returns ``None`` when it holds, else the value that it saw.
:func:`unsupported` asks the rules of a node's operator in order and puts the first answer into
words.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node
from compiler_core.graph.views import (
    VIEW_OPERATORS,
    clip_limits,
    pad_amounts,
    slice_of_axis,
    slice_steps,
)
from compiler_core.graph.windows import image_shape, sample_shape, window_of

CHANNEL_BLOCK = 16
"""Channels of one vector of the GEMM unit; concatenation places whole vectors."""

_CHANNELS_ROWS_COLUMNS = "CHW"
_SEQUENCE_RANK = 3
"""Axes of a batch of sequences: channels are the second or the third."""

_MOST_TERMS = 1 << 16
"""``128 * 128`` times as many are half of what int32 holds."""

Rule = Callable[[Graph, Node], str | None]


def types_are_known(graph: Graph, node: Node) -> str | None:
    """What tensors hold has to be known before the model runs: it is not behind sequences, graphs
    of operators and operators that are not of the standard."""
    for tensor in (*node.inputs, *node.outputs):
        if tensor and tensor not in graph.constants and tensor not in graph.types:
            return f"the type and shape of '{tensor}' are unknown"
    return None


def activations_are_float32(graph: Graph, node: Node) -> str | None:
    """The VTA takes what is float32 in the model; other element types stay on the CPU."""
    for tensor in (*node.inputs, *node.outputs):
        if tensor and tensor not in graph.constants:
            known = graph.types.get(tensor)
            if known is None or known.dtype != "float32":
                return f"'{tensor}' is {known.dtype if known else 'of unknown type'}"
    return None


def shapes_are_static(graph: Graph, node: Node) -> str | None:
    """The VTA's programs are for fixed sizes: axes behind the batch must not be open or empty."""
    data = [t for t in node.inputs[: _data_inputs(graph, node)] if t] + list(node.outputs[:1])
    for tensor in data:
        sample = sample_shape(graph, tensor)
        if sample is None or any(size < 1 for size in sample):
            known = graph.types.get(tensor)
            return f"'{tensor}' has shape {known.shape if known else 'unknown'}"
    return None


def batch_axis_stays(graph: Graph, node: Node) -> str | None:
    """The VTA runs sample by sample: it cannot move or mix what lies along the batch axis."""
    result = (graph.types[node.output].shape or (None,))[0]
    for tensor in (*node.inputs[: _data_inputs(graph, node)], node.output):
        first = (graph.types[tensor].shape or (None,))[0]
        dynamic = (tensor in graph.dynamic_batch) == (node.output in graph.dynamic_batch)
        if first is None or first != result or not dynamic or tensor in graph.batch_dependent:
            return f"'{tensor}' has shape {graph.types[tensor].shape}"
    return None


def one_output(_graph: Graph, node: Node) -> str | None:
    """The VTA computes the first output of an operator; it has no other ones."""
    extra = [name for name in node.outputs[1:] if name]
    return f"'{extra[0]}' is read too" if extra else None


def data_is_an_activation(graph: Graph, node: Node) -> str | None:
    """The VTA cannot take a constant where it reads activations."""
    for tensor in node.inputs[: _data_inputs(graph, node)]:
        if tensor in graph.constants:
            return f"'{tensor}' is constant"
    return None


def weights_are_constant_and_finite(graph: Graph, node: Node) -> str | None:
    """The VTA needs constant, finite weights and biases: they become integers when it compiles."""
    for tensor in node.inputs[1:]:
        if not tensor:
            continue
        value = graph.constants.get(tensor)
        if value is None:
            return f"'{tensor}' is computed at run time"
        if value.dtype.kind != "f":
            return f"'{tensor}' is {value.dtype}"
        if not np.isfinite(value).all():
            return f"'{tensor}' holds NaN or infinity"
    return None


def clip_has_an_inside(_graph: Graph, node: Node) -> str | None:
    """The VTA cannot clamp to a lower limit above the upper."""
    if node.clip is None or node.clip[0] <= node.clip[1]:
        return None
    return f"clamp to {node.clip}"


def image_is_1d_or_2d(graph: Graph, node: Node) -> str | None:
    """The VTA cannot move windows over more than two spatial axes."""
    if image_shape(graph, node.inputs[0]) is None:
        return f"'{node.inputs[0]}' has shape {graph.types[node.inputs[0]].shape}"
    return None


def window_is_known(graph: Graph, node: Node) -> str | None:
    """The VTA cannot run windows that do not agree with the shapes, or have negative padding."""
    window = window_of(graph, node)
    source, result = image_shape(graph, node.inputs[0]), image_shape(graph, node.output)
    if window is None or source is None or result is None or min(window.pads) < 0:
        return f"{window}"
    if window.output_size(source[1], source[2]) != (result[1], result[2]):
        return f"{window} on {source} does not give {result}"
    return None


def weight_matrix_is_two_dimensional(graph: Graph, node: Node) -> str | None:
    """The VTA multiplies by constant matrices of two dimensions from the right only."""
    weight = graph.constants.get(node.inputs[1])
    if weight is None or weight.ndim != 2:
        return f"'{node.inputs[1]}' is {'not constant' if weight is None else weight.shape}"
    return None


def factors_are_matrices_side_by_side(graph: Graph, node: Node) -> str | None:
    """The VTA cannot broadcast products of activations: all axes but the last two have to agree."""
    shapes = [graph.types[tensor].shape or () for tensor in node.inputs]
    left, right = shapes
    if len(left) == len(right) >= 3 and left[:-2] == right[:-2] and left[-1] == right[-2]:
        return None
    return f"shapes {left} and {right}"


def sums_stay_within_the_accumulator(graph: Graph, node: Node) -> str | None:
    """The VTA cannot hold a sum of more than 65536 products of activations in 32 bits."""
    terms = (graph.types[node.inputs[0]].shape or (0,))[-1] or 0
    return None if terms <= _MOST_TERMS else f"{terms} terms"


def dense_input_has_a_batch(graph: Graph, node: Node) -> str | None:
    """The VTA needs a batch axis before the features of a dense layer."""
    shape = graph.types[node.inputs[0]].shape or ()
    return None if len(shape) >= 2 else f"'{node.inputs[0]}' has shape {shape}"


def bias_is_per_channel(graph: Graph, node: Node) -> str | None:
    """The VTA adds to a convolution one bias per output channel; it cannot add others."""
    if len(node.inputs) < 3 or not node.inputs[2]:
        return None
    weight, bias = (graph.constants.get(name) for name in node.inputs[1:3])
    if weight is None or bias is None or bias.shape == weight.shape[:1]:
        return None
    return f"'{node.inputs[2]}' has shape {bias.shape} for {len(weight)} channels"


def dense_bias_is_per_output(graph: Graph, node: Node) -> str | None:
    """The VTA adds to a dense layer one bias per output or one for all; it cannot add others."""
    sample = sample_shape(graph, node.output)
    if len(node.inputs) < 3 or not node.inputs[2] or not sample:
        return None
    bias = graph.constants[node.inputs[2]]
    if bias.size == 1 or bias.size == sample[-1] == bias.shape[-1]:
        return None
    return f"'{node.inputs[2]}' has shape {bias.shape} for {sample[-1]} outputs"


def gemm_is_not_transposed(_graph: Graph, node: Node) -> str | None:
    """The VTA cannot transpose the first matrix of a Gemm."""
    return "transA = 1" if node.attributes.get("transA") else None


def smaller_operand_spreads(graph: Graph, node: Node) -> str | None:
    """The VTA adds to an activation what has its shape, or one element in place of some axes; it
    cannot add others."""
    shapes = [graph.types[t].shape or () for t in (*node.inputs, node.output)]
    *operands, result = shapes
    fits = len(operands) == 2 and result in operands
    for shape in operands:
        fits = fits and len(shape) == len(result) and shape[:1] == result[:1]
        fits = fits and all(own in (1, size) for own, size in zip(shape, result, strict=False))
    return None if fits else f"shapes {' and '.join(map(str, operands))}"


def is_spread(graph: Graph, node: Node) -> bool:
    """Whether a node adds activations of different shapes."""
    shapes = {graph.types[tensor].shape for tensor in node.inputs if tensor in graph.types}
    return node.op == "Add" and len(shapes) > 1


def pool_ends_in_the_image(graph: Graph, node: Node) -> str | None:
    """The VTA cannot pool a window of padding alone."""
    window, source = window_of(graph, node), image_shape(graph, node.inputs[0])
    result = image_shape(graph, node.output)
    if window is None or source is None or result is None:
        return "unknown window"
    for axis in range(2):
        reach, kernel = window.dilations[axis], window.kernel[axis]
        for position in range(result[1 + axis]):
            start = position * window.strides[axis] - window.pads[axis]
            if not any(0 <= start + reach * tap < source[1 + axis] for tap in range(kernel)):
                return f"{window} on {source}"
    return None


def average_counts_its_padding(graph: Graph, node: Node) -> str | None:
    """The VTA cannot average over fewer values at the edges: padding has to count, or be none."""
    window = window_of(graph, node)
    if window is None or not any(window.pads):
        return None
    if node.attributes.get("ceil_mode"):
        return f"ceil_mode with padding {window.pads}"
    return (
        None if node.attributes.get("count_include_pad") else f"padding {window.pads}, not counted"
    )


def pool_has_no_indices(_graph: Graph, node: Node) -> str | None:
    """The VTA cannot pool images that are stored in columns."""
    return "storage_order = 1" if node.attributes.get("storage_order") else None


def phases_fill_vectors(graph: Graph, node: Node) -> str | None:
    """The VTA moves vectors of 16 channels: what lies side by side has to fill whole ones."""
    sample = sample_shape(graph, node.output) or ()
    known = len(sample) == len(_CHANNELS_ROWS_COLUMNS)
    return None if known and sample[0] % CHANNEL_BLOCK == 0 else f"'{node.output}' has {sample}"


def concatenates_channels(graph: Graph, node: Node) -> str | None:
    """The VTA cannot concatenate along other axes than the channels (axis 1)."""
    rank = len(graph.types[node.output].shape or ())
    axis = int(node.attributes.get("axis", 1))
    return None if rank >= 2 and axis % rank == 1 else f"axis {axis} of {rank}"


def concatenated_channels_fill_vectors(graph: Graph, node: Node) -> str | None:
    """The VTA moves vectors of 16 channels: tensors before the last have to fill whole ones."""
    return _partial_vectors(graph, node, CHANNEL_BLOCK)


def _partial_vectors(graph: Graph, node: Node, lanes: int) -> str | None:
    for tensor in node.inputs[:-1]:
        sample = sample_shape(graph, tensor)
        if not sample or sample[0] % lanes:
            return f"'{tensor}' has {sample[0] if sample else 'unknown'} channels"
    return None


def clip_limits_are_constant(graph: Graph, node: Node) -> str | None:
    """The VTA cannot clip to limits that a run computes, or to a lower one above the upper."""
    limits = clip_limits(graph, node)
    if limits is None:
        return "limits computed at run time"
    return None if limits[0] <= limits[1] else f"limits {limits}"


def slice_is_of_pixels_or_channels(graph: Graph, node: Node) -> str | None:
    """The VTA cannot slice but channels (or features) of what was computed, and rows and columns of
    an image forward to their end."""
    if slice_steps(graph, node):
        return None
    found, rank = slice_of_axis(graph, node), len(graph.types[node.output].shape or ())
    channels = (1,) if rank != _SEQUENCE_RANK else (1, 2)
    if found is None or found[0] not in channels:
        return "another slice"
    # Taken apart first, each part is laid out for the layer that reads it.
    source = node.inputs[0]
    return f"'{source}' is an input of the model" if source in graph.inputs else None


def padding_is_zeros(graph: Graph, node: Node) -> str | None:
    """The VTA cannot pad but with zeros, and only channels, rows or columns of an image."""
    return None if pad_amounts(graph, node) else "other padding"


def view_keeps_the_samples(graph: Graph, node: Node) -> str | None:
    """The VTA cannot run a view that mixes samples or moves the batch axis."""
    sizes = [sample_shape(graph, t) for t in (node.inputs[0], node.output)]
    known = [graph.types[t].shape or (None,) for t in (node.inputs[0], node.output)]
    if np.prod(sizes[0] or (1,)) != np.prod(sizes[1] or (1,)):
        return f"{known[0]} to {known[1]}"
    if node.op == "Transpose":
        order = node.attributes.get("perm") or tuple(reversed(range(len(known[0]))))
        return None if order[0] == 0 else f"perm {tuple(order)}"
    return None


_COMMON: tuple[Rule, ...] = (
    one_output,
    data_is_an_activation,
    types_are_known,
    activations_are_float32,
    shapes_are_static,
    batch_axis_stays,
    clip_has_an_inside,
)
_DENSE: tuple[Rule, ...] = (
    dense_input_has_a_batch,
    weight_matrix_is_two_dimensional,
    weights_are_constant_and_finite,
    dense_bias_is_per_output,
)

RULES: dict[str, tuple[Rule, ...]] = {
    "Conv": (
        *_COMMON,
        image_is_1d_or_2d,
        weights_are_constant_and_finite,
        bias_is_per_channel,
        window_is_known,
    ),
    "Dense": (*_COMMON, *_DENSE),
    "MatMul": (*_COMMON, *_DENSE),
    "Gemm": (*_COMMON, gemm_is_not_transposed, *_DENSE),
    "Add": (*_COMMON, smaller_operand_spreads),
    "MaxPool": (
        *_COMMON,
        image_is_1d_or_2d,
        window_is_known,
        pool_has_no_indices,
        pool_ends_in_the_image,
    ),
    "AveragePool": (*_COMMON, image_is_1d_or_2d, window_is_known, average_counts_its_padding),
    "GlobalAveragePool": (*_COMMON, image_is_1d_or_2d),
    "Concat": (*_COMMON, concatenates_channels, concatenated_channels_fill_vectors),
    "DepthToSpace": (*_COMMON, phases_fill_vectors),
    "Relu": _COMMON,
    "Clip": (*_COMMON, clip_limits_are_constant),
    "Slice": (*_COMMON, slice_is_of_pixels_or_channels),
    "Pad": (*_COMMON, padding_is_zeros),
    **dict.fromkeys(VIEW_OPERATORS, (*_COMMON, view_keeps_the_samples)),
}
"""Every operator that the VTA runs or looks through, with its limits in the order of asking."""

_PRODUCT: tuple[Rule, ...] = (
    *_COMMON,
    factors_are_matrices_side_by_side,
    sums_stay_within_the_accumulator,
)
"""Of a MatMul of two activations."""


_REPEATING = ("Loop", "Scan")


def unsupported(graph: Graph, node: Node, lanes: int = CHANNEL_BLOCK) -> str | None:
    """Why the VTA cannot run ``node``; ``None`` when it can.

    Output vectors of more than 16 ``lanes`` are what concatenation places.

    A ``None`` speaks of the node alone: beside other operators a view or an addition may still need
    a layout that its neighbours do not leave (:mod:`compiler_core.quantize.skeleton` then says so).
    """
    rules = RULES.get(node.op)
    if rules is None or node.domain not in ("", "ai.onnx", NEST_DOMAIN) or node.opaque:
        if node.op in _REPEATING and not node.domain:
            return f"{node.op} repeats operators step by step, which the VTA does not"
        return f"{node.op} is not an operator of the VTA"
    for rule in _PRODUCT if is_product(graph, node) else rules:
        seen = rule(graph, node)
        if seen is not None:
            return f"{(rule.__doc__ or '').strip()} {node.op} '{node.name}': {seen}."
    if node.op == "Concat" and lanes > CHANNEL_BLOCK:
        seen = _partial_vectors(graph, node, lanes)
        if seen is not None:
            text = (
                f"The VTA moves vectors of {lanes} channels: tensors before the last have to "
                "fill whole ones."
            )
            return f"{text} {node.op} '{node.name}': {seen}."
    return None


def is_product(graph: Graph, node: Node) -> bool:
    """Whether a node multiplies two activations."""
    return node.op == "MatMul" and node.inputs[1] not in graph.constants


def _data_inputs(graph: Graph, node: Node) -> int:
    """How many of the first inputs are data rather than weights or options."""
    several = node.op in ("Add", "Concat") or is_product(graph, node)
    return len(node.inputs) if several else 1
