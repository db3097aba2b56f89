"""What all candidates of a study have in common, loaded once, and what is made of one candidate.

A candidate is what a point of the joint space means, as plain values by part.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy.typing as npt

from compiler_core.accuracy.float_model import stacked
from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.for_target import fitted
from compiler_core.compile.sources import QuantizedModel, first_run, quantize_model
from compiler_core.compile.unit_layers import cut_tasks, model_layers, tuned_slicings
from compiler_core.configuration.configuration import (
    ORDER,
    Configuration,
    Scheme,
    Subject,
    read_schedule,
)
from compiler_core.configuration.launches import BORDERS, LaunchSettings
from compiler_core.configuration.runtime import RUNTIME, read_runtime
from compiler_core.errors import NestTuneError
from compiler_core.files.plain import to_plain
from compiler_core.package.writer import write_package
from compiler_core.quantize.apply import apply_profile, apply_scheme
from compiler_core.quantize.assemble import CPU, assemble, without_room
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.precisions import precisions_of
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.scheme import QuantizationScheme, read_scheme, scheme_document
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import UnitTask, unit_task
from compiler_core.tensor.digest import digest
from nest_tune.board_measurers import load_measurer
from nest_tune.stores.reconstruction_store import stored_reconstruction
from nest_tune.study.execution.counting import measured_pairs
from nest_tune.study.execution.examined import Costs, ExaminedModel
from nest_tune.study.execution.subjects import Subjects

_BESIDE = (BORDERS, ORDER, RUNTIME)
"""Parts of a candidate that change what it costs, and no number."""

_KEPT = 4
"""Quantized candidates that a worker remembers."""


class Bench(ExaminedModel):
    """A worker's state: everything that candidates have in common.

    Raises:
        InputError: A file is wrong.
    """

    def __init__(self, subjects: Subjects) -> None:
        super().__init__(subjects)
        self.target: Target = load_target(subjects.target)
        self._imported, self.model = self.model, fitted(self.model, self.target)
        self._quantized: dict[str, QuantizedModel] = {}

    def quantized(self, decisions: Mapping[str, Any]) -> QuantizedModel:
        """A candidate's quantized graph.

        Raises:
            InputError: It does not fit the model.
        """
        # How layers begin changes no number.
        key = digest({name: own for name, own in decisions.items() if name != BORDERS})
        if key not in self._quantized:
            while len(self._quantized) >= _KEPT:
                self._quantized.pop(next(iter(self._quantized)))
            self._quantized[key] = self._quantize(decisions)
        return self._quantized[key]

    def _quantize(self, decisions: Mapping[str, Any]) -> QuantizedModel:
        graph = self.model.graph
        known = target_arithmetic(self.target)
        assignment = {
            **default_assignment(graph, cores=self.target.npu_cores, arithmetic=known),
            **decisions.get("partition", {}),
        }
        if self.target.npu_cores:
            # Beside other neighbours a layout may differ, and with it what has room.
            assignment |= dict.fromkeys(without_room(graph, known, assignment), CPU)
        scheme = read_scheme(decisions.get("quantization", {}), "quantization")
        asks = bool(assemble(graph, assignment, known).calibrated or precisions_of(assignment))
        if asks or scheme != QuantizationScheme():
            kept = stored_reconstruction(self._profile, scheme)
            applied = apply_profile(graph, assignment, self._profile, scheme, kept, known)
        else:
            applied = apply_scheme(graph, assignment, {}, scheme, arithmetic=known)
        found = {n: tensor.exponent for n, tensor in sorted(applied.quantized.tensors.items())}
        configuration = Configuration(
            Scheme.of(found, scheme),
            dict(sorted(applied.placed(assignment).items())),
            model=Subject(self.model.name, self.model.digest),
            target=Subject(self.target.name, self.target.digest),
            order=tuple(decisions.get(ORDER, ())),
        )
        feeds = None if self.subjects.calibration is None else first_run(graph, self._profile)
        return QuantizedModel(self.model, applied.quantized, configuration, applied.reasons, feeds)

    def compiled(self, decisions: Mapping[str, Any], schedules: Mapping[str, Any]) -> CompiledModel:
        """A candidate's programs, verified and timed.

        Args:
            decisions: The candidate.
            schedules: Plain schedule by name of a task of :meth:`tasks`; others get the untuned
                default.

        Raises:
            InfeasibleError: A schedule does not fit.
            InternalError: A program breaks a rule of the machine.
        """
        source = self.quantized(decisions)
        given = {
            name: read_schedule(name, value, name) for name, value in sorted(schedules.items())
        }
        cuts = self._cuts(source) if given else {}
        slicing = tuned_slicings(cuts, given, self.target)
        for found in cuts.values():
            for task in found:
                given.pop(task.name, None)
        pinned = {name: dict(border) for name, border in decisions.get(BORDERS, {}).items()}
        launches = LaunchSettings(merge=self.subjects.merges, pinned=pinned)
        runtime = read_runtime(decisions.get(RUNTIME), RUNTIME)
        configuration = replace(
            source.configuration,
            schedules=given,
            slicing=slicing,
            launches=launches,
            runtime=runtime,
        )
        return compile_model(replace(source, configuration=configuration), self.target)

    def metrics(self, compiled: CompiledModel) -> dict[str, float]:
        """What a candidate costs, as of :meth:`costs`."""
        return dict(self.costs(compiled).metrics)

    def costs(self, compiled: CompiledModel) -> Costs:
        """What a candidate costs: by the simulator or the clock, but for what a measurer measured.

        Raises:
            InputError: The measurer is unknown, or what it returned is no measurement.
            OwnCodeError: It raised something.
        """
        found, intervals = compiled.metrics.costs, compiled.metrics.intervals
        if self.subjects.measurer:
            with TemporaryDirectory(prefix="nest-tune-") as folder:
                package = Path(folder) / "package"
                write_package(compiled, package, {})
                measured_costs = load_measurer(self.subjects.measurer).measure(package)
            intervals = {n: ends for n, ends in intervals.items() if n not in measured_costs}
            found |= measured_costs
        clock = compiled.metrics.by_clock
        return Costs(found, intervals, () if clock is None or not intervals else clock.warnings)

    def outputs(
        self, decisions: Mapping[str, Any], inputs: Mapping[str, npt.NDArray[Any]], samples: int
    ) -> dict[str, npt.NDArray[Any]]:
        """What the reference of a candidate's integers computes."""
        found = ReferenceExecutor(self.quantized(decisions).quantized).run(inputs)
        return stacked(self.model.graph, found, list(self.exam.judges), samples)

    def warm(self) -> None:
        """Calibrates, and has the simulators compiled where this machine has not run them before,
        so that no trial's time is spent on it. What is wrong with the default, trial 0 will say."""
        self.quantized({})
        if not self.target.by_clock:
            with suppress(NestTuneError):
                self.compiled({}, {})

    def survey(self, decisions: Mapping[str, Any]) -> dict[str, Any]:
        """See :func:`nest_tune.study.execution.worker.survey`."""
        tasks, counts = self.tasks(decisions)
        configuration = self.quantized(decisions).configuration
        return {
            "scheme": digest((configuration.scheme, configuration.plan), 32),
            "beside": {name: own for name in _BESIDE if (own := decisions.get(name))},
            "tasks": [
                {
                    "unit": found.task.unit,
                    "workload": to_plain(found.task.workload),
                    "count": counts[name],
                    **({} if name == found.task.id else {"on": found.unit.name}),
                }
                for name, found in tasks.items()
            ],
        }

    def tasks(self, decisions: Mapping[str, Any]) -> tuple[dict[str, UnitTask], Counter[str]]:
        """Tasks of a candidate by name, in order of first use, and how often each occurs; of a
        layer that is cut over cores there is one for each way of cutting it."""
        source = self.quantized(decisions)
        cuts = self._cuts(source)
        tasks: dict[str, UnitTask] = {}
        counts: Counter[str] = Counter()
        for part in model_layers(source.quantized, self.target):
            for layer in part.layers:
                usual = (unit_task(self.target, part.segment.unit, layer.task),)
                for found in cuts.get(layer.operator.name, usual):
                    tasks.setdefault(found.name, found)
                    counts[found.name] += 1
        return tasks, counts

    def _cuts(self, source: QuantizedModel) -> dict[str, tuple[UnitTask, ...]]:
        if all(unit.cores == 1 for unit in self.target.units):
            return {}
        layers = model_layers(source.quantized, self.target)
        return cut_tasks(layers, source.configuration.plan, self.target)

    def measure(
        self, decisions: Mapping[str, Any], schedules: Mapping[str, Any]
    ) -> tuple[Costs, float]:
        """Costs of a candidate, and its latency if every program reached its lower bound; 0 where
        the target runs no programs."""
        compiled = self.compiled(decisions, schedules)
        if not self.target.npu_cores:
            return self.costs(compiled), 0.0
        excess_ms = 0.0
        for unit in self.target.units:
            own = [n for n in compiled.report.layers if self.target.unit_at(n.unit) == unit]
            excess = sum(layer.cycles - layer.bound_cycles for layer in own)
            excess_ms += 1e3 * excess / unit.machine.clock_hz
        return self.costs(compiled), compiled.metrics.latency_ms - excess_ms

    def float_costs(self) -> dict[str, float]:
        """What the float model costs with everything on the CPU."""
        model = self._imported  # not in a form that is for other units
        units = dict.fromkeys((node.name for node in model.graph.nodes), CPU)
        if model is self.model:
            scheme = scheme_document(QuantizationScheme())
            return self.metrics(self.compiled({"quantization": scheme, "partition": units}, {}))
        known = target_arithmetic(self.target)
        source = quantize_model(model, Configuration(plan=units), None, arithmetic=known)
        return self.metrics(compile_model(source, self.target))

    def measure_schedules(self, pairs: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """See :func:`nest_tune.study.execution.worker.measure_schedules`."""
        return measured_pairs(self.target, pairs)
