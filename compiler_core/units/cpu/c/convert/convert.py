"""The way from a graph to a network: every node by the handler of its operator.

A node becomes an integer operator where it has one, else one in float32 between conversions; what
has neither is refused with its name and the reasons.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256

from compiler_core.errors import InputError
from compiler_core.graph.containers import is_container
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.passes.unrolled_recurrence import unrolling_refusal
from compiler_core.graph.recurrence import GATES
from compiler_core.graph.spelled.spelled_out import LOOPS
from compiler_core.graph.spelled.trees import SUMS
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.cpu.c.convert import (
    choosing,
    machines,
    pointwise,
    ports,
    resize,
    sampling,
    scatter,
    shapes,
    weighted,
    whole,
)
from compiler_core.units.cpu.c.convert.builder import (
    Builder,
    PlacedValue,
    Refusal,
    int8_type,
    plain_type,
)
from compiler_core.units.cpu.c.convert.options import Options
from compiler_core.units.cpu.c.convert.sources import TensorReader
from compiler_core.units.cpu.c.convert.trees import around_trees, trees
from compiler_core.units.cpu.c.convert.unary import Functions
from compiler_core.units.cpu.c.network import FLOAT, WHOLE, Network, Operator, Type
from compiler_core.units.cpu.c.plan.patches import patched


def _gathered(sources: TensorReader, node: Node) -> None:
    way = shapes.gather if node.inputs[1] in sources.builder.graph.constants else choosing.lookup
    way(sources, node)


_COMPUTING: dict[str, Callable[..., None]] = {
    "Add": pointwise.pair,
    "AveragePool": pointwise.pool,
    "Concat": shapes.concat,
    "Conv": weighted.convolution,
    "ConvTranspose": weighted.transposed_convolution,
    "Dense": weighted.dense,
    "Div": pointwise.pair,
    "Gemm": weighted.dense,
    "GlobalAveragePool": pointwise.global_pool,
    "GlobalMaxPool": pointwise.global_pool,
    "LayerNormalization": pointwise.normalization,
    "MatMul": weighted.dense,
    "Max": pointwise.pair,
    "MaxPool": pointwise.pool,
    "Min": pointwise.pair,
    "Mod": pointwise.pair,
    "Mul": pointwise.pair,
    "Pow": pointwise.pair,
    "ReduceMax": pointwise.reduction,
    "ReduceMean": pointwise.reduction,
    "ReduceMin": pointwise.reduction,
    "ReduceProd": pointwise.reduction,
    "ReduceSum": pointwise.reduction,
    "Softmax": pointwise.softmax,
    "Sub": pointwise.pair,
}
"""Handlers with an integer and a float32 form."""

_CHOOSING: dict[str, Callable[[TensorReader, Node], None]] = {
    "And": choosing.comparison,
    "ArgMax": choosing.largest_place,
    "ArgMin": choosing.largest_place,
    "Cast": choosing.cast,
    "CumProd": choosing.running,
    "CumSum": choosing.running,
    "Equal": choosing.comparison,
    "GatherElements": choosing.pick,
    "GridSample": sampling.grid_sample,
    "Greater": choosing.comparison,
    "GreaterOrEqual": choosing.comparison,
    "Less": choosing.comparison,
    "LessOrEqual": choosing.comparison,
    "Not": choosing.negation,
    "OneHot": choosing.one_hot,
    "Or": choosing.comparison,
    "SVMClassifier": machines.probabilities,
    "ScatterND": scatter.scatter,
    "TopK": choosing.largest,
    "TreeEnsembleRegressor": trees,
    "Where": choosing.where,
    "Xor": choosing.comparison,
}
"""Handlers of what has one form, whatever is quantized."""

_MOVING: dict[str, Callable[[TensorReader, Node], None]] = {
    "DepthToSpace": shapes.shuffle,
    "DequantizeLinear": ports.real_numbers,
    "Expand": shapes.expand,
    "Flatten": shapes.reshape,
    "Gather": _gathered,
    "Identity": shapes.identity,
    "Pad": shapes.pad,
    "QuantizeLinear": ports.integers,
    "Reshape": shapes.reshape,
    "Resize": resize.resize,
    "Slice": shapes.slice_,
    "SpaceToDepth": shapes.shuffle,
    "Split": shapes.split,
    "Squeeze": shapes.reshape,
    "Tile": shapes.expand,
    "Transpose": shapes.transpose,
    "Unsqueeze": shapes.reshape,
    "Upsample": resize.resize,
}
"""Handlers of what keeps the type of its input."""

_WEIGHTED = ("Conv", "Dense", "Gemm", "MatMul")

_PORTS = ("DequantizeLinear", "QuantizeLinear")

SAME_TYPE = frozenset(
    {*_MOVING, "AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"}
) - {*_PORTS}
"""Operators whose result has the integers of their first input."""


def to_network(
    graph: Graph, ranges: Mapping[str, TensorRange], options: Options | None = None
) -> Network:
    """The network of a graph.

    Args:
        graph: Simplified, of one sample.
        ranges: Statistics of its activations; may be empty for a float32 network.
        options: Decisions; the defaults where ``None``.

    Raises:
        InputError: A node cannot be expressed; the message names it and the reasons.
    """
    options = options or Options()
    _check_names(graph, options)
    near_trees, real = around_trees(graph)
    options = replace(options, float_layers=options.float_layers | near_trees)
    ranges = shared_ranges(graph, ranges)
    types = joined_types(graph, ranges, options) if options.precision == "int8" else {}
    builder = Builder(graph, ranges, options, types)
    builder.real_inputs = real
    sources = TensorReader(builder, Functions(graph), pointwise.real_pair)
    for node in graph.nodes:
        if len(node.outputs) == 1 and node.output in sources.functions:
            continue  # becomes a value when somebody asks for it
        builder.node = node
        _convert(sources, node)
    builder.node = None
    network = _finished(sources)
    return network if options.patches is None else patched(network, options.patches)


def require_kernels(graph: Graph, precision: str | None = "int8") -> None:
    """Refuses a graph that cannot be written, whatever is known of its values.

    Args:
        graph: Simplified, of one sample.
        precision: ``int8`` or ``float32``; ``None`` where it is not known.

    Raises:
        InputError: Names nodes without a kernel, and the outputs that need none of them; or the
            first node whose kernel does not take what the node does.
    """
    functions = Functions(graph)
    missing = [
        node
        for node in graph.nodes
        if not (len(node.outputs) == 1 and node.output in functions)
        and not _has_kernel(graph, node)
    ]
    if not missing:
        if precision is None:
            return
        some = TensorRange(-1.0, 1.0)
        to_network(graph, dict.fromkeys(graph.types, some), Options(precision=precision))
        return
    shown = ", ".join(f"{node.name!r} ({node.op})" for node in missing[:3])
    more = f" and {len(missing) - 3} others" if len(missing) > 3 else ""
    reached = {name for node in missing for name in node.outputs}
    for node in graph.nodes:
        if reached.intersection(node.inputs):
            reached.update(node.outputs)
    free = [name for name in graph.outputs if name not in reached]
    told = {node.name: _reason(graph, node) for node in missing}
    why = next((f"of {name!r}, {reason}" for name, reason in told.items() if reason), "")
    if len(missing) == 1:
        why = told[missing[0].name] or "there is no kernel for this operator"
    raise InputError(
        f"node{'s' if len(missing) > 1 else ''} {shown}{more} cannot be written as C: "
        f"{why or 'there are no kernels for these operators'}",
        hint=f"without them: onnx.utils.extract_model(FILE, NEW_FILE, {list(graph.inputs)}, {free})"
        if free
        else "docs/howto/microcontroller.md lists the operators",
    )


def _reason(graph: Graph, node: Node) -> str:
    """Why a node has no kernel, beyond that there is none; empty where there is no more to say."""
    if node.op in GATES and not node.domain:
        return unrolling_refusal(graph, node) or "it is not unrolled"
    if node.op in ("Loop", "Scan") and not node.domain:
        return LOOPS.refusal(graph, node)
    if _gives_text(graph, node):
        return "it gives texts; numbers are written"
    known = [graph.types.get(name) for name in node.outputs if name]
    if any(kind is not None and is_container(kind.dtype) for kind in known):
        return "it gives a sequence or an optional; tensors are written"
    if any(kind is None or kind.shape is None or None in kind.shape for kind in known):
        return "how large its result is follows from values; sizes are fixed"
    return ""


def _gives_text(graph: Graph, node: Node) -> bool:
    known = (graph.types.get(name) for name in node.outputs)
    return any(kind is not None and kind.dtype == "string" for kind in known)


def _has_kernel(graph: Graph, node: Node) -> bool:
    if _gives_text(graph, node):
        return False
    is_known = node.op in _COMPUTING or node.op in _MOVING or node.op in _CHOOSING
    is_known = is_known or (node.op in whole.HANDLERS and _whole_numbers(graph, node) is not None)
    foreign = node.domain and node.op not in ("Dense", "SVMClassifier", SUMS)
    return is_known and not node.opaque and not foreign


def _check_names(graph: Graph, options: Options) -> None:
    known = {node.name for node in graph.nodes}
    for name in (
        *options.weight_bits,
        *sorted(options.int16_layers),
        *sorted(options.float_layers),
    ):
        if name not in known:
            raise InputError(f"the model has no node {name!r}")


def _convert(sources: TensorReader, node: Node) -> None:
    ways: list[tuple[str, Callable[[TensorReader, Node], None]]] = []
    if _has_kernel(sources.builder.graph, node):
        if (kind := _whole_numbers(sources.builder.graph, node)) is not None:
            ways += _ways_of_whole_numbers(node, kind)
        elif node.op in _CHOOSING:
            ways.append(("any type", _CHOOSING[node.op]))
        elif node.op in _COMPUTING:
            handler = _COMPUTING[node.op]
            options = sources.builder.options
            if options.precision == "int8" and node.name not in options.float_layers:
                ways.append(("int8", partial(handler, is_float=False)))
            ways.append(("float32", partial(handler, is_float=True)))
        else:
            ways.append(("any type", _MOVING[node.op]))
    reasons = []
    for label, way in ways:
        try:
            way(sources, node)
            return
        except Refusal as refusal:
            reasons.append(f"in {label}, {refusal}")
            sources.builder.places.pop(node.output, None)
    why = "; ".join(reasons) or "there is no kernel for this operator"
    if node.op in GATES and not node.domain:
        why = unrolling_refusal(sources.builder.graph, node) or "it is not unrolled"
    raise InputError(
        f"node {node.name!r} ({node.op}) cannot be written as C: {why}",
        hint="docs/howto/microcontroller.md lists the operators",
    )


def _whole_numbers(graph: Graph, node: Node) -> str | None:
    """What a node computes first where that is not float32."""
    kind = graph.types.get(next(filter(None, node.outputs), ""))
    return None if kind is None or kind.dtype == "float32" else kind.dtype


def _ways_of_whole_numbers(
    node: Node, kind: str
) -> list[tuple[str, Callable[[TensorReader, Node], None]]]:
    if node.op in whole.HANDLERS and plain_type(kind) is not None:
        return [(kind, whole.HANDLERS[node.op])]
    if node.op in ("MaxPool", "GlobalMaxPool") and plain_type(kind) not in (None, WHOLE):
        return [(kind, partial(_COMPUTING[node.op], is_float=False))]
    if node.op in _CHOOSING:
        return [("any type", _CHOOSING[node.op])]
    if node.op == "Concat":
        return [("any type", partial(shapes.concat, is_float=False))]
    if node.op in _MOVING and (_MOVING[node.op] is not resize.resize or _keeps_numbers(node)):
        return [("any type", _MOVING[node.op])]

    def refuse(_sources: TensorReader, _node: Node) -> None:
        raise Refusal(f"it computes {kind}; such numbers are moved, compared and looked up")

    return [(kind, refuse)]


def _keeps_numbers(node: Node) -> bool:
    """Whether a Resize takes elements as they are."""
    return node.text("mode", "nearest") == "nearest"


def joined_types(
    graph: Graph, ranges: Mapping[str, TensorRange], options: Options
) -> dict[str, Type]:
    """Types of tensors that flow into a Concat alone: that of its result, so that it only copies.

    What keeps the type of its input hands the wish on to it.
    """
    uses: dict[str, int] = dict.fromkeys(graph.outputs, 2)
    for node in graph.nodes:
        for name in node.inputs:
            uses[name] = uses.get(name, 0) + 1
    found: dict[str, Type] = {}
    for node in reversed(graph.nodes):
        wish = found.get(node.output)
        if node.op == "Concat":
            known = ranges.get(node.output)
            if wish is None and (known is None or not known.bounded):
                continue
            kind = wish or int8_type(ranges[node.output], options)
            wanted = {name: kind for name in node.inputs if uses[name] == 1}
        elif wish is not None and node.op in SAME_TYPE and uses[node.inputs[0]] == 1:
            wanted = {node.inputs[0]: wish}
        else:
            continue
        found |= {name: kind for name, kind in wanted.items() if name not in graph.inputs}
    return found


def shared_ranges(graph: Graph, ranges: Mapping[str, TensorRange]) -> Mapping[str, TensorRange]:
    """Ranges in which nodes with the same weights read and write the same numbers, so that they are
    the same kernel: the steps of what was recurrent."""
    alike: dict[tuple[str | bytes, ...], list[Node]] = {}
    for node in graph.nodes:
        arrays = [graph.constants[name] for name in node.inputs[1:] if name in graph.constants]
        if node.op in _WEIGHTED and arrays and len(node.outputs) == 1:
            fixed = [sha256(array.tobytes()).digest() for array in arrays]
            alike.setdefault((node.op, str(arrays[0].shape), *fixed), []).append(node)
    found = dict(ranges)
    for nodes in alike.values():
        if len(nodes) > 1:
            for names in ({n.inputs[0] for n in nodes}, {n.output for n in nodes}):
                known = [ranges[name] for name in sorted(names) if name in ranges]
                if len(known) > 1:
                    low, high = min(r.low for r in known), max(r.high for r in known)
                    found |= {n: TensorRange(low, high) for n in names if n in ranges}
    return found


def _finished(sources: TensorReader) -> Network:
    """The network of what the outputs need."""
    builder = sources.builder
    graph = builder.graph
    places = [_output_place(sources, tensor) for tensor in graph.outputs]
    inputs, axes = [], {}
    for tensor in graph.inputs:
        place = _input_place(builder, tensor)
        inputs.append(place.value.name)
        axes[place.value.name] = place.axes
    outputs: list[str] = []
    for place in places:
        value = place.value
        if value.name in axes:  # an input, or another output: its axes may be others
            value = builder.again(value)
        outputs.append(value.name)
        axes[value.name] = place.axes
    operators = _needed(builder.operators, set(outputs))
    used = {*inputs, *outputs}
    used.update(name for item in operators for name in (*item.inputs, item.output))
    return Network(
        graph.name,
        {name: value for name, value in builder.values.items() if name in used},
        tuple(inputs),
        tuple(outputs),
        (*graph.inputs, *graph.outputs),
        axes,
        operators,
        {name: array for name, array in builder.constants.items() if name in used},
    )


def _input_place(builder: Builder, tensor: str) -> PlacedValue:
    """An input of the graph as it was asked for first, or as nobody did."""
    found = builder.places.get(tensor)
    if found:
        return found[0]
    known = builder.graph.types[tensor]
    kind = plain_type(known.dtype) or FLOAT
    try:
        return builder.place(tensor, tuple(range(len(known.shape or ()))), kind)
    except Refusal as refusal:
        raise InputError(f"input {tensor!r} cannot be written as C: {refusal}") from refusal


def _output_place(sources: TensorReader, tensor: str) -> PlacedValue:
    """An output of the graph as the caller wants it."""
    options = sources.builder.options
    try:
        place = sources.any(tensor)
        if not options.channels_last:
            place = sources.laid_out(tensor, tuple(range(len(place.axes))))
        return sources.real(tensor, place.axes) if options.float_ports else place
    except Refusal as refusal:
        raise InputError(f"output {tensor!r} cannot be written as C: {refusal}") from refusal


def _needed(operators: list[Operator], wanted: set[str]) -> tuple[Operator, ...]:
    kept = []
    for operator in reversed(operators):
        if operator.output in wanted:
            kept.append(replace(operator))  # type: ignore[type-var]
            wanted.update(operator.inputs)
    return tuple(reversed(kept))
