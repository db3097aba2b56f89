"""Programs beyond the spaces of tasks, where a kind of unit has some: tried side by side for tasks
that a study has tuned."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from compiler_core.errors import InfeasibleError
from compiler_core.tensor.digest import digest
from compiler_core.tensor.task import Task
from compiler_core.units.unit import Machine
from nest_tune.tuning.knowledge import Knowledge
from nest_tune.tuning.program_search import FoundProgram, is_program, program_search
from nest_tune.tuning.steps import Steps, side_by_side
from search_spaces.task_space import task_space

PROGRAMS = 64
"""Programs that are timed of a task that has some."""


def programs_beyond(
    tasks: Sequence[Task], machine: Machine, seed: int, knowledge: Knowledge
) -> Steps[Mapping[Task, FoundProgram]]:
    """The best programs of the tasks that have any beyond their spaces.

    Args:
        tasks: Tuned.
        machine: Where they run.
        seed: Of the study; each task's own random stream derives from it.
        knowledge: Records at the start: the best program that they know is where a search begins.
    """
    searched = program_search(machine)
    found: dict[Task, FoundProgram] = {}
    if searched is None:
        return found

    def search(task: Task) -> Steps[None]:
        own = int(digest((seed, task.key, "programs"), 12), 16)
        space = task_space(task.workload, machine)
        known = [
            (record.cycles, schedule)
            for schedule, record in knowledge.of(task)
            if record.cycles is not None
            and not space.holds(schedule)
            and is_program(task.workload, schedule, machine)
        ]
        best = [min(known, key=lambda item: item[0])[1]] if known else []
        try:
            found[task] = yield from searched.steps(
                task.workload, machine, programs=PROGRAMS, seed=own, known=best
            )
        except InfeasibleError:
            return  # what stays on chip in principle may have no program that is legal

    have = [task for task in tasks if not searched.obstacles(task.workload, machine)]
    yield from side_by_side([search(task) for task in have])
    return found
