"""Which units, or which parts on several, a layer runs on: the facet ``placing``, which kinds have
that cut operators across units. Layers of other kinds run whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from compiler_core.errors import InputError, InternalError
from compiler_core.tensor.task import Task
from compiler_core.units.facets.programs import UnitLayers, Units
from compiler_core.units.names import CPU
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import TaskBound


@dataclass(frozen=True, eq=False)
class PlacedLayers:
    """Layers with their places.

    Attributes:
        layers: Of each segment, as the kind made them.
        units: By name of the layer: where it runs.
        plan: The plan, with a way of cutting wherever it left that open.
        cuts: Key of how it is cut, by name of the layer that is.
        slicing: Ways of cutting by key.
        pieces: Parts of layers that are cut, as the kind made them, by name of the layer.
        bounds: What no schedules of those parts can beat, likewise.
    """

    layers: tuple[UnitLayers, ...]
    units: Mapping[str, str]
    plan: Mapping[str, str]
    cuts: Mapping[str, str] = field(default_factory=dict)
    slicing: Mapping[str, Any] = field(default_factory=dict)
    pieces: Mapping[str, Any] = field(default_factory=dict)
    bounds: Mapping[str, TaskBound] = field(default_factory=dict)


@runtime_checkable
class Placing(Protocol):
    """Ways of cutting layers."""

    def place(
        self,
        layers: Sequence[Any],
        plan: Mapping[str, str],
        given: Mapping[str, Any],
        units: Units,
    ) -> PlacedLayers:
        """Reads the places of all layers off a plan.

        Args:
            layers: Of each segment.
            plan: Place per graph node: the CPU, or one of these units.
            given: Ways of cutting by key; others get the untuned default.
            units: What there is.

        Raises:
            InputError: A unit that the target lacks, a layer that cannot be cut, or a way of
                cutting that does not fit its layer.
            InfeasibleError: A given schedule does not fit its part.
        """
        ...

    def require_known(self, given: Mapping[str, Any], layers: Sequence[Any]) -> None:
        """Refuses ways of cutting tasks that a model does not have.

        Raises:
            InputError: There is one; names those that the model has.
        """
        ...

    def tasks(
        self, layers: Sequence[Any], plan: Mapping[str, str], units: Units
    ) -> Mapping[str, tuple[Task, ...]]:
        """What schedules are searched for of layers that a plan cuts, by name of the layer: a task
        for each way of cutting that the plan leaves open.

        Args:
            layers, plan, units: As for :meth:`place`.

        Raises:
            InputError: A unit that the target lacks.
        """
        ...

    def cut(self, scheduled: Sequence[tuple[Task, Any]], units: Units) -> tuple[str, Any]:
        """The fastest of ways of cutting a layer, and its key: those that schedules say and the
        untuned ones.

        Args:
            scheduled: Tasks of one layer, of :meth:`tasks`, with a schedule each; at least one.
            units: What there is.
        """
        ...


class WholeLayers:
    """Every layer on one unit: what kinds do that cut nothing."""

    def place(
        self,
        layers: Sequence[Any],
        plan: Mapping[str, str],
        given: Mapping[str, Any],
        units: Units,
    ) -> PlacedLayers:
        del given
        name, found = units.name, {}
        for segment in layers:
            for layer in segment.layers:
                asked = [plan.get(node, name) for node in layer.operator.sources]
                found[layer.operator.name] = next(
                    (place for place in asked if place not in (CPU, name)), name
                )
        return PlacedLayers(tuple(layers), found, dict(plan))

    def require_known(self, given: Mapping[str, Any], layers: Sequence[Any]) -> None:
        del layers
        for name in given:
            raise InputError(
                f"slicing.{name}: units of this kind cut nothing", hint="remove the table"
            )

    def tasks(
        self, layers: Sequence[Any], plan: Mapping[str, str], units: Units
    ) -> Mapping[str, tuple[Task, ...]]:
        del layers, plan, units
        return {}

    def cut(self, scheduled: Sequence[tuple[Task, Any]], units: Units) -> tuple[str, Any]:
        del scheduled
        raise InternalError(f"units of {units.target} cut nothing")


def placing_of(units: Units) -> Placing:
    """How layers are placed on units of a kind."""
    kind = kind_of_machine(units.machine)
    if not kind.has("placing"):
        return WholeLayers()
    found: Placing = kind.facet("placing", Placing)
    return found
