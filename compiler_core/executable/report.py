"""What a compiled model costs, layer by layer and in total."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from compiler_core.clock.machine import ClockMachine
from compiler_core.files.plain import to_plain
from compiler_core.sums import float_sum
from compiler_core.targets.unit_tasks import UnitTask
from compiler_core.units.facets.programs import LaunchCost, UnitLaunch, continues
from compiler_core.units.unit import TaskBound

REPORT_SCHEMA = "nest-tune/report/1"

CONVERSIONS = ("quantize", "dequantize", "convert")
"""What steps of the CPU at borders between units are called."""


@dataclass(frozen=True)
class CoreReport:
    """One core's share of a launch.

    Attributes:
        core: Its number.
        cycles: From the launch to its own FINISH, with the port shared among the launch's programs.
        energy_mj: Of its program.
        instructions: Of its program.
        bytes: Bytes moved, by memory type.
        stall_cycles: Waits, by module and cause.
    """

    core: int
    cycles: int
    energy_mj: float
    instructions: int
    bytes: Mapping[str, int]
    stall_cycles: Mapping[str, int]


@dataclass(frozen=True)
class LayerReport:
    """One step of execution: a launch on the NPU, a node on the CPU, or a conversion at a border.

    Attributes:
        name: Of the operator, the node or the converted tensor.
        segment: Where it runs.
        unit: The place: ``cpu``, a unit, its core where it has several (a number behind the name),
            or the way in which it is cut across all of them (a dash and a word).
        operator: The field's name for it; ``quantize``, ``dequantize`` and ``convert`` are
            conversions.
        shape: In one line.
        latency_ms: With the launch overhead on the NPU, and alone on the memory port. Of layers in
            one program the first pays for the launch, and each has its share of the time, from the
            end of the one before.
        energy_mj: Of this step.
        macs: Multiply-accumulates.
        cycles: NPU clock cycles from launch to the last FINISH, or its share of them; 0 on the CPU.
        bound_cycles: Lower bound of them.
        utilization: ``bound_cycles / cycles``; above 1 where a layer was begun within the share of
            the one before.
        limited_by: Part of the bound that is the largest: compute, reads or writes.
        instructions: Of all programs.
        bytes: Bytes moved, by memory type.
        stall_cycles: Waits, by module and cause, summed over cores.
        task: Name of the task.
        schedule: Digest of its schedule.
        start_ms: When its unit begins with it on the system timeline; a launch comes right before.
        end_ms: When it is over; CPU work that a launch interrupts ends later than it is long.
        cores: Share of each core, where the target has several.
    """

    name: str
    segment: str
    unit: str
    operator: str
    shape: str
    latency_ms: float
    energy_mj: float = 0.0
    macs: int = 0
    cycles: int = 0
    bound_cycles: int = 0
    utilization: float = 0.0
    limited_by: str = ""
    instructions: int = 0
    bytes: Mapping[str, int] = field(default_factory=dict)
    stall_cycles: Mapping[str, int] = field(default_factory=dict)
    task: str = ""
    schedule: str = ""
    start_ms: float = 0.0
    end_ms: float = 0.0
    cores: tuple[CoreReport, ...] = ()


@dataclass(frozen=True)
class ClockTiming:
    """A latency by the clock, which was made in rounds with the float model.

    Attributes:
        low_ms, high_ms: 95 % interval of the median.
        repeats: How many rounds.
        float_ms: Median of the float model.
        ratio, ratio_low, ratio_high: Median of the ratios to the float model within rounds, and its
            95 % interval: what slows the machine for a while leaves it as it is.
        machine: Where; ``None`` where nobody kept that.
        warnings: Why the times are worth less than they might be: a loaded machine, above all.
        samples_ms, float_samples_ms: Of each round.
    """

    low_ms: float
    high_ms: float
    repeats: int
    float_ms: float = 0.0
    ratio: float = 0.0
    ratio_low: float = 0.0
    ratio_high: float = 0.0
    machine: ClockMachine | None = None
    warnings: tuple[str, ...] = ()
    samples_ms: tuple[float, ...] = ()
    float_samples_ms: tuple[float, ...] = ()

    @property
    def text(self) -> str:
        """What to know beside the median, in one line."""
        found = f"95 % between {self.low_ms:.3f} and {self.high_ms:.3f} ms, {self.repeats} rounds"
        if not self.float_ms:
            return found
        ends = f"{self.ratio_low:.3f} to {self.ratio_high:.3f}"
        return f"{found}; {self.ratio:.3f} times the float model ({ends})"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """Totals of a package.

    Attributes:
        npu_cycles: Sum over launches.
        latency_ms: Of one run of the model (its fixed batch, else one sample), CPU and NPU side by
            side where dependences allow: at most the sum over the layers.
        energy_mj: Of one run.
        size_bytes: What is shipped: constants with micro-ops, instructions, CPU segments.
        dram_peak_bytes: Activations and constants together.
        dram_constant_bytes, dram_activation_bytes: Its parts.
        dram_activation_bytes_without_reuse: If every tensor had its own place.
        instructions: Sum over launches.
        launches: How often the CPU starts one program, or one on each core together.
        by_clock: Where the latency was measured by the clock, which is not deterministic. Energy,
            cycles and memory are not known then: they are 0 here, and absent wherever they are
            shown (:func:`metrics_document`).
    """

    npu_cycles: int = 0
    latency_ms: float
    energy_mj: float = 0.0
    size_bytes: int
    dram_peak_bytes: int = 0
    dram_constant_bytes: int = 0
    dram_activation_bytes: int = 0
    dram_activation_bytes_without_reuse: int = 0
    instructions: int = 0
    launches: int = 0
    by_clock: ClockTiming | None = None

    @property
    def costs(self) -> dict[str, float]:
        """What compiles are compared by, and lock files hold; without what is not known."""
        found = {
            "latency_ms": self.latency_ms,
            "npu_cycles": float(self.npu_cycles),
            "energy_mj": self.energy_mj,
            "size_bytes": float(self.size_bytes),
            "dram_peak_bytes": float(self.dram_peak_bytes),
        }
        if self.by_clock is None:
            return found
        return {name: value for name, value in found.items() if name in COSTS_BY_CLOCK}

    @property
    def intervals(self) -> dict[str, tuple[float, float]]:
        """95 % intervals of what was measured by the clock."""
        clock = self.by_clock
        return {} if clock is None else {"latency_ms": (clock.low_ms, clock.high_ms)}


COSTS_BY_CLOCK = ("latency_ms", "size_bytes")
"""Costs that are known where the latency is measured by the clock."""

_KNOWN_BY_CLOCK = (*COSTS_BY_CLOCK, "by_clock")
_LAYER_BY_CLOCK = (
    "name", "segment", "unit", "operator", "shape", "latency_ms", "macs", "start_ms", "end_ms"
)  # fmt: skip


def metrics_document(metrics: Metrics) -> dict[str, Any]:
    """Totals as plain values; by the clock without what is not known then."""
    plain: dict[str, Any] = to_plain(metrics)
    if metrics.by_clock is None:
        return plain
    return {name: plain[name] for name in _KNOWN_BY_CLOCK}


def layer_document(layer: LayerReport, metrics: Metrics) -> dict[str, Any]:
    """A layer of what has these totals, likewise."""
    plain: dict[str, Any] = to_plain(layer)
    if metrics.by_clock is None:
        return plain
    return {name: plain[name] for name in _LAYER_BY_CLOCK}


@dataclass(frozen=True)
class Report:
    """Layers in execution order."""

    layers: tuple[LayerReport, ...]


def launch_report(
    launch: UnitLaunch,
    segment: str,
    unit: str,
    task: UnitTask,
    schedule: str,
    cost: LaunchCost,
    bound: TaskBound,
    overhead_s: float,
) -> LayerReport:
    """The report of one launch.

    Args:
        launch: Its programs.
        segment: Name of its segment.
        unit: Where it runs.
        task: What it computes.
        schedule: Digest.
        cost: Of the programs side by side.
        bound: What no schedule can beat.
        overhead_s: CPU time per program.
    """
    shares = tuple(
        CoreReport(
            number,
            core.cycles,
            (core.energy_pj or 0.0) * 1e-9,
            core.instructions,
            core.moved_bytes,
            core.stall_cycles,
        )
        for number, core in zip(launch.cores, cost.cores, strict=True)
    )
    launched = 0 if continues(launch) else len(shares)
    workload, clock_hz = task.task.workload, task.unit.machine.clock_hz
    return LayerReport(
        name=launch.layer,
        segment=segment,
        unit=unit,
        operator=workload.operator,
        shape=workload.shape,
        latency_ms=((cost.cycles + cost.beside_cycles) / clock_hz + launched * overhead_s) * 1e3,
        energy_mj=cost.energy_pj * 1e-9,
        macs=workload.macs,
        cycles=cost.cycles,
        bound_cycles=bound.cycles,
        utilization=bound.cycles / cost.cycles,
        limited_by=bound.limited_by,
        instructions=sum(share.instructions for share in shares),
        bytes=_sums(share.bytes for share in shares),
        stall_cycles=_sums(share.stall_cycles for share in shares),
        task=task.name,
        schedule=schedule,
        cores=shares,
    )


def _sums(parts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in parts:
        for name, number in part.items():
            found[name] = found.get(name, 0) + number
    return found


def totals(layers: tuple[LayerReport, ...]) -> dict[str, Any]:
    """Sums over all layers."""
    return {
        "npu_cycles": sum(layer.cycles for layer in layers),
        "latency_ms": float_sum(layer.latency_ms for layer in layers),
        "energy_mj": float_sum(layer.energy_mj for layer in layers),
        "instructions": sum(layer.instructions for layer in layers),
    }
