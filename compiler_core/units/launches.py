"""What launches on units of a kind cost beside others in the same memory: the facet ``launches``,
which kinds have that say more of a run than its cycles, energy and bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from compiler_core.graph.ir import Graph, Node

_PICOSECONDS = 10**12
_WHOLE_PPM = 1_000_000


@dataclass(frozen=True)
class Launch:
    """One launch as measured by the timing simulator.

    Attributes:
        name: Of the operator.
        task: Id of its task.
        cycles: From launch to end.
        run_ps: The same as time.
        energy_pj: Of the launch.
        read_bytes, write_bytes: Traffic of the memory.
        read_ppm, write_ppm: Share of the time that each channel of the port is busy, in millionths.
        constant_bytes: Weights, biases and code in the memory.
        input_bytes: Of one sample of its input, as laid out in the memory.
        parts: How many programs start together, on a core each.
        least_ps: No program of several layers takes less than this for all of them together,
            however they overlap; 0 where nothing is known.
    """

    name: str
    task: str
    cycles: int
    run_ps: int
    energy_pj: float
    read_bytes: int
    write_bytes: int
    read_ppm: int
    write_ppm: int
    constant_bytes: int
    input_bytes: int
    parts: int = 1
    least_ps: int = 0


def cycles_ps(cycles: int, clock_hz: float) -> int:
    """Cycles as time."""
    return round(cycles * _PICOSECONDS / clock_hz)


def share_ppm(busy_cycles: int, cycles: int) -> int:
    """Share of the time of a launch in millionths."""
    return min(_WHOLE_PPM, busy_cycles * _WHOLE_PPM // cycles)


@runtime_checkable
class Launches(Protocol):
    """What launches cost."""

    def alone(self, workload: Any, schedules: Mapping[str, Any], machine: Any, name: str) -> Launch:
        """A whole operator on one core.

        Args:
            workload: The operator.
            schedules: By task id; a task without one gets the untuned default.
            machine: The core.
            name: Of the operator.

        Raises:
            InfeasibleError: No schedule fits, or a given one does not.
        """
        ...

    def across(
        self, workload: Any, whole: Launch, machine: Any, cores: int
    ) -> Mapping[str, Launch]:
        """An operator cut over all cores by untuned schedules of its parts.

        Args:
            workload: The operator.
            whole: What it costs on one core.
            machine: A core.
            cores: How many there are.

        Returns:
            By suffix of the way, without those ways in which it cannot be cut.
        """
        ...

    def entering(self, workload: Any, *, is_alone: bool) -> Any:
        """The workload where the CPU lays out its input for it alone, or for others, too."""
        ...

    def works(
        self, graph: Graph, nodes: Sequence[Node], number: str, machine: Any
    ) -> Sequence[Any] | str:
        """Workloads of fused nodes in a number format that quantization does not know, in order of
        launch; or why it cannot run them."""
        ...
