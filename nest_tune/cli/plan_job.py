"""The model, the target and the files that the options of ``nest-tune plan`` name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from compiler_core.errors import InputError
from compiler_core.files.whole_file import require_writable, write_atomically
from nest_tune.cli.options import parse_shapes
from nest_tune.cli.output import print_json, progress
from nest_tune.cli.plan_report import plan_document

if TYPE_CHECKING:
    from compiler_core.compile.sources import FloatModel
    from compiler_core.partition.evaluate import Evaluation, Evaluator
    from compiler_core.partition.plan import Plan
    from compiler_core.partition.resolve import ResolvedPlan
    from compiler_core.units.cpu.measure import Timing


class PlanJob:
    """A model and a target as the options name them."""

    def __init__(
        self,
        model: Path,
        target: str,
        cpu_table: Path | None,
        config: Path | None,
        shape: list[str] | None,
        svg: Path | None,
        trace: Path | None,
        csv: Path | None = None,
    ) -> None:
        require_writable(svg, "--svg")
        require_writable(trace, "--trace")
        require_writable(csv, "--csv")
        from compiler_core.compile.sources import load_model
        from compiler_core.configuration.configuration import Subject, read_configuration
        from compiler_core.partition.programs import planned_arithmetic
        from compiler_core.targets.load import load_target
        from compiler_core.units.cpu.cost_table import read_cpu_table

        self._chip = load_target(target)
        self.on_host = self._chip.by_clock
        if cpu_table is not None:
            self._chip = replace(self._chip, cpu_table=read_cpu_table(cpu_table))
        self._schedules = {} if config is None else read_configuration(config).schedules
        self._svg, self._trace, self._csv = svg, trace, csv
        self.model: FloatModel = load_model(model, parse_shapes(shape))
        self.subject = Subject(self.model.name, self.model.digest)
        self.target = Subject(self._chip.name, self._chip.digest)
        self.cores = self._chip.npu_cores
        self.places = self._chip.places
        self.arithmetic = planned_arithmetic(self._chip)

    def require_npu(self) -> None:
        """Refuses a target that has nothing to plan."""
        if not self.cores:
            raise InputError(
                f"target {self._chip.name!r} has no NPU: every operator runs on its CPU",
                hint="nest-tune plan show MODEL --target host measures it",
            )

    def refuse_on_host(self, **paths: Path | None) -> None:
        """Refuses options that mean nothing where the one unit is measured as a whole."""
        for name, path in paths.items():
            if path is not None:
                raise InputError(
                    f"--{name.replace('_', '-')} {path}: target {self._chip.name!r} has no NPU: "
                    "there is one plan, every operator on its CPU",
                    hint="nest-tune target list shows targets with an NPU",
                )

    def evaluator(self) -> Evaluator:
        """Costs of the model on the target."""
        from compiler_core.partition.best import prepare

        self.require_npu()
        progress(f"timing programs of {self.model.name} on {self._chip.name}")
        return prepare(self.model.graph, self._chip, schedules=self._schedules)

    def read(self, plan: Path) -> Plan:
        """A plan from a file, made for this model and target or for any."""
        from compiler_core.partition.best import check_subjects
        from compiler_core.partition.plan import read_plan

        found = read_plan(plan)
        check_subjects(found, self.subject, self.target)
        return found

    def resolve(self, plan: Path, evaluator: Evaluator) -> ResolvedPlan:
        """A plan from a file, its names resolved."""
        from compiler_core.partition.resolve import resolve_plan

        return resolve_plan(self.read(plan), evaluator.groups, self.places)

    def write(self, evaluator: Evaluator, evaluation: Evaluation) -> None:
        """The picture, the table and the timeline, where they were asked for."""
        title = f"{self.model.name} on {self.target.name}: {evaluation.latency_ms:.3f} ms"
        if self._svg is not None:
            from compiler_core.partition.picture import draw

            picture = draw(evaluator, evaluation, title).encode()
            write_atomically(self._svg, lambda stream: stream.write(picture))
        if self._csv is not None:
            from compiler_core.partition.table import plan_csv

            table = plan_csv(evaluator, evaluation).encode()
            write_atomically(self._csv, lambda stream: stream.write(table))
        if self._trace is not None:
            from compiler_core.files.trace import write_trace
            from compiler_core.partition.perfetto import plan_slices, track_names

            slices = list(plan_slices(evaluator, evaluation))
            tracks = track_names(evaluator)
            write_atomically(self._trace, lambda stream: write_trace(stream, title, tracks, slices))

    def document(self, evaluator: Evaluator, evaluation: Evaluation) -> dict[str, Any]:
        """What ``--json`` prints of a plan."""
        return plan_document(
            evaluator,
            evaluation,
            self.subject,
            self.target,
            deterministic=self._chip.cpu_table is None,
        )

    def report_host(self, document: str, as_json: bool) -> None:
        """Latency on this machine, by the clock."""
        timing = self._measure()
        names = [node.name for node in self.model.graph.nodes]
        if as_json:
            print_json(
                document,
                {
                    "model": {"name": self.subject.name, "digest": self.subject.digest},
                    "target": {"name": self.target.name, "digest": self.target.digest},
                    "deterministic": False,
                    "latency_ms": timing.median_us / 1e3,
                    "latency_low_ms": timing.low_us / 1e3,
                    "latency_high_ms": timing.high_us / 1e3,
                    "repeats": timing.repeats,
                    "optimality_gap": 0.0,
                    "baselines": {"all_cpu": timing.median_us / 1e3},
                    "units": dict.fromkeys(names, "cpu"),
                },
            )
            return
        print(
            f"{self.model.name} on this machine: {timing.median_us / 1e3:.3f} ms, half of "
            f"{timing.repeats} runs between {timing.low_us / 1e3:.3f} and "
            f"{timing.high_us / 1e3:.3f} ms (by the clock, one thread: not deterministic)"
        )

    def _measure(self) -> Timing:
        from compiler_core.units.cpu.measure import measure_model

        progress(f"measuring {self.model.name} on this machine")
        return measure_model(self.model.graph)
