"""Tasks of several units, each tuned by itself: schedules of one machine say nothing of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import find_unit, named_task, of_unit
from nest_tune.study.tuning.seam import CountedTask, TunedTask, Tuner, Tuning
from nest_tune.tuning.steps import side_by_side


class UnitTuners:
    """Hands tasks to the tuners of their units.

    Args:
        target: Where they run.
        tuners: By name of the unit, the first of several that are alike.
    """

    def __init__(self, target: Target, tuners: Mapping[str, Tuner]) -> None:
        self._target, self._tuners = target, tuners

    def limit(self, tasks: int) -> int:
        """See :class:`nest_tune.study.tuning.seam.Tuner`."""
        return max(tuner.limit(tasks) for tuner in self._tuners.values())

    def tuning(self, tasks: Sequence[CountedTask], taught: Sequence[str]) -> Tuning:
        found: dict[str, TunedTask] = {}

        def of(name: str, tuner: Tuner, own: Sequence[CountedTask]) -> Tuning:
            known = of_unit({task: task for task in taught}, self._target, name)
            alone = [replace(counted, unit="") for counted in own]
            tuned = yield from tuner.tuning(alone, list(known))
            found.update((c.name, tuned[named_task(c.task.id, "")]) for c in own)
            return tuned

        searches = []
        for name, tuner in self._tuners.items():
            own = [c for c in tasks if find_unit(c.name, c.task, self._target).name == name]
            if own:
                searches.append(of(name, tuner, own))
        yield from side_by_side(searches)
        return {counted.name: found[counted.name] for counted in tasks}
