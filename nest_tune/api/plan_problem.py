"""A model and a target, and plans of the one on the other."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Unpack

from compiler_core.compile.for_target import fitted
from compiler_core.compile.sources import FloatModel
from compiler_core.configuration.configuration import Configuration, Subject, read_configuration
from compiler_core.errors import InputError
from compiler_core.files.whole_file import write_atomically
from compiler_core.graph.ir import Graph
from compiler_core.partition.best import check_subjects, find_best, prepare
from compiler_core.partition.evaluate import Evaluation, Evaluator
from compiler_core.partition.groups import build_groups
from compiler_core.partition.overlaps import overlaps_of
from compiler_core.partition.plan import Plan, plan_text, read_plan
from compiler_core.partition.resolve import IllegalPlanError, plan_of, resolve_plan
from compiler_core.partition.shared_operators import SharedPlan, of_whole, without_shares
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.targets.places import Placement
from compiler_core.targets.target import Target
from compiler_core.units.facets.host import host_costs, host_measuring
from nest_tune.api.asked import PlanSettings
from nest_tune.api.packaged_plans import PackagedPlan, packaged_best, packaged_plan
from nest_tune.api.plan_numbers import PlanNumbers
from nest_tune.api.planned_models import BestPlanned, CheckedPlan, MeasuredModel, PlannedModel
from nest_tune.api.values import (
    Model,
    PathName,
    Progress,
    calibration_of,
    loaded_model,
)
from nest_tune.setting import settled


class PlanProblem:
    """A model and a target, and the costs of the one on the other.

    Args:
        model: ONNX file or ``onnx.ModelProto``.
        target: Name, path of a ``.toml`` file, or a loaded target.
        configuration: In the place of the file that ``asked`` may name.
        progress: Told what is being done.
        asked: See :class:`~nest_tune.api.asked.PlanSettings`.

    Raises:
        InputError: A file or argument is wrong, or does not fit the model or target.
    """

    def __init__(
        self,
        model: Model,
        target: str | Target,
        *,
        configuration: Configuration | None = None,
        progress: Progress = lambda _: None,
        **asked: Unpack[PlanSettings],
    ) -> None:
        said = settled(PlanSettings, asked)
        cpu_table, config, calibration = said["cpu_table"], said["config"], said["calibration"]
        chip = target if isinstance(target, Target) else load_target(target)
        if cpu_table is not None:
            chip = replace(chip, cpu_table=host_costs().read_table(Path(cpu_table)))
        self.chip = chip
        self._given = configuration or Configuration()
        if config is not None:
            self._given = read_configuration(Path(config))
        self._source: FloatModel = fitted(loaded_model(model, said["shapes"], calibration), chip)
        self._calibration = calibration
        self._progress = progress
        self.model = Subject(self._source.name, self._source.digest)
        self.target = Subject(chip.name, chip.digest)

    def require_npu(self) -> None:
        """Refuses a target that has nothing to plan.

        Raises:
            InputError: It has no NPU.
        """
        if not self.chip.npu_cores:
            raise InputError(
                f"target {self.chip.name!r} has no NPU: every operator runs on its CPU",
                hint="nest-tune plan show MODEL --target host measures it",
            )

    @property
    def graph(self) -> Graph:
        """Simplified."""
        return self._source.graph

    @property
    def joins_layers(self) -> bool:
        """Whether layers that follow one another are launched together."""
        return self._given.launches.merge

    @cached_property
    def evaluator(self) -> Evaluator:
        """Costs of the model on the target."""
        return self.evaluator_of(self._source.graph)

    def evaluator_of(self, graph: Graph) -> Evaluator:
        """Of the model, or of the same with operators that are cut."""
        if graph is self._source.graph and "evaluator" in self.__dict__:
            return self.evaluator
        self.require_npu()
        numbers = self._numbers if graph is self._source.graph else None
        schedules = self._given.schedules
        self._progress(f"timing programs of {self.model.name} on {self.chip.name}")
        return prepare(
            graph,
            self.chip,
            schedules=schedules,
            quantized=numbers,
            joins_layers=self._given.launches.merge,
            overlaps=lambda groups: overlaps_of(groups, self.chip, self._given, numbers),
        )

    @cached_property
    def _own(self) -> PlanNumbers | None:
        """The model's numbers, where there are samples to find them by."""
        if self._calibration is None:
            return None
        samples = calibration_of(self._calibration, self._source.graph)
        return PlanNumbers(self._source, self._given, self.chip, samples, self._progress)

    @cached_property
    def _numbers(self) -> QuantizedGraph | None:
        """Those that searches go by."""
        return None if self._own is None else self._own.everywhere()

    def packaged(self, plan: Plan | None, evaluator: Evaluator | None = None) -> PackagedPlan:
        """A plan as a compile takes it; the one of a compile without where there is none.

        Args:
            plan: Of the model.
            evaluator: Costs of its graph, where they are known.
        """
        return packaged_plan(
            plan,
            self._configuration,
            self._source,
            self.chip,
            self.evaluator_of if evaluator is None else lambda _: evaluator,
            self._progress,
        )

    @property
    def _configuration(self) -> Configuration:
        """What was given; its plan where that is for this model and target."""
        given = self._given
        pairs = (given.model, self.model), (given.target, self.target)
        if all(made_for.digest in ("", own.digest) for made_for, own in pairs):
            return given
        return replace(given, plan={}, order=())

    def evaluated(self, packaged: PackagedPlan) -> Evaluation:
        """What the package of a plan takes, with the model's numbers where there are samples."""
        return packaged.evaluation(self._own)

    def read(self, plan: PathName | None) -> SharedPlan:
        """A plan from a file, made for this model and target or for any; one that says nothing
        where there is none."""
        if plan is None:
            return SharedPlan(Plan(), self._source.graph, {}, {})
        found = read_plan(Path(plan))
        check_subjects(found, self.model, self.target)
        return without_shares(found, self._source.graph, target_arithmetic(self.chip))

    def show(self, plan: PathName | None = None) -> PlannedModel:
        """A plan, or that of a compile without one."""
        self.require_npu()
        packaged = self.packaged(None if plan is None else read_plan(Path(plan)))
        return PlannedModel(
            self.model,
            self.target,
            packaged.evaluator,
            self.evaluated(packaged),
            self.is_exact,
            packaged.shared,
        )

    def check(self, plan: PathName, fix: PathName | None = None) -> CheckedPlan:
        """A plan, held against the target; see :func:`~nest_tune.api.planning.check_plan`."""
        self.require_npu()
        given = self.read(plan)
        groups = build_groups(given.graph, target_arithmetic(self.chip))
        try:
            resolved = resolve_plan(given.plan, groups, self.chip.places)
        except IllegalPlanError as error:
            if fix is not None:
                text = plan_text(of_whole(error.nearest, given)).encode()
                write_atomically(Path(fix), lambda stream: stream.write(text))
                self._progress(f"nearest legal plan: {fix}")
            raise
        packaged = self.packaged(read_plan(Path(plan)))
        own = packaged.evaluator.groups.groups
        return CheckedPlan(
            self.model,
            self.target,
            packaged.evaluator,
            self.evaluated(packaged),
            self.is_exact,
            packaged.shared,
            len(resolved.pins),
            len(groups.groups) - len(resolved.pins),
            {own[g].name: why for g, why in packaged.left_on_cpu.items()},
        )

    def best(
        self, plan: PathName | None = None, *, time_limit_s: float | None = None
    ) -> BestPlanned:
        """The plan of least latency; see :func:`~nest_tune.api.planning.best_plan`."""
        given = self.read(plan)
        evaluator = self.evaluator_of(given.graph)
        pins = resolve_plan(given.plan, evaluator.groups, self.chip.places).pins
        found = find_best(evaluator, pins=pins, time_limit_s=time_limit_s)
        if self._own is not None:
            found = packaged_best(
                found, lambda item: self.evaluated(self.placed(given, evaluator, item))
            )
        return BestPlanned(
            self.model, self.target, evaluator, found.evaluation, self.is_exact, given, found
        )

    def placed(
        self, shared: SharedPlan, evaluator: Evaluator, placement: Placement
    ) -> PackagedPlan:
        """A placement of the groups of a graph as a compile takes it."""
        plan = plan_of(placement, evaluator.groups, evaluator.costs.places)
        return self.packaged(of_whole(plan, shared), evaluator)

    def measure(self) -> MeasuredModel:
        """The model on this machine, where the target is that."""
        self._progress(f"measuring {self.model.name} on this machine")
        graph = self._source.graph
        names = tuple(node.name for node in graph.nodes)
        return MeasuredModel(self.model, self.target, host_measuring().model(graph), names)

    @property
    def is_exact(self) -> bool:
        """Whether the costs say the same every time."""
        return self.chip.cpu_table is None
