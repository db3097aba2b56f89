"""What a report says of compiled models: timeline, roofline, layers, the partitioned graph."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.compile.compile import CompiledModel
from compiler_core.compile.cpu_causes import unable_reasons
from compiler_core.executable.executable import Executable
from compiler_core.executable.profile import roofline
from compiler_core.executable.report import CONVERSIONS, LayerReport
from compiler_core.partition.best import prepare
from compiler_core.partition.picture import draw
from compiler_core.partition.plan import Plan
from compiler_core.partition.shared_operators import without_shares
from compiler_core.system.compiled import CompiledTimeline
from compiler_core.system.jobs import JobKind
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.places import ON_CPU
from compiler_core.targets.target import Target
from compiler_core.units.facets.profiles import profiles_of
from compiler_core.units.names import CPU
from nest_tune.figures import percent
from nest_tune.report.charts import RoofDot, RooflineChart
from nest_tune.report.gantt import Gantt, GanttBar, Strip, Track, busy_shares

_BINS = 480
_NOTICED_MS = 0.00005
_MOST_INSTRUCTIONS = 2_000_000
_PS_PER_MS = 1e9


@dataclass(frozen=True)
class LayerRow:
    """A step of the default and of the chosen compile; ``None`` where it does not occur.

    Attributes:
        name, operator: Of the step.
        shape: Of the chosen compile, where it occurs there.
        default, chosen: What it costs.
        reason: Why it is on the CPU, where it had no choice.
    """

    name: str
    operator: str
    shape: str
    default: LayerReport | None
    chosen: LayerReport | None
    reason: str

    @property
    def gained_ms(self) -> float:
        """By how much the chosen compile is faster; a step that is not there takes no time."""
        before = self.default.latency_ms if self.default else 0.0
        after = self.chosen.latency_ms if self.chosen else 0.0
        return before - after

    @property
    def slower_because(self) -> str:
        """Why the chosen compile takes longer for the step; empty where it does not."""
        if self.chosen is None or self.gained_ms > -_NOTICED_MS:
            return ""
        if self.default is None:
            border = "a border between units that the default has not"
            return border if self.operator in CONVERSIONS else "no step of its own in the default"
        if self.default.unit != self.chosen.unit:
            return f"moved from {self.default.unit} to {self.chosen.unit}, for what lies around it"
        if self.default.task != self.chosen.task:
            return "its scheme asks for another program"
        if self.default.schedule != self.chosen.schedule:
            return "another schedule, which is faster beside its neighbours or in another measure"
        return "its share of a program with other layers"


def layer_rows(default: CompiledModel | None, chosen: CompiledModel) -> tuple[LayerRow, ...]:
    """Steps side by side, in the chosen compile's order; steps that it lacks come last."""
    known = unable_reasons(chosen.source.model.graph, chosen.executable.target)
    reasons = {**known, **chosen.source.cpu_reasons}

    def key(layer: LayerReport) -> tuple[str, str]:
        return layer.name, layer.operator if layer.operator in CONVERSIONS else ""

    before = {} if default is None else {key(layer): layer for layer in default.report.layers}
    after = {key(layer): layer for layer in chosen.report.layers}
    rows = []
    for name in dict.fromkeys([*after, *before]):
        one, other = before.get(name), after.get(name)
        shown = other or one
        assert shown is not None
        reason = reasons.get(name[0], "") if shown.unit == CPU else ""
        rows.append(LayerRow(name[0], shown.operator, shown.shape, one, other, reason))
    return tuple(rows)


def holds_several(compiled: CompiledModel) -> bool:
    """Whether a program holds several layers, each of which has a share of its time."""
    layers = [one for one in compiled.report.layers if one.unit != CPU]
    return sum(one.operator not in CONVERSIONS for one in layers) > compiled.metrics.launches


def roofline_charts(
    default: CompiledModel | None, chosen: CompiledModel, target: Target
) -> tuple[tuple[RooflineChart, ...], int]:
    """Layers with multiply-accumulates of both compiles, for each unit under the roof of its cores;
    and how many of the chosen compile's layers on units have none."""
    dots: dict[str, list[RoofDot]] = {unit.name: [] for unit in target.units}
    pairs = ((default, "default-layer", "default"), (chosen, "chosen-layer", "chosen"))
    without = 0
    for compiled, kind, word in pairs:
        for layer in () if compiled is None else compiled.report.layers:
            place, unit = roofline(layer, target), target.unit_at(layer.unit)
            if place is None or unit is None:
                continue
            if not place.achieved_macs_per_cycle:
                without += compiled is chosen
                continue
            share = place.achieved_macs_per_cycle / place.attainable_macs_per_cycle
            tip = (
                f"{layer.name} ({word}): {place.achieved_macs_per_cycle:.1f} MACs per cycle, "
                f"{percent(share, 0)} of the {place.roof} roof; {layer.cycles:,} cycles"
            )
            dot = RoofDot(place.macs_per_byte, place.achieved_macs_per_cycle, kind, tip)
            dots[unit.name].append(dot)
    charts = []
    for unit in target.units:
        known = profiles_of(unit.machine)
        if known is not None and dots[unit.name]:
            roof = known.roof(unit.machine)
            name = unit.name if len(target.units) > 1 else ""
            peak = unit.cores * roof.macs_per_cycle
            charts.append(RooflineChart(peak, roof.bytes_per_cycle, tuple(dots[unit.name]), name))
    return tuple(charts), without


