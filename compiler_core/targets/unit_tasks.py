"""Tasks on the units of a target, and their names in configurations.

A schedule is for a machine. Tasks of the first unit of a kind, and of those that are like it, are
called by their ids alone, as in targets of one unit. Those of others have the name of the first
unit that is like theirs behind the id: ``conv2d-0123456789abcdef@little``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from compiler_core.errors import InputError
from compiler_core.targets.target import Unit
from compiler_core.tensor.choice import check_schedule, require_known_tasks
from compiler_core.tensor.task import Task
from compiler_core.units.registry import kind_of_machine

_BEFORE_UNIT = "@"


class HasUnits(Protocol):
    """What has tasks: a target, or a core that sources are generated for."""

    @property
    def name(self) -> str: ...

    @property
    def units(self) -> tuple[Unit, ...]: ...

    def unit(self, name: str) -> Unit: ...


@dataclass(frozen=True)
class UnitTask:
    """A task on a machine of a target.

    Attributes:
        name: In configurations.
        task: What runs.
        unit: The first unit of the target that is like its own.
    """

    name: str
    task: Task
    unit: Unit


def task_unit(target: HasUnits, unit: str) -> Unit:
    """The first unit of a target that has as many cores of the same machine as a unit."""
    own = target.unit(unit)
    return next(
        other for other in target.units if (other.machine, other.cores) == (own.machine, own.cores)
    )


def task_units(target: HasUnits) -> tuple[Unit, ...]:
    """The units of a target that have tasks, one of those that are alike."""
    firsts = (unit for unit in target.units if task_unit(target, unit.name) is unit)
    return tuple(unit for unit in firsts if kind_of_machine(unit.machine).has("tasks"))


def task_suffix(target: HasUnits, unit: str) -> str:
    """What names of tasks on a unit have behind the id."""
    first = task_unit(target, unit)
    of_kind = next(other for other in target.units if other.kind == first.kind)
    return named_task("", "" if first is of_kind else first.name)


def lowering_versions(target: HasUnits) -> str:
    """Versions of the lowering of a target's kinds of units; that of a single kind without name."""
    kinds = {unit.kind: kind_of_machine(unit.machine) for unit in target.units}
    if len(kinds) == 1:
        return str(next(iter(kinds.values())).lowering_version)
    return ", ".join(f"{name} {kind.lowering_version}" for name, kind in sorted(kinds.items()))


def lowering_sum(target: HasUnits) -> int:
    """A number that rises with the version of the lowering of any of a target's kinds; that
    version where they are of a single kind."""
    kinds = {unit.kind: kind_of_machine(unit.machine) for unit in target.units}
    return sum(kind.lowering_version for kind in kinds.values())


def named_task(task: str, unit: str) -> str:
    """Name of a task on a unit; of one whose id says it all where none is given."""
    return f"{task}{_BEFORE_UNIT}{unit}" if unit else task


def unit_task(target: HasUnits, unit: str, task: Task) -> UnitTask:
    """A task of a unit."""
    return UnitTask(task.id + task_suffix(target, unit), task, task_unit(target, unit))


def task_id(name: str) -> str:
    """The id of a task, or the key of a way of cutting one, without a unit behind it."""
    return name.partition(_BEFORE_UNIT)[0]


def of_unit(named: Mapping[str, Any], target: HasUnits, unit: str) -> dict[str, Any]:
    """What is given for tasks of a unit, by id."""
    suffix, kind = task_suffix(target, unit), target.unit(unit).kind
    return {
        task_id(name): value
        for name, value in named.items()
        if name[len(task_id(name)) :] == suffix and kind_of_name(name, target) == kind
    }


def kind_of_name(name: str, target: HasUnits) -> str | None:
    """The kind of the target's units that a task is for, by its name; ``None`` where it is for
    none."""
    prefix, underline, _ = task_id(name).partition("_")
    for unit in target.units:
        kind = kind_of_machine(unit.machine)
        if kind.name == prefix if underline else kind.unnamed_tasks:
            return kind.name
    return None


def find_unit(name: str, task: Task, target: HasUnits) -> Unit:
    """The unit that a task is searched on.

    Args:
        name: As it was given; a unit may stand behind the id.
        task: That it means.
        target: The machine.

    Raises:
        InputError: The target has no such unit, or none of that kind.
    """
    asked = name.partition(_BEFORE_UNIT)[2]
    names = [unit.name for unit in target.units if unit.kind == task.unit]
    if asked:
        names = [unit.name for unit in target.units if unit.name == asked]
    if not names or target.unit(names[0]).kind != task.unit:
        own = ", ".join(f"{unit.name} ({unit.kind})" for unit in target.units)
        raise InputError(
            f"task {name}: it is for units of kind {task.unit!r}; target {target.name!r} has {own}",
            hint="nest-tune task list MODEL --target T shows the tasks of a model",
        )
    return task_unit(target, names[0])


def choose_unit_schedules(
    tasks: Mapping[str, UnitTask], given: Mapping[str, Any]
) -> dict[str, Any]:
    """The given schedule of each task by its name, else the untuned default.

    Raises:
        InputError: A schedule is for a task that the model does not have, or for another operator.
        InfeasibleError: A schedule does not fit.
    """
    require_known_tasks(given, tasks)
    chosen = {}
    for name, found in tasks.items():
        machine, task = found.unit.machine, found.task
        default = kind_of_machine(machine).tasks.default
        schedule = given.get(name) or default(task.workload, machine)
        if name in given:
            check_schedule(f"schedule of task {name}", task, schedule, machine)
        chosen[name] = schedule
    return chosen
