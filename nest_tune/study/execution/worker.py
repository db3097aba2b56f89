"""What workers compute for a study: pure functions of the model, the data and a candidate.

Everything that goes in and comes out is plain.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from compiler_core.accuracy.score import Score
from compiler_core.clock.machine import this_machine
from compiler_core.errors import InfeasibleError, InputError
from compiler_core.files.plain import to_plain
from nest_tune.study.execution.benches import AnyBench, bench_of
from nest_tune.study.execution.noise_of_moves import NoiseMeter, OutputNoise
from nest_tune.study.execution.source_bench import SourceBench
from nest_tune.study.execution.subjects import Subjects
from nest_tune.user_modules import allow_folder

Plain = Any


def prepare(payload: Plain) -> AnyBench:
    """A worker's state from :class:`Subjects` as plain values."""
    shapes = {name: tuple(shape) for name, shape in payload["shapes"].items()}
    subjects = Subjects(**{**payload, "shapes": shapes})
    if subjects.module is not None:
        allow_folder(str(Path(subjects.module).parent))
    _require_machine(subjects.machine)
    bench = bench_of(subjects)
    bench.warm()
    return bench


def _require_machine(wanted: str) -> None:
    """Refuses a worker whose times are those of another machine.

    Raises:
        InputError: It is one.
    """
    if wanted and this_machine().digest != wanted:
        raise InputError(
            f"a worker of this study by the clock runs on another machine, {this_machine().text}: "
            "its times cannot be compared with the driver's",
            hint="start the study on the machine that is meant, with --runner local; others are "
            "targets by their address: --target ssh://USER@HOST",
        )


def survey(bench: AnyBench, payload: Plain) -> Plain:
    """What a candidate consists of.

    Args:
        bench: The worker's state.
        payload: ``{"decisions"}``.

    Returns:
        ``{"scheme": digest, "tasks": [...]}`` in order of first use: of programs ``{"unit",
        "workload", "count"}``, also with ``on``, the name of its unit, where the id of the task
        does not say that; of generated sources ``{"name", "value", "kernels"}``. ``"beside"`` has
        the decisions that change what a candidate costs, but neither numbers nor tasks.
    """
    return bench.survey(payload["decisions"])


def measure(bench: AnyBench, payload: Plain) -> Plain:
    """Compiles and times a candidate, and measures its accuracy on the subset.

    Args:
        bench: The worker's state.
        payload: ``{"decisions", "schedules"}``.

    Returns:
        ``{"metrics": {name: value}, "intervals": {name: [low, high]} of what was measured by the
        clock, "doubts": [what speaks against it], both where there are some, "accuracy": score or
        null, "bound_ms": latency if every program reached its lower bound}``.
    """
    costs, bound_ms = bench.measure(payload["decisions"], payload["schedules"])
    accuracy = None
    if bench.subjects.evaluation is not None:
        accuracy = to_plain(bench.accuracy(payload["decisions"], bench.subjects.subset))
    return {
        "metrics": dict(costs.metrics),
        **({"intervals": to_plain(costs.intervals)} if costs.intervals else {}),
        **({"doubts": list(costs.doubts)} if costs.doubts else {}),
        "accuracy": accuracy,
        "bound_ms": bound_ms,
    }


def full_accuracy(bench: AnyBench, payload: Plain) -> Plain:
    """Accuracy of a candidate on all samples, a plain score.

    Args:
        bench: The worker's state.
        payload: ``{"decisions", "subset": plain score of the subset}``.
    """
    return to_plain(bench.completed(payload["decisions"], Score(**payload["subset"])))


def reported_accuracy(bench: AnyBench, payload: Plain) -> Plain:
    """Accuracy on what only reports, a plain score.

    Args:
        bench: The worker's state.
        payload: ``{"decisions"}``: a candidate, or null for the float model.
    """
    return to_plain(bench.reported(payload["decisions"]))


def noise(bench: AnyBench, payload: Plain) -> Plain:
    """Noise of a candidate as a share of the power of what the float model says; ``None`` where it
    has none.

    Args:
        bench: The worker's state.
        payload: ``{"decisions", "base": candidate whose weights it takes over, or null,
            "samples"}``.
    """
    decisions, samples = payload["decisions"], payload["samples"]
    try:
        if isinstance(bench, SourceBench):
            return OutputNoise(bench, samples).candidate(decisions)
        meter = NoiseMeter(bench, samples)
        if payload["base"] is None:
            return meter.noise(decisions)
        return meter.moved(payload["base"], decisions)
    except (InputError, InfeasibleError):
        return None


def float_costs(bench: AnyBench, _payload: Plain) -> Plain:
    """What the float model costs with everything on the CPU, ``{metric: value}``: what there is to
    gain from; empty where that is not measured."""
    return bench.float_costs()


def measure_schedules(bench: AnyBench, payload: Plain) -> Plain:
    """Times schedules of tasks.

    Args:
        bench: The worker's state.
        payload: ``[{"on": name of the unit, "workload", "schedule"}]``.

    Returns:
        ``[outcome, cycles or null, DRAM bytes]`` of each.
    """
    return bench.measure_schedules(payload)


def measure_kernels(bench: SourceBench, payload: Plain) -> Plain:
    """What an operator of generated sources costs with each of its kernels, by itself.

    Args:
        bench: The worker's state.
        payload: ``{"decisions", "value", "kernels"}``: a candidate, what the operator writes in
            it, and the kernels.
    """
    return bench.measure_kernels(payload["decisions"], payload["value"], payload["kernels"])


def float_accuracy(bench: AnyBench, _payload: Plain) -> Plain:
    """Accuracy of the float model on the subset and on all samples, two plain scores, and what to
    know of them; ``None`` without evaluation data."""
    if bench.subjects.evaluation is None:
        return None
    return [
        to_plain(bench.float_accuracy(bench.subjects.subset)),
        to_plain(bench.float_accuracy(0)),
        list(bench.notes()),
    ]
