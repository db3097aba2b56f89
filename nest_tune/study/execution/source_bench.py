"""What all candidates of generated sources have in common, and what is made of one of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy.typing as npt

from compiler_core.accuracy.float_model import stacked
from compiler_core.files.plain import to_plain
from compiler_core.quantize.statistics import TensorRange
from compiler_core.targets.source_kinds import candidates_for
from compiler_core.targets.task_target import load_task_target
from compiler_core.tensor.digest import digest
from compiler_core.units.facets.candidates import (
    Candidate,
    CandidateRequest,
    Candidates,
    KernelTask,
)
from nest_tune.bundling import model_for_sources
from nest_tune.study.execution.counting import measured_pairs
from nest_tune.study.execution.examined import Costs, ExaminedModel
from nest_tune.study.execution.subjects import Subjects

_KEPT = 4
"""Candidates that a worker remembers."""

KERNEL, COST = "kernel", "cost"
"""Of a task's schedule: the kernel, and what it was measured to cost."""

UNTUNED = "untuned "
"""Before the name of a task of which only the usual kernel is measured."""


class SourceBench(ExaminedModel):
    """A worker's state: everything that candidates have in common.

    Args:
        subjects: What the study is about.

    Raises:
        InputError: A file is wrong.
    """

    def __init__(self, subjects: Subjects) -> None:
        super().__init__(subjects)
        self.model = model_for_sources(self.model)
        self.candidates: Candidates = candidates_for(subjects.target)
        self._made: dict[str, Candidate] = {}

    @cached_property
    def ranges(self) -> dict[str, TensorRange]:
        """Statistics of the activations."""
        return dict(self._profile.ranges())

    def candidate(self, decisions: Mapping[str, Any]) -> Candidate:
        """A candidate.

        Raises:
            InputError: It does not fit the model.
        """
        key = digest(dict(decisions))
        if key not in self._made:
            while len(self._made) >= _KEPT:
                self._made.pop(next(iter(self._made)))
            request = CandidateRequest(
                self.model.graph,
                (self.model.name, self.model.digest),
                self.ranges,
                self.subjects.target,
                decisions.get("quantization", {}),
                decisions.get("precision", {}),
                decisions.get("memory", {}).get("patches", ""),
                decisions.get("form", {}).get("form", ""),
            )
            self._made[key] = self.candidates.make(request)
        return self._made[key]

    def outputs(
        self, decisions: Mapping[str, Any], inputs: Mapping[str, npt.NDArray[Any]], samples: int
    ) -> dict[str, npt.NDArray[Any]]:
        """What the reference of a candidate's integers computes."""
        found = self.candidate(decisions).outputs(inputs)
        names = list(self.exam.judges)
        return stacked(self.model.graph, {name: found[name] for name in names}, names, samples)

    def warm(self) -> None:
        """Calibrates."""
        self.candidate({})

    def survey(self, decisions: Mapping[str, Any]) -> dict[str, Any]:
        """See :func:`nest_tune.study.execution.worker.survey`."""
        found = self.candidate(decisions)
        tasks = {task.name: task for task in found.tasks}
        return {
            "scheme": found.digest,
            "tasks": [_plain(task) for task in tasks.values()],
        }

    def measure_schedules(self, pairs: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """See :func:`nest_tune.study.execution.worker.measure_schedules`."""
        return measured_pairs(load_task_target(self.subjects.target), pairs)

    def measure(
        self, decisions: Mapping[str, Any], schedules: Mapping[str, Any]
    ) -> tuple[Costs, float]:
        """Costs of a candidate; no bound is known of its latency."""
        kernels = {name: found[KERNEL] for name, found in schedules.items()}
        measured = {name: found[COST] for name, found in schedules.items() if COST in found}
        found = self.candidate(decisions).costs(kernels, measured)
        return Costs(found.metrics, found.intervals, found.doubts), 0.0

    def measure_kernels(
        self, decisions: Mapping[str, Any], value: str, kernels: Sequence[Mapping[str, Any]]
    ) -> list[float]:
        """See :func:`nest_tune.study.execution.worker.measure_kernels`."""
        return self.candidate(decisions).measure(value, kernels)

    def schedules(
        self, decisions: Mapping[str, Any], known: Mapping[str, Any], *, tuned: bool
    ) -> dict[str, Any]:
        """What :meth:`measure` takes for a candidate; what is not known is measured now.

        Args:
            decisions: The candidate.
            known: By name, those of tasks that are not tuned with :data:`UNTUNED` before it.
            tuned: Whether kernels are the best ones, else the usual ones.
        """
        found: dict[str, Any] = {}
        for task in self.candidate(decisions).tasks:
            name = task.name if tuned else UNTUNED + task.name
            if task.name in found:
                continue
            if name in known:
                found[task.name] = known[name]
                continue
            kernels = to_plain(task.kernels if tuned else task.kernels[:1])
            if not self.is_measured:
                found[task.name] = {KERNEL: kernels[0]}
                continue
            costs = self.measure_kernels(decisions, task.value, kernels)
            best = costs.index(min(costs))
            found[task.name] = {KERNEL: kernels[best], COST: costs[best]}
        return found

    @property
    def is_measured(self) -> bool:
        """Whether anything measures operators on the target."""
        names = self.candidates.metrics(self.subjects.target)
        return "latency_ms" in names or "instructions" in names

    def float_costs(self) -> dict[str, float]:
        """Nothing: code in float is not measured for it."""
        return {}


def _plain(task: KernelTask) -> dict[str, Any]:
    """An operator as a survey tells it; ``searched`` has what a task of the core is."""
    found = {"name": task.name, "value": task.value, "kernels": to_plain(task.kernels)}
    if task.task is not None:
        own = {"unit": task.task.unit, "workload": to_plain(task.task.workload), "count": 1}
        found["searched"] = own
    return found
