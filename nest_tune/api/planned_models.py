"""Models under plans, with what becomes of them: files, pictures, tables, traces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compiler_core.clock.one import Timing
from compiler_core.configuration.configuration import Subject
from compiler_core.files.trace import write_trace
from compiler_core.files.whole_file import write_atomically
from compiler_core.partition.best import BestPlan
from compiler_core.partition.evaluate import Evaluation, Evaluator
from compiler_core.partition.perfetto import plan_slices, track_names
from compiler_core.partition.picture import draw
from compiler_core.partition.plan import Plan, plan_text
from compiler_core.partition.resolve import plan_of
from compiler_core.partition.shared_operators import SharedPlan, of_whole
from compiler_core.partition.table import plan_csv
from nest_tune.api.values import PathName


@dataclass(frozen=True, eq=False)
class PlannedModel:
    """A model under a plan, timed on the system's timeline.

    Attributes:
        model, target: What the plan is for.
        evaluator: Groups of the model and their costs.
        evaluation: Latency, energy, bytes and timeline of the plan.
        deterministic: Whether the costs say the same every time.
        shared: Operators that several units share: in the evaluator each share is one of its own.
    """

    model: Subject
    target: Subject
    evaluator: Evaluator
    evaluation: Evaluation
    deterministic: bool
    shared: SharedPlan

    @property
    def latency_ms(self) -> float:
        """From end to end."""
        return self.evaluation.latency_ms

    @property
    def units(self) -> dict[str, str]:
        """The unit of every group, by the group's name."""
        places, placement = self.evaluator.costs.places, self.evaluation.placement
        return {g.name: places[placement[g.index]].name for g in self.evaluator.groups.groups}

    @property
    def plan(self) -> Plan:
        """The plan, with every node named."""
        found = plan_of(
            self.evaluation.placement,
            self.evaluator.groups,
            self.evaluator.costs.places,
            model=self.model,
            target=self.target,
        )
        return of_whole(found, self.shared)

    @property
    def _title(self) -> str:
        return f"{self.model.name} on {self.target.name}: {self.latency_ms:.3f} ms"

    def write_plan(self, path: PathName) -> None:
        """Writes the plan as a file that ``compile`` takes."""
        text = plan_text(self.plan).encode()
        write_atomically(Path(path), lambda stream: stream.write(text))

    def write_picture(self, path: PathName) -> None:
        """Writes a picture of the graph, in SVG."""
        picture = draw(self.evaluator, self.evaluation, self._title).encode()
        write_atomically(Path(path), lambda stream: stream.write(picture))

    def write_table(self, path: PathName) -> None:
        """Writes a table of the groups, as CSV."""
        table = plan_csv(self.evaluator, self.evaluation).encode()
        write_atomically(Path(path), lambda stream: stream.write(table))

    def write_trace(self, path: PathName) -> None:
        """Writes a timeline that opens in Perfetto."""
        slices = list(plan_slices(self.evaluator, self.evaluation))
        tracks = track_names(self.evaluator)
        title = self._title
        write_atomically(Path(path), lambda stream: write_trace(stream, title, tracks, slices))


@dataclass(frozen=True, eq=False)
class CheckedPlan(PlannedModel):
    """A legal plan.

    Attributes:
        pinned, free: Groups that it names, and others.
        left_on_cpu: Why groups that it leaves free stay on the CPU, by name.
    """

    pinned: int
    free: int
    left_on_cpu: Mapping[str, str]


@dataclass(frozen=True, eq=False)
class BestPlanned(PlannedModel):
    """The plan of least latency.

    Attributes:
        found: Its bound, the baselines, and the search.
    """

    found: BestPlan


@dataclass(frozen=True, eq=False)
class MeasuredModel:
    """A model on this machine, by the clock.

    Attributes:
        model, target: What was measured.
        timing: Median and quartiles.
        nodes: All on the CPU.
    """

    model: Subject
    target: Subject
    timing: Timing
    nodes: tuple[str, ...]
