"""What running a model once may cost: refused before anything of it is computed."""

from __future__ import annotations

import onnx

from compiler_core.errors import InputError
from compiler_core.graph.contradictions import (
    RANK_MAX,
    refuse_what_ends_inference,
    refuse_what_no_definition_allows,
)
from compiler_core.graph.held import held_bytes
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.reader import ImportLimits
from compiler_core.graph.rounds import EXECUTIONS_MAX, rounds_max
from compiler_core.graph.shapes import read_type
from compiler_core.graph.structure import check_structure
from compiler_core.graph.work import elements, most_bytes, operations, result_bytes, tensor_bytes

_WINDOWED = frozenset(["Conv", "MaxPool", "AveragePool", "LpPool", "ConvInteger", "QLinearConv"])
_WIDENED = 4
"""Bytes that are computed over constants may be so many times those of the file's own."""

_HINT = "give smaller sizes: those of a network for an embedded system, one sample at a time"


def check_demand(graph: Graph, limits: ImportLimits) -> None:
    """Refuses tensors, loops and operators that ask for more than ``limits`` allow.

    Args:
        graph: With the types that shape inference found; what it leaves open is bounded when it
            is run (:mod:`compiler_core.graph.runtime`).
        limits: Of one execution, at batch 1.

    Raises:
        InputError: Names node and tensor, the demand and the bound.
    """
    for name in graph.inputs:
        _check_tensor(graph, f"input {name!r}", name, limits)
    for name, known_type in graph.types.items():
        if len(known_type.shape or ()) > RANK_MAX:
            raise InputError(
                f"tensor {name!r} has {len(known_type.shape or ())} axes; at most {RANK_MAX} are "
                "allowed"
            )
    total, folded, folded_bytes = 0, 0, 0
    known = set(graph.constants)
    own = sum(array.nbytes for array in graph.constants.values())
    for node in graph.nodes:
        where = f"node {node.name!r} ({node.op})"
        for name in filter(None, node.outputs):
            _check_tensor(graph, f"{where}: tensor {name!r}", name, limits)
        most = most_bytes(node, graph.types) if not node.domain else 0
        if most > limits.activation_bytes:
            raise InputError(
                f"{where}: up to {most} bytes, as its data say; at most {limits.activation_bytes} "
                "are computed for one operator",
                hint=_HINT,
            )
        if node.op in ("Loop", "Scan") and not node.domain:
            _check_rounds(graph, node, where, limits)
        if node.op == "SplitToSequence" and not node.domain:
            _check_pieces(graph, node, where, limits)
        if node.op in _WINDOWED and not node.domain:
            _check_pads(graph, node, where)
        steps = operations(node, graph.types)
        total += steps
        if total > limits.operations:
            raise InputError(
                f"{where}: {total} multiplications for one sample, with those before it; at most "
                f"{limits.operations} are run",
                hint=_HINT,
            )
        if known.issuperset(filter(None, node.inputs)):
            known.update(node.outputs)
            folded_bytes += result_bytes(node, graph.types) or 0
            if folded_bytes > limits.folded_bytes + _WIDENED * own:
                raise InputError(
                    f"{where}: {folded_bytes} bytes of results over constants alone, with those "
                    f"before it; at most {limits.folded_bytes} and {_WIDENED} times the model's "
                    "constants are computed",
                    hint="compute that part before exporting the model",
                )
            folded += steps
            if folded > limits.folded_operations:
                raise InputError(
                    f"{where}: {folded} multiplications over constants alone, with those before "
                    f"it; at most {limits.folded_operations} are computed",
                    hint="compute that part before exporting the model",
                )
    _check_held(graph, limits)


def check_model(model: onnx.ModelProto, limits: ImportLimits) -> None:
    """The same for a model that stays as it is: its structure, and the tensors that it computes.

    Raises:
        InputError: Names the tensor, the demand and the bound, or what is wrong with a node.
    """
    check_structure(model, limits.nodes)
    _check_definitions(model)
    refuse_what_ends_inference(model)
    try:
        found = onnx.shape_inference.infer_shapes(model)
    except (RuntimeError, ValueError, onnx.checker.ValidationError):
        return  # onnxruntime says what is wrong with it
    for value in (*found.graph.value_info, *found.graph.output, *found.graph.input):
        size = tensor_bytes(read_type(value))
        if size is not None and size > limits.activation_bytes:
            raise InputError(
                f"tensor {value.name!r}: {size} bytes; at most {limits.activation_bytes} are "
                "computed for one tensor",
                hint=_HINT,
            )


