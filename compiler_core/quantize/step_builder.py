"""The steps of a skeleton while its nodes are visited: where tensors lie, what was emitted, what
was left to the CPU and why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.views import VIEW_OPERATORS
from compiler_core.quantize.arithmetic import OperatorWindow, usual_arithmetic
from compiler_core.quantize.layout import Chw, Index, Placement
from compiler_core.quantize.layouts import Layouts, MisfitError, MisplacedError, NoRoomError
from compiler_core.quantize.skeleton import (
    ConcatStep,
    ConvKind,
    ConvStep,
    PoolStep,
    ProductStep,
    Skeleton,
    Step,
    TransposeStep,
)
from compiler_core.quantize.skeleton_borders import with_borders
from compiler_core.quantize.unit_arithmetics import UnitArithmetics

Handlers = Mapping[str, "Callable[[StepBuilder, Node], None]"]
"""What emits the steps of a node, by its operator."""


class StepBuilder:
    """Visits the nodes of a graph in topological order.

    Args:
        graph: The float graph.
        usual: Where tensors lie when every node runs on a unit that can.
        units: What computes.
        handlers: What each operator becomes.

    Attributes:
        layouts: Where tensors lie.
        steps: What was emitted, in topological order.
        unit: That the visited node runs on.
        concatenated: Tensors that lie in a concatenation already, by unit.
        without_room: Nodes that no schedule of their unit fits, and why.
        moved: Views that the CPU executes, and why.
        misplaced: What nodes read that lies in another order than they need, by name of the node.
    """

    def __init__(
        self,
        graph: Graph,
        usual: Mapping[str, Placement],
        units: UnitArithmetics,
        handlers: Handlers,
    ) -> None:
        self.graph, self._units, self._handlers = graph, units, handlers
        # Of the node that is visited.
        self.unit, self._arithmetic = next(iter(units.units), ("", usual_arithmetic()))
        self.without_room: dict[str, str] = {}
        self.moved: dict[str, str] = {}
        self.misplaced: dict[str, str] = {}
        self.layouts = Layouts(graph, usual)
        self.steps: list[Step] = []
        self._cpu: list[Node] = []
        self._elsewhere: dict[str, str] = {}
        """Units with numbers of their own, by name of the node."""
        self._reasons: dict[str, str] = {}
        self.concatenated: set[tuple[str, str]] = set()
        self._readers: dict[str, int] = {}
        self._credited: set[str] = set()
        for node in graph.nodes:
            for name in node.inputs:
                self._readers[name] = self._readers.get(name, 0) + 1
        for name in graph.outputs:
            self._readers[name] = self._readers.get(name, 0) + 1

    @property
    def channel_block(self) -> int:
        """Channels that lie together on the unit of the visited node."""
        return self._arithmetic.traits.channel_block

    @property
    def placements(self) -> Mapping[str, Placement]:
        """Where the tensors of the visited nodes lie."""
        return self.layouts.placements

    def skeleton(self, together: Sequence[Sequence[str]] = ()) -> Skeleton:
        """What the visited nodes became; those ``together`` run as one loop on the CPU."""
        kinds = {name: own.kind for name, own in self._units.units}
        return with_borders(
            self.graph,
            self.layouts,
            self.steps,
            self._cpu,
            self._reasons,
            kinds,
            self._elsewhere,
            self._units.others,
            together,
        )

    def add(self, node: Node, unit: str | None, moved: Mapping[str, str]) -> None:
        """Visit one node, which runs on a unit, or on the CPU as those do that are ``moved``."""
        if node.name in moved:
            self.moved[node.name] = moved[node.name]
            self._leave(node, moved[node.name])
            return
        if unit is not None and self._units.other(unit) is not None:
            self._elsewhere[node.name] = unit
            unit = None
        if unit is None:
            self._cpu.append(node)
            return
        if node.op in VIEW_OPERATORS:
            if node.clip is None:
                self.layouts.views[node.output] = node
            else:
                self._leave(node, "a clamp after a view needs an operator of its own")
            return
        self.unit, self._arithmetic = unit, self._units[unit]
        try:
            self._handlers[node.op](self, node)
        except NoRoomError as misfit:
            self.without_room[node.name] = str(misfit)
            self._leave(node, str(misfit))
        except MisfitError as misfit:
            if isinstance(misfit, MisplacedError):
                self.misplaced[node.name] = misfit.tensor
            self._leave(node, str(misfit))

    @property
    def misfits(self) -> Mapping[str, str]:
        """Visited nodes that were to run on a unit and do not, and why."""
        return self._reasons

    def _leave(self, node: Node, reason: str) -> None:
        self._cpu.append(node)
        self._reasons[node.name] = reason

    def sources(self, node: Node) -> tuple[str, ...]:
        """The node and the views that its inputs pass through, each view named once."""
        names = [node.name]
        for tensor in node.inputs:
            while tensor in self.layouts.views:
                view = self.layouts.views[tensor]
                if view.name not in self._credited:
                    self._credited.add(view.name)
                    names.insert(0, view.name)
                tensor = view.inputs[0]
        return tuple(names)

    def emit(self, step: Step, output: str, chw: Chw, index: Index | None = None) -> None:
        """Adds a step, in the parts that its unit computes, with the layout of what it writes.

        Raises:
            NoRoomError: No schedule fits one of them.
        """
        source = self.layouts.placements[step.inputs[0]].chw
        before = len(self.steps)
        try:
            for part, shape in self._arithmetic.parts(step, source, chw, self.fresh):
                if isinstance(part, ConvStep):
                    part = replace(part, levels=self._arithmetic.traits.weight_levels)
                self._require_room(part)
                self.steps.append(replace(part, unit=self.unit))
                self.layouts.placements[part.output] = Placement(part.output, shape, None)
        except NoRoomError:
            for part in self.steps[before:]:
                del self.layouts.placements[part.output]
            del self.steps[before:]
            raise
        self.layouts.placements[output] = Placement(output, chw, index)

    def hoist(self, output: str) -> None:
        """Moves the step that writes ``output``, emitted last, up to right behind the one whose
        result it reads: what waits for others then ends the program that they share."""
        step = self.steps[-1]
        places = [n for n, other in enumerate(self.steps) if other.output in step.inputs]
        if step.output == output and places and self.steps[places[-1]].unit == step.unit:
            self.steps.insert(places[-1] + 1, self.steps.pop())

    def _require_room(self, step: Step) -> None:
        """Leaves an operator to the CPU that no schedule fits."""
        if isinstance(step, ConcatStep | ProductStep | TransposeStep):
            return  # a block by a block fits any unit that multiplies them
        shared = isinstance(step, PoolStep) or step.kind in (ConvKind.AVERAGE, ConvKind.ADD)
        pool = isinstance(step, PoolStep)
        kernel = step.kernel if isinstance(step, PoolStep) else step.weight.shape[2:]
        outputs = 1 if isinstance(step, PoolStep) else step.weight.shape[0]
        window = OperatorWindow(
            (kernel[0], kernel[1]),
            step.dilations,
            self.layouts.placements[step.input].chw[1:],
            distinct_weights=not shared,
            compares=pool,
            whole=isinstance(step, ConvStep) and step.kind is ConvKind.COPY,
            outputs=outputs,
        )
        misfit = self._arithmetic.misfit(window)
        if misfit is not None:
            raise NoRoomError(f"no schedule fits '{step.name}': {misfit}")

    def fresh(self, name: str) -> str:
        """A name like the given one that no tensor has."""
        while name in self.graph.types or name in self.layouts.placements:
            name += "_"
        return name

    def widened(self, tensor: str, width: int) -> bool:
        """Whether the projection that writes root ``tensor`` for one reader now writes ``width``
        pixels: those behind its image are padding."""
        inner = self.producer(tensor)
        placed = self.layouts.placements[tensor]
        plain = inner is not None and inner.weight.shape[2:] == (1, 1)
        if inner is None or not plain or any(inner.pads) or inner.strides != (1, 1):
            return False
        if placed.chw[1] > 1 or any(
            self._readers.get(name, 0) > 1
            for name, place in self.layouts.placements.items()
            if place.root == tensor
        ):
            return False
        own = replace(inner, pads=(0, 0, 0, width - placed.chw[2]))
        self.steps[self.steps.index(inner)] = own
        self.layouts.widen(tensor, width)
        return True

    def producer(self, tensor: str) -> ConvStep | None:
        """The convolution of the same unit that writes root ``tensor`` for one reader, without
        clamp or residual."""
        if self._readers.get(tensor, 0) != 1:
            return None
        for step in reversed(self.steps):
            if step.output == tensor:
                plain = isinstance(step, ConvStep) and step.clip is None and step.residual is None
                own = plain and step.unit == self.unit
                own = own and isinstance(step, ConvStep) and step.interleave == 1
                return step if own and isinstance(step, ConvStep) else None
        return None
