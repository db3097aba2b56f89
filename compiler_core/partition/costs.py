"""Cost tables: what each group costs at each place, and each tensor at a border.

Times are integers in picoseconds. Times of units come from their timing simulators, one program per
launch, with a given schedule per task or the untuned default; CPU times from the analytic model or
a measured table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from compiler_core.system.jobs import Machinery, picoseconds
from compiler_core.targets.integer_units import Form
from compiler_core.targets.places import ON_CPU, Places
from compiler_core.units.launches import Launch

ON_CPU_FORM = 0
"""Number of the form in which the CPU, and the model's caller, hold tensors."""


@dataclass(frozen=True)
class CpuPart:
    """One operator of a group on the CPU, where nothing is fused.

    Attributes:
        run_ps: Its time, without views.
        reads: Indices of the base tensors of other groups that it reads.
        views: ``(index of the base tensor, nodes)`` of the views through which it reads them.
        position: Where it stands in the model.
    """

    run_ps: int
    reads: tuple[int, ...]
    views: tuple[tuple[int, tuple[str, ...]], ...]
    position: int = 0


@dataclass(frozen=True)
class CpuCost:
    """A group on the CPU.

    Attributes:
        parts: Its operators, one after another.
        energy_pj: Of all of them.
        moved_bytes: Bytes that they read and write.
        constant_bytes: Their float weights.
    """

    parts: tuple[CpuPart, ...]
    energy_pj: float
    moved_bytes: int
    constant_bytes: int

    @property
    def run_ps(self) -> int:
        """Time, without views."""
        return sum(part.run_ps for part in self.parts)

    def run_ps_from(self, tensor: int) -> int:
        """Time from the first operator on that reads ``tensor``, without views."""
        for position, part in enumerate(self.parts):
            if tensor in part.reads:
                return sum(later.run_ps for later in self.parts[position:])
        return 0


@dataclass(frozen=True)
class LaunchOrder:
    """What one program of a group waits for, and what it goes before.

    Attributes:
        tensors: Indices of the base tensors of other groups that it reads.
        programs: Positions of the group's programs that write what it reads.
        position: Where it stands in the model.
    """

    tensors: tuple[int, ...]
    programs: tuple[int, ...]
    position: int


@dataclass(frozen=True)
class UnitCost:
    """A group at a place of a unit.

    Attributes:
        programs: Launches, in order; empty for what its producers have already placed.
        entry_programs: The same where the CPU lays out the input for this group alone.
        order: Of the programs, one by one.
        is_cut: Whether each program runs on all cores.
    """

    programs: tuple[Launch, ...]
    entry_programs: tuple[Launch, ...]
    order: tuple[LaunchOrder, ...]
    is_cut: bool = False

    @property
    def ends(self) -> tuple[int, ...]:
        """Positions of the programs whose results none of the group's others read."""
        inner = {source for item in self.order for source in item.programs}
        return tuple(position for position in range(len(self.order)) if position not in inner)

    def busy_ps(self, launch_ps: int) -> int:
        """Time of its core with all launches, one after another."""
        return sum(program.run_ps + launch_ps * program.parts for program in self.programs)


@dataclass(frozen=True)
class GroupCost:
    """Costs of one group.

    Attributes:
        cpu: On the CPU.
        at: By number of the place; without those where it cannot run.
        reasons: Why it runs nowhere on a unit, by index of the unit.
    """

    cpu: CpuCost
    at: Mapping[int, UnitCost] = field(default_factory=dict)
    reasons: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True)
class TensorCost:
    """Sizes of a base tensor.

    Attributes:
        form_bytes: In each form.
        convert_energy_pj: Of converting it once.
        extra_ps: Time of bringing it into or out of each form beside copying; none if empty.
    """

    form_bytes: tuple[int, ...]
    convert_energy_pj: float
    extra_ps: tuple[int, ...] = ()


@dataclass(frozen=True)
class CostTable:
    """All costs of a model on a target.

    Attributes:
        groups, tensors: As in the group graph.
        places: Of the target.
        machinery: Its units and memories.
        forms: In which tensors are held; that of the CPU first.
        form_of: Number of the form at each place.
        launch_ps: CPU time per launch.
        copy_bytes_per_s: Copy bandwidth of the CPU.
        view_ps: Time of each view that the CPU has to run, by the name of its node.
        view_positions: Where those nodes stand in the model.
        positions: Where conversions of each tensor stand in the model.
        view_energy_pj: Energy of each view that the CPU has to run.
    """

    groups: tuple[GroupCost, ...]
    tensors: tuple[TensorCost, ...]
    places: Places
    machinery: Machinery
    forms: tuple[Form, ...]
    form_of: tuple[int, ...]
    launch_ps: int
    copy_bytes_per_s: float
    view_ps: Mapping[str, int] = field(default_factory=dict)
    view_positions: Mapping[str, int] = field(default_factory=dict)
    positions: tuple[int, ...] = ()
    view_energy_pj: Mapping[str, float] = field(default_factory=dict)

    def convert_ps(self, bytes_moved: int) -> int:
        """Time of copying at a border."""
        return picoseconds(bytes_moved / self.copy_bytes_per_s * 1e3)

    def cores_at(self, place: int) -> int:
        """Cores of the unit of a place."""
        return self.machinery.cores[self.places[place].unit]

    def offered(self, group: int) -> tuple[int, ...]:
        """Places of a group that searches try, the CPU first."""
        at = self.groups[group].at
        found = (place for place in sorted(at) if self.places[place].way.is_searched)
        return (ON_CPU, *found)