def _check_definitions(model: onnx.ModelProto) -> None:
    """On a copy, which is gone before inference makes its own: weights may be large."""
    opened = onnx.ModelProto()
    opened.CopyFrom(model)
    refuse_what_no_definition_allows(opened)


def _check_tensor(graph: Graph, where: str, name: str, limits: ImportLimits) -> None:
    known = graph.types.get(name)
    size = tensor_bytes(known)
    if known is None or size is None or name in graph.constants:
        return
    if size > limits.activation_bytes:
        raise InputError(
            f"{where}: {size} bytes for its shape {_shown(known.shape)}; at most "
            f"{limits.activation_bytes} are computed for one tensor",
            hint=_HINT,
        )


def _check_held(graph: Graph, limits: ImportLimits) -> None:
    most, where = held_bytes(graph)
    if most > limits.held_bytes:
        raise InputError(
            f"node {where!r}: with it {most} bytes of computed tensors are held at once; at most "
            f"{limits.held_bytes} are held",
            hint=_HINT,
        )


def _check_rounds(graph: Graph, node: Node, where: str, limits: ImportLimits) -> None:
    """Loops whose rounds the file states, and scans along an axis of known length."""
    bodies = [attribute.g for attribute in map(onnx.AttributeProto.FromString, node.opaque)]
    if not bodies:
        return
    rounds, trips_max = 0, limits.trips
    if node.op == "Loop":
        trips = graph.constants.get(node.inputs[0]) if node.inputs else None
        if trips is None or elements(graph.types.get(node.inputs[0])) != 1:
            return
        rounds = int(trips.reshape(-1)[0])
    else:
        scanned = node.attributes.get("num_scan_inputs", 0)
        known = graph.types.get(node.inputs[-1]) if scanned else None
        axes = node.attributes.get("scan_input_axes") or (0,) * scanned
        if known is None or not known.shape or not -len(known.shape) <= axes[-1] < len(known.shape):
            return
        rounds, trips_max = known.shape[axes[-1]] or 0, EXECUTIONS_MAX
    most = min(trips_max, rounds_max(bodies[0], graph.constants, joins=node.op == "Loop"))
    if rounds > most:
        raise InputError(
            f"{where}: {rounds} rounds; at most {most} are run, with a body of this size",
            hint="export the model with a loop of fewer rounds, or without loops",
        )


def _check_pieces(graph: Graph, node: Node, where: str, limits: ImportLimits) -> None:
    """onnxruntime joins the pieces of a sequence in quadratic time."""
    known = graph.types.get(node.inputs[0])
    axis = node.attributes.get("axis", 0)
    if known is None or not known.shape or not -len(known.shape) <= axis < len(known.shape):
        return
    size = known.shape[axis] or 0
    split = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    pieces = size
    if split is not None and split.size:
        # A scalar is the length of each piece, a vector holds the length of every one.
        pieces = split.size if split.ndim else -(-size // max(1, int(split)))
    if pieces > limits.pieces:
        raise InputError(
            f"{where}: a sequence of {pieces} pieces; at most {limits.pieces} are made",
            hint="export the model with larger pieces, or without sequences",
        )


def _check_pads(graph: Graph, node: Node, where: str) -> None:
    """Windows that lie in the padding alone compute nothing of the input."""
    known, pads = graph.types.get(node.inputs[0]), node.attributes.get("pads")
    kernel = node.attributes.get("kernel_shape")
    if kernel is None and len(node.inputs) > 1:
        weight = graph.types.get(node.inputs[1])
        kernel = None if weight is None or weight.shape is None else weight.shape[2:]
    if known is None or known.shape is None or not isinstance(pads, tuple) or not kernel:
        return
    sizes = known.shape[2:]
    dilations = node.attributes.get("dilations") or (1,) * len(kernel)
    if not len(sizes) == len(kernel) == len(dilations) == len(pads) / 2:
        return
    for axis, (size, taps, dilation) in enumerate(zip(sizes, kernel, dilations, strict=True)):
        if size is None or taps is None:
            continue
        most = size + max(1, dilation) * max(1, taps)
        for pad in (pads[axis], pads[axis + len(sizes)]):
            if pad > most:
                raise InputError(
                    f"{where}: pads {list(pads)}: {pad} beside an axis of {size} with a window of "
                    f"{taps}; at most {most}, axis and window together, are allowed",
                    hint="export the model again: these windows would hold padding alone",
                )


def _shown(shape: tuple[int | None, ...] | None) -> str:
    text = str(shape)
    return text if len(text) <= 80 else f"{text[:77]}..."
