"""Times by a rule in place of the clock: what operators of a lowered graph cost by their kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from compiler_core.clock.machine import ClockMachine
from compiler_core.clock.statistics import Interval
from compiler_core.configuration.runtime import Runtime
from compiler_core.graph.ir import Graph, Node
from compiler_core.precision.parts import PartKey
from compiler_core.precision.verified import PlanTime

FLOAT_US = {"Conv": 40.0, "Dense": 20.0, "MatMul": 20.0, "Gemm": 20.0}
_BORDERS = ("QuantizeLinear", "DequantizeLinear")


class RuleTimer:
    """Products on integers take a third of their time in float, other operators 4 us, a conversion
    that is not fused 5 us.

    Args:
        blocks_us: What a product with weights in blocks takes.
    """

    def __init__(self, blocks_us: float = 30.0) -> None:
        self._blocks_us = blocks_us

    @property
    def machine(self) -> ClockMachine:
        return ClockMachine("rule", "none", "", 1, "rule 1")

    def times_us(self, parts: Mapping[PartKey, Callable[[], Graph]]) -> Mapping[PartKey, float]:
        return {key: graph_us(make(), self._blocks_us) for key, make in parts.items()}

    def ratios(
        self,
        graphs: Mapping[str, Graph],
        to: str,
        *,
        rounds: int = 0,  # noqa: ARG002
    ) -> Mapping[str, PlanTime]:
        times = {name: graph_us(graph, self._blocks_us) for name, graph in graphs.items()}
        return {
            name: PlanTime(_exactly(time), _exactly(time / times[to]))
            for name, time in times.items()
        }

    def runtime_times(
        self, candidates: Mapping[str, tuple[Graph, Runtime]], to: str
    ) -> Mapping[str, PlanTime]:
        """Two threads take 0.6 of one, more do not help; threads that sleep take a tenth more, a
        graph that is not rewritten as far takes half more."""
        times = {}
        for name, (graph, runtime) in candidates.items():
            times[name] = graph_us(graph, self._blocks_us) * (0.6 if runtime.threads > 1 else 1.0)
            times[name] *= 1.0 if runtime.spinning else 1.1
            times[name] *= 1.0 if runtime.optimization == "all" else 1.5
        return {
            name: PlanTime(_exactly(time), _exactly(time / times[to]))
            for name, time in times.items()
        }


def graph_us(graph: Graph, blocks_us: float = 30.0) -> float:
    """What a graph takes by the rule."""
    return 1.0 + sum(_node_us(graph, node, blocks_us) for node in graph.nodes)


def _node_us(graph: Graph, node: Node, blocks_us: float) -> float:
    if node.op in _BORDERS:
        return 0.0 if _fused(graph, node) else 5.0
    if node.op == "MatMulNBits":
        return blocks_us
    source = graph.producer(node.inputs[0])
    if source is not None and source.op == "DequantizeLinear":
        return FLOAT_US.get(node.op, 4.0) / 3
    return FLOAT_US.get(node.op, 4.0)


def _fused(graph: Graph, node: Node) -> bool:
    """Whether a kernel on integers takes the conversion up."""
    if node.inputs[0] in graph.constants:
        return True
    if node.op == "DequantizeLinear":
        readers = graph.consumers(node.output)
        return bool(readers) and all(_on_integers(graph, reader) for reader in readers)
    before = graph.producer(node.inputs[0])
    return before is not None and _on_integers(graph, before)


def _on_integers(graph: Graph, node: Node) -> bool:
    sources = [graph.producer(name) for name in node.inputs if name not in graph.constants]
    return node.op not in _BORDERS and any(
        source is not None and source.op == "DequantizeLinear" for source in sources[:1]
    )


def _exactly(value: float) -> Interval:
    return Interval(value, value, value, 9, 0.95)
