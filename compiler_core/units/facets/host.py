"""What the CPU of every target costs and runs: facets of the kind that launches the others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.ir import HostGroup
from compiler_core.units.registry import host_kind

if TYPE_CHECKING:
    from compiler_core.clock.one import Timing
    from compiler_core.targets.target import Cpu, CpuRow, CpuTable, Target

_PICOJOULES_PER_MILLIJOULE = 1e9


@dataclass(frozen=True)
class Cost:
    """Time and energy of one step."""

    seconds: float
    energy_pj: float

    @property
    def energy_mj(self) -> float:
        return self.energy_pj / _PICOJOULES_PER_MILLIJOULE


NodeCosts = Callable[[Graph, Node], Cost]
"""What one operator costs on the CPU."""


GroupCosts = Callable[[Graph, HostGroup], Cost]
"""What operators that are one loop on integers cost on the CPU."""


@runtime_checkable
class IntegerCosts(Protocol):
    """Costs of operators on integers."""

    def of_target(self, target: Target) -> GroupCosts:
        """Costs by the table that a target names, where it has them, else by its rates."""
        ...


@runtime_checkable
class HostCosts(Protocol):
    """Costs of operators in float: by rates, or by tables that were measured."""

    def of_target(self, target: Target, graph: Graph) -> NodeCosts:
        """Costs by the table that a target names, else by its rates.

        Raises:
            InputError: An operator of ``graph`` is missing in the table.
        """
        ...

    def conversion(self, cpu: Cpu, values: int, bytes_moved: int) -> Cost:
        """The CPU quantizes, dequantizes or lays out a tensor at a border.

        Args:
            cpu: The processor.
            values: Elements converted.
            bytes_moved: Bytes read and written.
        """
        ...

    def read_table(self, path: Path) -> CpuTable:
        """A table of a file.

        Raises:
            InputError: It cannot be read, or is wrong.
        """
        ...

    def write_table(self, rows: Iterable[CpuRow]) -> bytes:
        """The inverse."""
        ...


class FloatRun(Protocol):
    """A part of a model in float, ready to run."""

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Arrays by output name.

        Raises:
            InputError: The inputs are refused.
        """
        ...


@runtime_checkable
class FloatSessions(Protocol):
    """Runs parts of models in float."""

    def open(self, segment: Any, *, portable: bool = True) -> FloatRun:
        """Makes a part ready.

        Args:
            segment: A :class:`~compiler_core.executable.executable.CpuSegment`; tensors outside its
                model are refused.
            portable: Results are the same on every processor of a kind; without, it is as fast as
                it gets.

        Raises:
            InputError: It cannot be run.
        """
        ...


@runtime_checkable
class HostMeasuring(Protocol):
    """Times models on this machine by the clock."""

    def inputs(self, graph: Graph) -> dict[str, npt.NDArray[Any]]:
        """Seeded random arrays for the inputs of a graph.

        Raises:
            InputError: The type or shape of an input is not known.
        """
        ...

    def operators(
        self,
        graph: Graph,
        feeds: Mapping[str, npt.NDArray[Any]],
        *,
        threads: int,
        repeats: int,
        budget_s: float,
        progress: Callable[[str], None],
    ) -> tuple[CpuRow, ...]:
        """Times every distinct operator of a graph as a model of its own.

        Args:
            graph: Simplified.
            feeds: Values for its inputs: every operator is fed what it really reads.
            threads: Threads of the runtime.
            repeats: Executions per operator.
            budget_s: Time per operator; a few executions are made in any case.
            progress: Told of each operator.

        Raises:
            InputError: An operator cannot be run, or its inputs are not known.
        """
        ...

    def model(
        self,
        graph: Graph,
        feeds: Mapping[str, npt.NDArray[Any]] | None = None,
        *,
        threads: int = 1,
        repeats: int = 30,
        budget_s: float = 5.0,
    ) -> Timing:
        """Times a graph as a whole.

        Raises:
            InputError: It cannot be run.
        """
        ...


def host_measuring() -> HostMeasuring:
    """What times models on the CPU.

    Raises:
        InputError: It measures nothing.
    """
    found: HostMeasuring = host_kind().facet("measuring", HostMeasuring)
    return found


def host_costs() -> HostCosts:
    """Costs of the kind that every target has."""
    found: HostCosts = host_kind().facet("costs", HostCosts)
    return found


def integer_costs() -> IntegerCosts:
    """Costs on integers of the kind that every target has."""
    found: IntegerCosts = host_kind().facet("integer_costs", IntegerCosts)
    return found


def float_sessions() -> FloatSessions:
    """Sessions of the kind that every target has."""
    found: FloatSessions = host_kind().facet("sessions", FloatSessions)
    return found