def gantt(compiled: CompiledModel, target: Target) -> Gantt:
    """One run of a compiled model."""
    found = compiled.timeline
    tracks: dict[int, list[GanttBar]] = {}
    for span in found.timeline.spans:
        tracks.setdefault(span.track, []).append(_stretch(compiled, found, span))
    names = dict(enumerate(("CPU", *_cores(target))))
    return Gantt(
        found.latency_ms,
        tuple(Track(name, tuple(tracks.get(index, ()))) for index, name in names.items()),
        _strips(compiled.executable, compiled.report.layers, found),
    )


def _cores(target: Target) -> Iterator[str]:
    """Names of all cores, in the order of the timeline."""
    for unit in target.units:
        name = "NPU" if len(target.units) == 1 else unit.name
        for core in range(unit.cores):
            yield name if unit.cores == 1 else f"{name} {core}"


def _stretch(compiled: CompiledModel, found: CompiledTimeline, span: Any) -> GanttBar:
    job = found.jobs[span.job]
    layer = compiled.report.layers[job.subject]
    kind = "npu" if job.kind is JobKind.PROGRAM else CPU
    what = layer.operator
    if layer.operator in CONVERSIONS:
        kind = "conversion"
    elif kind == "npu" and span.track == 0:
        kind, what = "launch", "launch of"
    start, end = span.start_ps / _PS_PER_MS, span.end_ps / _PS_PER_MS
    tip = f"{what} {layer.name}: {end - start:.4f} ms from {start:.4f} ms"
    return GanttBar(start, end, layer.name, kind, tip)


def _strips(
    executable: Executable, layers: tuple[LayerReport, ...], found: CompiledTimeline
) -> tuple[Strip, ...]:
    launches = {segment.name: list(segment.launches) for segment in executable.npu_segments}
    instructions = sum(launch.instruction_count for part in launches.values() for launch in part)
    if not 0 < instructions <= _MOST_INSTRUCTIONS:
        return ()
    target = executable.target
    several = len(target.units) > 1
    cores: dict[str, int] = {}
    starts: dict[str, list[npt.NDArray[np.float64]]] = {}
    ends: dict[str, list[npt.NDArray[np.float64]]] = {}
    spans = {found.jobs[s.job].subject: s for s in found.timeline.spans if s.track > 0}
    for number, layer in enumerate(layers):
        if layer.unit == CPU:
            continue
        launch, span = launches[layer.segment].pop(0), spans[number]
        unit = target.unit(executable.placed[layer.segment])
        known = profiles_of(unit.machine)
        if known is None:
            continue
        scale = (span.end_ps - span.start_ps) / max(layer.cycles, 1)
        for name, work in known.busy(launch, unit.machine).items():
            module = f"{unit.name} {name}" if several else name
            cores[module] = unit.cores
            for begun, last in work:
                starts.setdefault(module, []).append(span.start_ps + begun * scale)
                ends.setdefault(module, []).append(span.start_ps + last * scale)
    latency = float(found.timeline.latency_ps)
    return tuple(
        Strip(
            name,
            busy_shares(
                np.concatenate(begun), np.concatenate(ends[name]), latency * cores[name], _BINS
            ),
        )
        for name, begun in starts.items()
    )


def plan_picture(compiled: CompiledModel, target: Target) -> str:
    """The partitioned graph as SVG that takes its colours from the page."""
    schedules = compiled.configuration.schedules
    given, known = Plan(compiled.configuration.plan), target_arithmetic(target)
    shared = without_shares(given, compiled.source.model.graph, known)
    evaluator = prepare(
        shared.graph,
        target,
        schedules=schedules,
        joins_layers=compiled.configuration.launches.merge,
    )
    plan, refused = shared.plan.units, compiled.source.cpu_reasons
    places = evaluator.costs.places
    usual = places[places.whole(places.units[0])].name
    placement = tuple(
        places.numbers[plan.get(group.name, usual)]
        if len(choices) > 1 and group.name not in refused
        else ON_CPU
        for group, choices in zip(evaluator.groups.groups, evaluator.choices, strict=True)
    )
    picture = draw(evaluator, evaluator.evaluate(placement), "")
    bare = re.sub(r"<style>.*?</style>", "", picture, count=1, flags=re.DOTALL)
    return bare.replace("<title></title>\n", "", 1)
