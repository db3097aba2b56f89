"""Which schedule each task of a compile has: the given one where it fits, else the default."""

from __future__ import annotations

from collections.abc import Mapping

from compiler_core.errors import InfeasibleError, InputError
from compiler_core.targets.target import Target
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import Workload
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.legality.legality import violations
from compiler_core.units.vta.schedule.schedule import Schedule


def choose_schedules(
    tasks: Mapping[str, Task], given: Mapping[str, Schedule], target: Target
) -> dict[str, Schedule]:
    """The given schedule of each task, else the untuned default.

    Raises:
        InputError: A schedule is for a task that the model does not have, or for another operator.
        InfeasibleError: A schedule does not fit.
    """
    require_known_tasks(given, tasks)
    chosen = {}
    for name, task in tasks.items():
        schedule = given.get(name) or default_schedule(task.workload, target.npu)
        if name in given:
            check_schedule(f"schedule of task {task.id}", task.workload, schedule, target)
        chosen[name] = schedule
    return chosen


def require_known_tasks(given: Mapping[str, Schedule], tasks: Mapping[str, Task]) -> None:
    """Refuses schedules of tasks that a model does not have.

    Raises:
        InputError: There is one; names those that the model has.
    """
    for name in given:
        if name not in tasks:
            raise InputError(
                f"schedule.{name}: the model has no such task on this target; it has "
                f"{', '.join(sorted(tasks)) or 'none'}",
                hint="nest-tune task list shows the tasks of a model",
            )


def check_schedule(where: str, workload: Workload, schedule: Schedule, target: Target) -> None:
    """Refuses a schedule that does not fit what it is for.

    Args:
        where: It was given, as errors name it.
        workload: What it is for.
        schedule: To check.
        target: The machine.

    Raises:
        InputError: It is for another kind of operator.
        InfeasibleError: It breaks a rule; says which.
    """
    try:
        broken = violations(workload, schedule, target.npu.geometry)
    except TypeError as error:
        raise InputError(f"{where}: {error}") from error
    if broken:
        raise InfeasibleError(f"{where}: {broken[0]}")
