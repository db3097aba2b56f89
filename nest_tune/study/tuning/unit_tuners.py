"""Tasks of several units, each tuned by itself: schedules of one machine say nothing of another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import find_unit, named_task
from nest_tune.study.tuning.seam import CountedTask, TunedTask, Tuner


class UnitTuners:
    """Hands tasks to the tuners of their units.

    Args:
        target: Where they run.
        tuners: By name of the unit, the first of several that are alike.
    """

    def __init__(self, target: Target, tuners: Mapping[str, Tuner]) -> None:
        self._target, self._tuners = target, tuners

    def tune(self, tasks: Sequence[CountedTask]) -> Mapping[str, TunedTask]:
        found: dict[str, TunedTask] = {}
        for name, tuner in self._tuners.items():
            own = [c for c in tasks if find_unit(c.name, c.task, self._target).name == name]
            if own:
                tuned = tuner.tune([replace(counted, unit="") for counted in own])
                found |= {c.name: tuned[named_task(c.task.id, "")] for c in own}
        return {counted.name: found[counted.name] for counted in tasks}

    def close(self) -> None:
        for tuner in self._tuners.values():
            tuner.close()
