"""Programs of a model whose layers have places: some hold several layers where that is faster."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from compiler_core.compile.joining import require_joinable, runs_of, slower_runs
from compiler_core.compile.linking import executable_of, link_requests
from compiler_core.compile.reporting import model_report
from compiler_core.compile.sources import QuantizedModel
from compiler_core.configuration.launches import OWN, LaunchSettings
from compiler_core.executable.executable import Executable
from compiler_core.executable.report import Report
from compiler_core.system.compiled import CompiledTimeline, compiled_timeline
from compiler_core.system.joinable import joinable_steps, misfit_of_steps, ways_of_joining
from compiler_core.system.positions import Positions
from compiler_core.system.priorities import ordered_priorities
from compiler_core.system.steps import ExecutionStep
from compiler_core.system.timeline import Timeline
from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import lowering_sum
from compiler_core.units.facets.placing import PlacedLayers
from compiler_core.units.facets.programs import (
    LinkedSegments,
    LinkRequest,
    UnitSegment,
    continues,
    programs_of,
)

Progress = Callable[[str], None]


@dataclass(frozen=True, eq=False)
class PlacedModel:
    """A model whose layers have places and schedules.

    Attributes:
        source: Quantized.
        target: The machine.
        placed: Its layers.
        schedules: By their names in configurations.
        steps: Of the whole model.
    """

    source: QuantizedModel
    target: Target
    placed: PlacedLayers
    schedules: Mapping[str, Any]
    steps: tuple[ExecutionStep, ...]

    @cached_property
    def launched(self) -> dict[str, int]:
        """Positions of the steps that are programs, by the name of the layer, in order."""
        layers = ((at, step.layer) for at, step in enumerate(self.steps))
        return {layer.operator.name: at for at, layer in layers if layer is not None}

    def joinable(self) -> list[list[str]]:
        """Layers that may continue the one before, in each way of joining that is worth trying."""
        names = {at: name for name, at in self.launched.items()}
        cores = max((unit.cores for unit in self.target.units), default=1)
        found: list[list[str]] = []
        for chains in ways_of_joining(cores):
            steps = joinable_steps(self.steps, self._places(), chains=chains)
            if (own := [names[at] for at in steps]) not in found:
                found.append(own)
        return found

    def misfit(self, joined: Collection[str]) -> str | None:
        """The first of some layers that cannot continue the one before beside the others."""
        steps = {self.launched[name] for name in joined}
        at = misfit_of_steps(self.steps, self._places(), steps)
        return next((name for name, step in self.launched.items() if step == at), None)

    def _places(self) -> list[str | None]:
        cuts, units = self.placed.cuts, self.placed.units
        return [None if name in cuts else units[name] for name in self.launched]


@dataclass(frozen=True, eq=False)
class TimedModel:
    """A model as programs.

    Attributes:
        linked, requests: By name of the unit.
        executable: All of them.
        report: What each step costs.
        timeline: When it runs.
    """

    linked: Mapping[str, LinkedSegments]
    requests: Mapping[str, LinkRequest]
    executable: Executable
    report: Report
    timeline: CompiledTimeline

    @property
    def borders(self) -> dict[str, Mapping[str, int]]:
        """How the layers begin that continue the one before, by name."""
        return {n: how for found in self.linked.values() for n, how in found.borders.items()}


def fastest_programs(
    model: PlacedModel, progress: Progress = lambda _: None, *, verifies: bool = True
) -> TimedModel:
    """The programs of a model, verified: as the configuration joins layers, or where it leaves that
    open, joined wherever that is not slower than one launch after another.

    Args:
        model: Layers with places and schedules.
        progress: Told what is being done.
        verifies: Whether programs are held against the machine's rules; not where only their times
            are asked for.

    Raises:
        InputError: The configuration joins what cannot be, or for another lowering.
        InfeasibleError: A schedule does not fit.
        InternalError: A program breaks a rule of the machine.
    """
    given = model.source.configuration.launches
    ways = model.joinable() if given.merge else []
    given.require_version(model.target.name, lowering_sum(model.target))
    if given.pinned:
        given.require_known([node.name for node in model.source.model.graph.nodes])
    borders: dict[str, Mapping[str, int] | None] = {}
    if given.borders is not None and given.merge:
        known = [name for name in model.launched if any(name in way for way in ways)]
        require_joinable(given.borders, known, model.misfit)
        borders = {name: dict(border) for name, border in given.borders.items()}
    found = _timed(model, borders)
    if given.borders is None:
        found = _fastest(model, found, ways)
    count = sum(map(launch_count, found.executable.npu_segments))
    if not verifies:
        return found
    progress(f"{count} launch{'' if count == 1 else 'es'}, verifying")
    for name, request in found.requests.items():
        programs_of(request.units.machine.kind).verify(found.linked[name], request)
    return found


def _fastest(model: PlacedModel, apart: TimedModel, ways: Sequence[Sequence[str]]) -> TimedModel:
    """The fastest of a model with a launch for each layer and with some joined: in each of some
    ways, and segment by segment in the better one."""
    pinned = model.source.configuration.launches.pinned
    own = {name for name, border in pinned.items() if border == OWN}
    ways = [[name for name in names if name not in own] for names in ways]
    joined = [_joined(model, apart, names) for names in ways if names]
    if len(joined) == 2:
        mixed = _mixed(model, *joined)
        tried = [set(found.borders) for found in joined]
        if mixed not in tried and model.misfit(mixed) is None:
            joined.append(_joined(model, apart, [n for n in model.launched if n in mixed]))
    return min((*joined, apart), key=lambda item: item.timeline.timeline.latency_ps)


def _mixed(model: PlacedModel, one: TimedModel, other: TimedModel) -> set[str]:
    """Program by program of ``other``, the layers that continue the one before in whichever is over
    sooner with all of them."""
    found: set[str] = set()
    for run in runs_of(list(model.launched), other.borders):
        steps = [model.launched[name] for name in run]
        sooner = min((other, one), key=lambda item: _span_ps(item.timeline.timeline, steps))
        found |= {name for name in run if name in sooner.borders}
    return found


def _span_ps(timeline: Timeline, steps: Sequence[int]) -> int:
    """From the start of the first of some steps to the end of the last."""
    ends = max(timeline.end_ps[step] for step in steps)
    return ends - min(timeline.start_ps[step] for step in steps)


def _joined(model: PlacedModel, apart: TimedModel, names: Sequence[str]) -> TimedModel:
    """A model with some layers joined to the one before, but for programs that are slower so."""
    pinned = model.source.configuration.launches.pinned
    found = _timed(model, {name: pinned.get(name) for name in names})
    slow = slower_runs(
        [layer for layer in apart.report.layers if layer.task],
        [layer for layer in found.report.layers if layer.task],
        found.borders,
    )
    if slow:
        found = _timed(model, {name: pinned.get(name) for name in names if name not in slow})
    return found


def _timed(model: PlacedModel, borders: Mapping[str, Mapping[str, int] | None]) -> TimedModel:
    """The programs of a model and their times, with some layers joined to the one before."""
    source, target, placed, steps = model.source, model.target, model.placed, model.steps
    requests = link_requests(placed, model.schedules, steps, target, borders)
    linked = {
        name: programs_of(request.units.machine.kind).link(request)
        for name, request in requests.items()
    }
    executable = executable_of(source.quantized, linked, target)
    launches = [
        (launch, executable.unit_of(segment))
        for segment in executable.npu_segments
        for launch in segment.launches
    ]
    timings = [programs_of(unit.kind).time(launch, unit.machine) for launch, unit in launches]
    report = model_report(source.quantized, executable, placed, model.schedules, timings, steps)
    places = [placed.units[step.layer.operator.name] for step in steps if step.layer is not None]
    positions, order = Positions(source.model.graph), source.configuration.order
    timeline = compiled_timeline(
        steps,
        report.layers,
        timings,
        [continues(launch) for launch, _ in launches],
        places,
        positions,
        executable,
        ordered_priorities(steps, order, source.model.graph, positions) if order else None,
    )
    return TimedModel(linked, requests, executable, report, timeline)


def found_launches(given: LaunchSettings, found: TimedModel) -> LaunchSettings:
    """How layers became launches, where they could be joined."""
    if not given.merge:
        return given
    return LaunchSettings(True, lowering_sum(found.executable.target), found.borders)


def launch_count(segment: UnitSegment) -> int:
    """How often the CPU starts programs of a segment."""
    return sum(not continues(launch) for launch in segment.launches)
