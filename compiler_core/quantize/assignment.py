"""Which unit runs which node when nobody has searched: the first NPU that can.

The exceptions are cheap operators between CPU nodes: moving a float tensor over and back costs more
than adding or clamping it where it is. What only the CPU can run, it runs on integers where nothing
else reads or writes what lies in between, so that no number becomes another by it.
"""

from __future__ import annotations

from collections.abc import Collection

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.views import VIEW_OPERATORS
from compiler_core.quantize.assemble import CPU, moved_views, roomy_units, without_room
from compiler_core.quantize.compared import compared
from compiler_core.quantize.host_groups import groups_beside, in_loops
from compiler_core.quantize.host_neighbours import IntegersBeside
from compiler_core.quantize.unit_arithmetics import Computing, UnitArithmetics, unit_arithmetics
from compiler_core.units.names import CPU_INT8

_CHEAP = ("Add", "Relu", "Clip", "Slice", "Pad", "Concat", "DepthToSpace")
_HEAVY = ("Conv", "Dense", "MatMul", "Gemm")


def default_assignment(
    graph: Graph, *, cores: int = 1, arithmetic: Computing | None = None
) -> dict[str, str]:
    """An NPU or the CPU for every node name; see :func:`cpu_reasons` for what is on none.

    Args:
        graph: Simplified.
        cores: Of the NPUs; without one everything is on the CPU.
        arithmetic: Of the NPUs; by default one of the usual kind.
    """
    if not cores:
        return dict.fromkeys((node.name for node in graph.nodes), CPU)
    known = unit_arithmetics(arithmetic)
    (staying, integers), units = _decided(graph, known), roomy_units(graph, known)[0]
    found = {n.name: CPU if n.name in staying else units[n.name] for n in graph.nodes}
    return found | dict.fromkeys(integers, CPU_INT8)


def assignments_by_unit(graph: Graph, arithmetic: Computing) -> dict[str, dict[str, str]]:
    """The default assignment with everything on one unit that can run there, by its name."""
    units, usual = unit_arithmetics(arithmetic), default_assignment(graph, arithmetic=arithmetic)
    found = {}
    for name in units.names:
        own = {
            node.name: name
            for node in graph.nodes
            if usual[node.name] != CPU and name in units.able(graph, node)
        }
        for node in without_room(graph, units, usual | own):
            own.pop(node, None)
        found[name] = usual | own
    return found


def cpu_reasons(graph: Graph, arithmetic: Computing | None = None) -> dict[str, str]:
    """Why a node stays on the CPU by default, by node name.

    Args:
        graph: Simplified.
        arithmetic: Of the NPUs; by default one of the usual kind. What no schedule fits on any
            machine of a kind is not in it: quantization leaves that to the CPU, wherever it is
            placed.
    """
    return _decided(graph, unit_arithmetics(arithmetic))[0]


def left_beside(
    graph: Graph, floats: Collection[str], arithmetic: Computing | None = None
) -> frozenset[str]:
    """What the default leaves to the CPU in float where some nodes have to be in float.

    Args:
        graph: Simplified.
        floats: Those nodes.
        arithmetic: Of the NPUs; by default one of the usual kind.
    """
    staying, integers = _decided(graph, unit_arithmetics(arithmetic), floats)
    return frozenset(staying) - integers


def _decided(
    graph: Graph, known: UnitArithmetics, floats: Collection[str] = ()
) -> tuple[dict[str, str], frozenset[str]]:
    """Why nodes stay on the CPU, and which of them it runs on integers."""
    found = ((node.name, known.unsupported(graph, node)) for node in graph.nodes)
    reasons = {name: reason for name, reason in found if reason is not None}
    reasons |= {**without_room(graph, known), **moved_views(graph, known)}
    reasons |= in_loops(graph, known)
    same = compared(graph)
    floats = {*floats, *same}
    reasons |= dict.fromkeys(floats, "The scheme keeps it in float.") | same
    around, beside = _Neighbours(graph), IntegersBeside(graph, groups_beside(graph, known))
    integers = beside.all & (reasons.keys() - frozenset(floats))
    while True:
        trips = _round_trips(graph, around, dict(reasons), integers)
        kept = beside.kept(integers, {*reasons, *trips})
        if kept == integers:
            return reasons | trips, integers
        integers = kept


def _round_trips(
    graph: Graph, around: _Neighbours, on_cpu: dict[str, str], integers: Collection[str]
) -> dict[str, str]:
    """Cheap operators that had better stay beside ``on_cpu``, which gets them, too; not those that
    only ``integers`` among them read."""
    found: dict[str, str] = {}
    changed = True
    while changed:
        changed = False
        for node in graph.nodes:
            if node.name in on_cpu or node.op not in _CHEAP:
                continue
            if around.is_round_trip(node, on_cpu, integers):
                changed = True
                found[node.name] = on_cpu[node.name] = (
                    f"{node.op} '{node.name}' reads from the CPU and is only read there: "
                    "a round trip for little work."
                )
    return found


class _Neighbours:
    """Who computes and who reads a tensor, looking through views."""

    def __init__(self, graph: Graph) -> None:
        self._outputs, self._constants = set(graph.outputs), graph.constants
        self._producer = {name: node for node in graph.nodes for name in node.outputs if name}
        self._readers: dict[str, list[Node]] = {}
        for node in graph.nodes:
            for name in node.inputs:
                self._readers.setdefault(name, []).append(node)

    def is_round_trip(self, node: Node, on_cpu: dict[str, str], integers: Collection[str]) -> bool:
        """Whether every reader is a CPU node, some operand comes from one, and nothing fuses."""
        readers = self._all_readers(node.output)
        if not readers or any(reader.name not in on_cpu for reader in readers):
            return False
        if all(reader.name in integers for reader in readers):
            return False
        sources = [source for name in node.inputs if (source := self._source(name)) is not None]
        if not any(source.name in on_cpu for source in sources):
            return False
        return not (node.op == "Add" and any(self._fuses(name, on_cpu) for name in node.inputs))

    def _fuses(self, tensor: str, on_cpu: dict[str, str]) -> bool:
        """Whether the convolution behind ``tensor`` takes the addition into its accumulator."""
        source = self._producer.get(tensor)
        if source is None or source.op not in _HEAVY or source.clip is not None:
            return False
        if source.op == "MatMul" and source.inputs[1] not in self._constants:
            return False  # a product of two activations
        alone = len(self._readers[tensor]) == 1 and tensor not in self._outputs
        return alone and source.name not in on_cpu

    def _source(self, tensor: str) -> Node | None:
        node = self._producer.get(tensor)
        while node is not None and node.op in VIEW_OPERATORS:
            node = self._producer.get(node.inputs[0])
        return node

    def _all_readers(self, tensor: str) -> list[Node]:
        """Readers behind views; none where the caller of the model reads it."""
        if tensor in self._outputs:
            return []
        found: list[Node] = []
        for node in self._readers.get(tensor, []):
            if node.op not in VIEW_OPERATORS:
                found.append(node)
                continue
            behind = self._all_readers(node.output)
            if not behind:
                return []
            found += behind
        return found
