"""Latency of a model on this machine, timed in rounds with its float model."""

from __future__ import annotations

from collections.abc import Sequence

from compiler_core.clock.models import Timed, time_models
from compiler_core.compile.sources import QuantizedModel, noise_samples
from compiler_core.executable.executable import CONSTANTS, CpuSegment, Executable
from compiler_core.executable.report import ClockTiming
from compiler_core.graph.exporter import export_onnx
from compiler_core.units.facets.host import float_sessions

ROUNDS = 50
BUDGET_S = 3.0
THREADS = 1

_OURS, _FLOAT = "model", "float model"


def time_on_host(
    source: QuantizedModel,
    executable: Executable,
    *,
    rounds: int = ROUNDS,
    budget_s: float = BUDGET_S,
) -> tuple[float, ClockTiming]:
    """Median latency in milliseconds, and what to know beside it.

    Args:
        source: What was compiled; its float model is timed in the same rounds.
        executable: What it became.
        rounds: How many, if the budget allows.
        budget_s: After so much time no round begins, but a few are made.

    Raises:
        InputError: onnxruntime cannot run the model.
    """
    ours = timed_parts(executable)
    candidates = {_OURS: ours, _FLOAT: [_float_model(source)]}
    is_float = _models(candidates[_OURS]) == _models(candidates[_FLOAT])
    if is_float:
        del candidates[_FLOAT]
    timed = time_models(
        candidates,
        noise_samples(source.model.graph, 1),
        float_sessions().open,
        threads=THREADS,
        repeats=rounds,
        budget_s=budget_s,
    )
    return clock_timing(timed, _OURS, _OURS if is_float else _FLOAT)


def timed_parts(executable: Executable) -> list[CpuSegment]:
    """What runs, in order."""
    parts = [part for part in executable.segments if isinstance(part, CpuSegment)]
    return [part for part in parts if part.name != CONSTANTS]


def clock_timing(timed: Timed, ours: str, floats: str) -> tuple[float, ClockTiming]:
    """Median in milliseconds of one candidate, and what to know beside it.

    Args:
        timed: Candidates that were timed together.
        ours, floats: Names of two of them.
    """
    together = timed.together
    own, ratio = together.latency_us(ours), together.ratio(ours, floats)
    return own.value / 1e3, ClockTiming(
        own.low / 1e3,
        own.high / 1e3,
        together.rounds,
        together.latency_us(floats).value / 1e3,
        ratio.value,
        ratio.low,
        ratio.high,
        timed.machine,
        together.warnings,
        tuple(us / 1e3 for us in together.samples_us[ours]),
        tuple(us / 1e3 for us in together.samples_us[floats]),
    )


def _float_model(source: QuantizedModel) -> CpuSegment:
    graph = source.model.graph
    model = export_onnx(graph).SerializeToString(deterministic=True)
    return CpuSegment(_FLOAT, graph.inputs, graph.outputs, model)


def _models(parts: Sequence[CpuSegment]) -> list[bytes]:
    return [part.model for part in parts]
