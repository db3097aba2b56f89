"""What the units of a target compute, by name: models are quantized for all of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from compiler_core.errors import InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.arithmetic import Arithmetic, usual_arithmetic
from compiler_core.quantize.ir import NumberUnit
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.units.names import CPU, is_on_cpu, shares_of, unit_of
from compiler_core.units.numbers import numbers_of
from compiler_core.units.residents import Resident, residents_of


@dataclass(frozen=True)
class UnitArithmetics:
    """Arithmetics of units beside one CPU; equal for units of equal names and limits.

    Attributes:
        units: Name and arithmetic of each unit, in the order in which a compile without a plan
            asks them.
        others: Units that compute parts of models in numbers of their own.
    """

    units: tuple[tuple[str, Arithmetic], ...]
    others: tuple[NumberUnit, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the units that compute in integers."""
        return tuple(name for name, _ in self.units)

    def is_integer(self, place: str | None) -> bool:
        """Whether nodes at a place compute in integers; those that nothing is said of may."""
        if place is None or not self.others:
            return place is None or not is_on_cpu(place)
        return not is_on_cpu(place) and unit_of(place, [o.name for o in self.others]) is None

    def other(self, unit: str) -> NumberUnit | None:
        """The unit of that name that has numbers of its own; ``None`` where it has none."""
        return next((other for other in self.others if other.name == unit), None)

    @property
    def general(self) -> UnitArithmetics:
        """The same without the limits of any machine."""
        units = tuple((name, own.general) for name, own in self.units)
        return UnitArithmetics(units, self.others)

    def __getitem__(self, unit: str) -> Arithmetic:
        return next(own for name, own in self.units if name == unit)

    def unit_of(self, place: str | None, node: str) -> str | None:
        """The unit of a place, the first of several that share an operator; ``None`` for the CPU.

        Args:
            place: Of a plan.
            node: That stands there, for messages.

        Raises:
            InputError: No unit of the target has such a place.
        """
        if place is not None and is_on_cpu(place):
            return None
        shares = shares_of(place or "")
        if shares and all(unit in self.names for unit, _ in shares):
            return shares[0][0]
        names = (*self.names, *(other.name for other in self.others))
        found = None if place is None else unit_of(place, names)
        if found is None:
            allowed = (CPU, *names)
            raise InputError(
                f"node {node!r} is assigned to {place!r}; allowed are "
                f"{', '.join(map(repr, allowed))} and, where units have several cores, ways of "
                "cutting across them",
                hint=(did_you_mean(place or "", allowed))
                or "units of other kinds are planned for and tuned, and run no part of a package",
            )
        return found

    def residents(self, graph: Graph) -> Mapping[str, Resident]:
        """States that stay with a unit that has numbers of its own, by name of each of their nodes:
        these run there together, or on the CPU."""
        if not self.others:
            return {}
        key = (__name__, "residents", tuple((own.name, own.kind) for own in self.others))
        found: dict[str, Resident] | None = graph.derived.get(key)
        if found is None:
            found = {}
            for own in self.others:
                for state in residents_of(own.kind, graph):
                    if not found.keys() & {*state.nodes}:
                        found |= dict.fromkeys(state.nodes, replace(state, unit=own.name))
            graph.derived[key] = found
        return found

    def able(self, graph: Graph, node: Node) -> tuple[str, ...]:
        """Units that can run a node of a float graph."""
        if node.name in self.residents(graph):
            return ()
        return tuple(n for n, own in self.units if own.unsupported(graph, node) is None)

    def unsupported(self, graph: Graph, node: Node) -> str | None:
        """Why no unit can run a node, in the words of the first; ``None`` where one can."""
        state = self.residents(graph).get(node.name)
        if state is not None:
            return f"Its cache '{state.past}' stays in the memory of {state.unit}."
        first = None if self.units else self._left(graph, node)
        for _, own in self.units:
            reason = own.unsupported(graph, node)
            if reason is None:
                return None
            first = first or reason
        return first

    def _left(self, graph: Graph, node: Node) -> str:
        """Why the CPU runs a node by default where no unit computes in integers."""
        for own in self.others:
            reason = numbers_of(own.kind).unsupported(graph, node)
            if reason is None:
                return f"It is left to the CPU, though {own.name} can run it."
            return reason
        return "No unit of the target computes in integers."

    def unsupported_scheme(
        self, graph: Graph, node: Node, scheme: QuantizationScheme, place: str
    ) -> str | None:
        """Why a node that runs at a place cannot do so under a scheme."""
        unit = self.unit_of(place, node.name)
        if unit is None or self.other(unit) is not None:
            return None  # no scheme says anything of other numbers than integers
        return self[unit].unsupported_scheme(graph, node, scheme)


Computing = Arithmetic | UnitArithmetics
"""Of one unit that is called after its kind, or of all units of a target."""


def unit_arithmetics(arithmetic: Computing | None) -> UnitArithmetics:
    """Arithmetics by unit; of the usual kind where none is given."""
    if isinstance(arithmetic, UnitArithmetics):
        return arithmetic
    own = arithmetic or usual_arithmetic()
    return UnitArithmetics(((own.kind, own),))


def general(arithmetic: Computing | None) -> Computing:
    """What any machines of these kinds can compute; of the usual kind where none is given."""
    return (arithmetic or usual_arithmetic()).general
