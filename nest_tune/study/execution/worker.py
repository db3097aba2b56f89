"""What workers compute for a study: pure functions of the model, the data and a candidate.

Everything that goes in and comes out is plain.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from compiler_core.accuracy.score import Score
from compiler_core.compile.unit_layers import model_layers, model_tasks, named_layers
from compiler_core.errors import InfeasibleError, InputError, NestTuneError
from compiler_core.files.plain import to_plain
from compiler_core.quantize.scheme import QuantizationScheme, scheme_document
from compiler_core.tensor.digest import digest
from compiler_core.units.names import CPU
from compiler_core.units.registry import kind_of_machine
from nest_tune.study.execution.candidates import Bench, Subjects
from nest_tune.study.execution.noise_of_moves import NoiseMeter
from nest_tune.tuning.measure import measure as measured
from nest_tune.user_modules import allow_folder

Plain = Any


def prepare(payload: Plain) -> Bench:
    """A worker's state from :class:`Subjects` as plain values."""
    shapes = {name: tuple(shape) for name, shape in payload["shapes"].items()}
    subjects = Subjects(**{**payload, "shapes": shapes})
    if subjects.module is not None:
        allow_folder(str(Path(subjects.module).parent))
    bench = Bench(subjects)
    # Calibrates, and has the simulators compiled where this machine has not run them before, so
    # that no trial's time is spent on it. What is wrong with the default, trial 0 will say.
    bench.quantized({})
    if not bench.target.by_clock:
        with suppress(NestTuneError):
            bench.compiled({}, {})
    return bench


def survey(bench: Bench, payload: Plain) -> Plain:
    """What a candidate consists of.

    Args:
        bench: The worker's state.
        payload: ``{"decisions"}``.

    Returns:
        ``{"scheme": digest, "tasks": [{"unit", "workload", "count"}]}`` in order of first use; a
        task also has ``on``, the name of its unit, where its id does not say that.
    """
    source = bench.quantized(payload["decisions"])
    parts = model_layers(source.quantized, bench.target)
    counts = Counter(name for name, _ in named_layers(parts, bench.target))
    tasks = model_tasks(parts, bench.target)
    configuration = source.configuration
    return {
        "scheme": digest((configuration.scheme, configuration.plan), 32),
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


def measure(bench: Bench, payload: Plain) -> Plain:
    """Compiles and times a candidate, and measures its accuracy on the subset.

    Args:
        bench: The worker's state.
        payload: ``{"decisions", "schedules"}``.

    Returns:
        ``{"metrics": {name: value}, "intervals": {name: [low, high]} of what was measured by the
        clock, where there is some, "accuracy": score or null, "bound_ms": latency if every program
        reached its lower bound}``.
    """
    compiled = bench.compiled(payload["decisions"], payload["schedules"])
    excess_ms = 0.0
    for unit in bench.target.units:
        own = [n for n in compiled.report.layers if bench.target.unit_at(n.unit) == unit]
        excess = sum(layer.cycles - layer.bound_cycles for layer in own)
        excess_ms += 1e3 * excess / unit.machine.clock_hz
    accuracy = None
    if bench.subjects.evaluation is not None:
        accuracy = to_plain(bench.accuracy(payload["decisions"], bench.subjects.subset))
    costs = bench.costs(compiled)
    return {
        "metrics": costs.metrics,
        **({"intervals": to_plain(costs.intervals)} if costs.intervals else {}),
        "accuracy": accuracy,
        "bound_ms": compiled.metrics.latency_ms - excess_ms,
    }


def full_accuracy(bench: Bench, payload: Plain) -> Plain:
    """Accuracy of a candidate on all samples, a plain score.

    Args:
        bench: The worker's state.
        payload: ``{"decisions", "subset": plain score of the subset}``.
    """
    return to_plain(bench.completed(payload["decisions"], Score(**payload["subset"])))


def reported_accuracy(bench: Bench, payload: Plain) -> Plain:
    """Accuracy on what only reports, a plain score.

    Args:
        bench: The worker's state.
        payload: ``{"decisions"}``: a candidate, or null for the float model.
    """
    return to_plain(bench.reported(payload["decisions"]))


def noise(bench: Bench, payload: Plain) -> Plain:
    """Noise of a candidate as a share of the power of what the float model says; ``None`` where it
    has none.

    Args:
        bench: The worker's state.
        payload: ``{"decisions", "base": candidate whose weights it takes over, or null,
            "samples"}``.
    """
    meter, decisions = NoiseMeter(bench, payload["samples"]), payload["decisions"]
    try:
        if payload["base"] is None:
            return meter.noise(decisions)
        return meter.moved(payload["base"], decisions)
    except (InputError, InfeasibleError):
        return None


def float_costs(bench: Bench, _payload: Plain) -> Plain:
    """What the float model costs with everything on the CPU, ``{metric: value}``: what there is to
    gain from."""
    units = dict.fromkeys((node.name for node in bench.model.graph.nodes), CPU)
    scheme = scheme_document(QuantizationScheme())
    return bench.metrics(bench.compiled({"quantization": scheme, "partition": units}, {}))


def measure_schedules(bench: Bench, payload: Plain) -> Plain:
    """Times schedules of tasks.

    Args:
        bench: The worker's state.
        payload: ``[{"on": name of the unit, "workload", "schedule"}]``.

    Returns:
        ``[outcome, cycles or null, DRAM bytes]`` of each.
    """
    found = []
    for pair in payload:
        machine = bench.target.unit(pair["on"]).machine
        read = kind_of_machine(machine).documents
        workload = read.workload(pair["workload"], "workload")
        schedule = read.schedule(pair["schedule"], "schedule")
        done = measured(workload, schedule, machine)
        found.append([done.outcome.value, done.cycles, done.dram_bytes])
    return found


def float_accuracy(bench: Bench, _payload: Plain) -> Plain:
    """Accuracy of the float model on the subset and on all samples, two plain scores, and what to
    know of them; ``None`` without evaluation data."""
    if bench.subjects.evaluation is None:
        return None
    return [
        to_plain(bench.float_accuracy(bench.subjects.subset)),
        to_plain(bench.float_accuracy(0)),
        list(bench.notes()),
    ]
