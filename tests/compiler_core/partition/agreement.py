"""What a package has to have in common with its plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import pytest

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import FloatModel, noise_samples, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.configuration.launches import LaunchSettings
from compiler_core.executable.report import CONVERSIONS
from compiler_core.partition.evaluate import Evaluation, Evaluator
from compiler_core.partition.resolve import assignment_of
from compiler_core.system.jobs import ON_HOST, Job, JobKind
from compiler_core.system.timeline import Timeline, simulate
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.places import ON_CPU, Placement
from compiler_core.targets.target import Target
from tests import synthetic_models
from tests.compiler_core.partition.border_networks import BorderNetwork

_CONVERSIONS = (JobKind.QUANTIZE, JobKind.DEQUANTIZE, JobKind.CONVERT)


def compiled(
    model: FloatModel,
    evaluator: Evaluator,
    placement: Placement,
    target: Target,
    order: Sequence[int] = (),
) -> CompiledModel:
    """The package of a placement, with groups in an order where one is given."""
    plan = assignment_of(placement, evaluator.groups, evaluator.costs.places)
    known, samples = target_arithmetic(target), noise_samples(model.graph)
    nodes = tuple(node for group in order for node in evaluator.groups.groups[group].nodes)
    configuration = Configuration(plan=plan, launches=LaunchSettings(merge=False), order=nodes)
    source = quantize_model(model, configuration, samples, arithmetic=known)
    return compile_model(source, target)


def random_network(seed: int, operators: int = 8) -> bytes:
    """A random network full of borders, by its seed."""
    return BorderNetwork(synthetic_models, seed).grow(operators)


def require_agreement(
    found: CompiledModel,
    evaluator: Evaluator,
    promised: Evaluation,
    name: str,
    order: Sequence[int] | None = None,
) -> None:
    """The package does the same steps and takes the same time, energy and bytes.

    Everything that the CPU does is equal, and every program of the same task. Ranges at new borders
    may prove a pass of a requantization needless or not, which makes another task of the operator;
    with its cycles in the place of the promised ones, the whole timeline is equal.
    """
    layers = found.report.layers
    assert Counter(
        (job.kind.name.lower(), job.run_ps) for job in promised.jobs if job.kind in _CONVERSIONS
    ) == Counter(
        (layer.operator, round(layer.latency_ms * 1e9))
        for layer in layers
        if layer.operator in CONVERSIONS
    ), name
    on_cpu = sum(job.run_ps for job in promised.jobs if job.unit == ON_HOST)
    measured = sum(layer.latency_ms for layer in layers if layer.unit == "cpu")
    assert measured == pytest.approx(on_cpu / 1e9, abs=1e-8 * len(layers)), name

    programs = {
        program.name: program
        for group, unit in enumerate(promised.placement)
        if unit != ON_CPU
        for program in evaluator.programs(group, promised.placement)
        if program.parts  # the others are loops of the CPU
    }
    launched = {layer.name: layer for layer in layers if layer.cycles}
    assert launched.keys() == programs.keys(), name
    changed = [n for n, layer in launched.items() if layer.task != programs[n].task]
    cycles = sum(launched[n].cycles - programs[n].cycles for n in changed)
    energy = sum(launched[n].energy_mj - programs[n].energy_pj * 1e-9 for n in changed)
    for each in changed:
        assert launched[each].cycles == pytest.approx(programs[each].cycles, rel=0.5), name
    # A sample of a batch may begin elsewhere than in a program of its own: a burst more is cut.
    near = 2e-3
    assert found.metrics.npu_cycles - cycles == pytest.approx(promised.npu_cycles, rel=near), name
    assert found.metrics.energy_mj - energy == pytest.approx(promised.energy_mj, rel=near), name
    moved = sum(sum(layer.bytes.values()) for n, layer in launched.items() if n not in changed)
    expected = sum(
        program.read_bytes + program.write_bytes
        for n, program in programs.items()
        if n not in changed
    )
    assert moved == expected, name
    measured_ps = round(found.metrics.latency_ms * 1e9)
    if all(launched[n].cycles == programs[n].cycles for n in launched):
        assert measured_ps == promised.latency_ps, name
    jobs = with_measured_programs(found, evaluator, promised)
    timeline = simulate(jobs, evaluator.priorities(jobs, order), evaluator.costs.machinery)
    assert measured_ps == timeline.latency_ps, name
    assert runs_of_units(jobs, timeline) == runs_of_units(
        found.timeline.jobs, found.timeline.timeline
    ), name


def with_measured_programs(
    found: CompiledModel, evaluator: Evaluator, promised: Evaluation
) -> list[Job]:
    """Jobs of a plan with the programs of its package in the place of those that were promised."""
    names = iter(
        program.name
        for group, unit in enumerate(promised.placement)
        if unit != ON_CPU
        for program in evaluator.programs(group, promised.placement)
        if program.parts
    )
    pairs = zip(found.report.layers, found.timeline.jobs, strict=True)
    measured = {layer.name: job for layer, job in pairs if layer.cycles}
    jobs = []
    for job in promised.jobs:
        if job.kind is JobKind.PROGRAM:
            real = measured[next(names)]
            assert (job.overhead_ps, job.core) == (real.overhead_ps, real.core)
            job = job._replace(run_ps=real.run_ps, read_ppm=real.read_ppm, write_ppm=real.write_ppm)
        jobs.append(job)
    return jobs


def runs_of_units(jobs: Sequence[Job], timeline: Timeline) -> list[tuple[int, ...]]:
    """Start, end, unit and kind of everything that takes time, in order."""
    return sorted(
        (timeline.start_ps[at], timeline.end_ps[at], timeline.core[at], int(job.kind))
        for at, job in enumerate(jobs)
        if job.kind is not JobKind.JOIN
    )
