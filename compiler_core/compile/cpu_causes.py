"""Why what runs on the CPU runs there: every node has its reason, and reasons are told by cause."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from compiler_core.compile.compile import CompiledModel
from compiler_core.executable.report import CONVERSIONS, LayerReport
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.scans import scan_body
from compiler_core.quantize.assignment import cpu_reasons
from compiler_core.quantize.ir import FloatSegment
from compiler_core.sums import float_sum
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.target import Target
from compiler_core.units.names import CPU, is_on_cpu

NO_NPU = "The target has no NPU"
PLANNED = "The plan places it on the CPU"
FASTEST = "By the cost tables the model is fastest with it on the CPU, as no plan says otherwise"
VIEW = "It only looks at values in another shape, beside operators of the CPU"
PREPARES = "It prepares values for operators of the NPU"
BESIDE = "Beside its neighbours it has no layout that the NPU could read or write"
CONVERTS = "Values become integers, or real numbers again, at a border between units"
_VIEWS = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose", "Identity")
_WITH_GRAPHS = ("If", "Loop", "Scan", "SequenceMap")
_FIRST = re.compile(r"^'[^']*'")
_OTHER = re.compile(r"\b(and|beside|by|from|of|than|to) '[^']*'")
_QUOTED = re.compile(r" ?'[^']*'")


@dataclass(frozen=True)
class CpuCause:
    """What runs on the CPU for one cause.

    Attributes:
        reason: The cause, without what differs from node to node.
        nodes: Names, in execution order; none where conversions are meant.
        macs_share: Their share of the model's multiply-accumulates.
        latency_share: Their share of the time of all steps, one after the other.
        example: The whole reason of the first of them.
    """

    reason: str
    nodes: tuple[str, ...]
    macs_share: float
    latency_share: float
    example: str


def macs_share_npu(layers: Iterable[LayerReport]) -> float:
    """Share of the counted multiply-accumulates that run on other units than the CPU. Without any,
    1 where such a unit does something, else 0."""
    counted = list(layers)
    total = sum(layer.macs for layer in counted)
    own = sum(layer.macs for layer in counted if layer.unit != CPU)
    return own / total if total else float(any(layer.unit != CPU for layer in counted))


def unable_reasons(graph: Graph, target: Target) -> dict[str, str]:
    """Why the NPUs of a target run a node by no means, by name; empty where it has none."""
    return cpu_reasons(graph, target_arithmetic(target)) if target.npu_cores else {}


def node_reasons(compiled: CompiledModel, planned: str = PLANNED) -> dict[str, str]:
    """Why each node on the CPU runs there, by name in execution order.

    Args:
        compiled: The model.
        planned: The reason of what its plan alone places there: :data:`FASTEST` where nobody gave
            the plan.
    """
    source, target = compiled.source, compiled.executable.target
    model, plan = source.model.graph, compiled.configuration.plan
    known = {**unable_reasons(model, target), **source.cpu_reasons}
    asked = {node.name for node in model.nodes}
    found = {}
    for segment in source.quantized.segments:
        if not isinstance(segment, FloatSegment) or segment.unit:
            continue
        for node in segment.priced.nodes:
            reason = _reason(node, known, asked)
            if reason is None and is_on_cpu(plan.get(node.name, CPU)):
                reason = planned if target.npu_cores else NO_NPU
            found[node.name] = reason or BESIDE
    return found


def _reason(node: Node, known: dict[str, str], asked: set[str]) -> str | None:
    if node.name in known:
        return known[node.name]
    if node.op in _VIEWS:
        return VIEW
    return None if node.name in asked else PREPARES


def cpu_causes(compiled: CompiledModel, planned: str = PLANNED) -> tuple[CpuCause, ...]:
    """What runs on the CPU by cause, the largest share of multiplications first, then of time.

    Args:
        compiled: The model.
        planned: As of :func:`node_reasons`.
    """
    layers = compiled.report.layers
    reasons = node_reasons(compiled, planned)
    operators = _operators(compiled)
    macs = sum(layer.macs for layer in layers) or 1
    time = float_sum(layer.latency_ms for layer in layers) or 1.0
    parts: dict[str, list[LayerReport]] = {}
    for layer in layers:
        if layer.unit != CPU:
            continue
        if layer.operator in CONVERSIONS:
            parts.setdefault(CONVERTS, []).append(layer)
        else:
            text = reasons.get(layer.name, BESIDE)
            parts.setdefault(cause(text, operators.get(layer.name)), []).append(layer)
    found = []
    for text, group in parts.items():
        names = [layer.name for layer in group if layer.operator not in CONVERSIONS]
        found.append(
            CpuCause(
                text,
                tuple(names),
                sum(layer.macs for layer in group) / macs,
                float_sum(layer.latency_ms for layer in group) / time,
                reasons.get(names[0], text) if names else text,
            )
        )
    return tuple(sorted(found, key=lambda item: (-item.macs_share, -item.latency_share)))


def _operators(compiled: CompiledModel) -> dict[str, str]:
    return {
        node.name: node.op
        for segment in compiled.source.quantized.segments
        if isinstance(segment, FloatSegment)
        for node in segment.priced.nodes
    }


def cause(reason: str, operator: str | None) -> str:
    """A reason without names of nodes and tensors and what was seen of them.

    Args:
        reason: ``Rule. Conv 'name': what was seen.``, or any text with names in quotes.
        operator: Of the node.
    """
    head, quoted, _ = reason.partition(f". {operator} '")
    if quoted:
        return head
    text = _OTHER.sub(r"\1 another", _FIRST.sub("It", reason))
    text = _QUOTED.sub("", text).strip()
    text = text.partition(": one output ")[0].partition(" Seen: ")[0].strip()
    return (text[:1].upper() + text[1:]).removesuffix(".")


def unpriced(graph: Graph) -> tuple[str, ...]:
    """Names of the nodes whose results have a shape that is known only when the model runs, or that
    run graphs of their own (If, Loop, a Scan of unknown length): what they cost is not known, and
    in no number of a plan or package."""
    return tuple(
        node.name
        for node in graph.nodes
        if (node.op in _WITH_GRAPHS and scan_body(graph, node) is None)
        or any(_is_open(graph, name) for name in node.outputs)
    )


def _is_open(graph: Graph, tensor: str) -> bool:
    known = graph.types.get(tensor)
    return bool(tensor) and (known is None or known.shape is None or None in known.shape)
