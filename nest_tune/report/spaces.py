"""Which tasks of a compiled model have no schedule left to measure."""

from __future__ import annotations

from collections.abc import Mapping

from compiler_core.compile.compile import CompiledModel
from compiler_core.compile.unit_layers import model_layers
from compiler_core.targets.unit_tasks import unit_task
from nest_tune.study.tuning.seam import TunedTask
from search_spaces.task_space import task_space

_LARGEST_COUNTED = 1_000_000
"""Points of a space, legal or not, that are counted: a larger one is not used up."""


def schedules_known(task: TunedTask) -> int:
    """Schedules of a task whose cycles a study knows; programs that were tried beside the space are
    none."""
    return len(set(task.records)) or task.measurements


def used_up(compiled: CompiledModel, tasks: Mapping[str, TunedTask]) -> dict[str, int]:
    """Sizes of the spaces of tasks that are measured whole, by name.

    Tasks of layers that are cut over cores are not looked at.
    """
    target = compiled.executable.target
    found: dict[str, int] = {}
    seen: set[str] = set()
    for part in model_layers(compiled.source.quantized, target):
        for layer in part.layers:
            task = unit_task(target, part.segment.unit, layer.task)
            tuned = tasks.get(task.name)
            if tuned is None or task.name in seen:
                continue
            seen.add(task.name)
            space = task_space(task.task.workload, task.unit.machine)
            if space.product_size <= _LARGEST_COUNTED and schedules_known(tuned) >= space.size:
                found[task.name] = space.size
    return found
