"""Packages for several cores: bits, files, timing, memory of what runs side by side, bad input."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations, pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import FloatModel, load_model, quantize_model
from compiler_core.configuration.configuration import (
    Configuration,
    Scheme,
    Subject,
    configuration_text,
    parse_configuration,
)
from compiler_core.configuration.launches import LaunchSettings
from compiler_core.errors import InfeasibleError, InputError, InternalError
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.executable.executable import Executable
from compiler_core.executable.profile import by_unit, trace_slices, tracks
from compiler_core.package.reader import read_package
from compiler_core.package.text import Level, level_text
from compiler_core.package.writer import package_files, write_package
from compiler_core.partition.best import default_plan, prepare
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.resolve import assignment_of
from compiler_core.targets.load import load_target
from compiler_core.targets.places import ON_CPU
from compiler_core.units.vta.link.linker import verify_launches
from compiler_core.units.vta.link.model import memory_image
from compiler_core.units.vta.link.npu_segment import NpuSegment
from compiler_core.units.vta.simulate.multicore import time_programs

MODELS = ["residual", "concat", "mixed", "depthwise", "batch_of_two"]
Setup = Callable[[str, str], tuple[FloatModel, Evaluator]]


@pytest.fixture(scope="module")
def setup(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Setup:
    """A small model and its evaluator on a target."""
    folder = tmp_path_factory.mktemp("multicore")
    known: dict[tuple[str, str], tuple[FloatModel, Evaluator]] = {}

    def make(name: str, target: str) -> tuple[FloatModel, Evaluator]:
        if (name, target) not in known:
            model = load_model(Path(synthetic.write(name, folder)))
            known[name, target] = model, prepare(model.graph, load_target(target))
        return known[name, target]

    return make


def compiled(
    model: FloatModel,
    plan: dict[str, str],
    target: str,
    synthetic: ModuleType,
    *,
    merge: bool = True,
) -> CompiledModel:
    samples = synthetic.samples(model.name, 8, seed=1)
    configuration = Configuration(plan=plan, launches=LaunchSettings(merge=merge))
    source = quantize_model(model, configuration, samples)
    return compile_model(source, load_target(target))


def is_exact(executable: Executable, samples: dict[str, np.ndarray]) -> bool:
    return run_checked(executable, Simulator(executable), samples)[1] is None


def backwards(executable: Executable) -> Executable:
    """The same with the cores of each launch in the other order."""
    segments = []
    for part in executable.segments:
        if isinstance(part, NpuSegment):
            turned = [replace(item, programs=item.programs[::-1]) for item in part.launches]
            part = replace(part, launches=tuple(turned))
        segments.append(part)
    return replace(executable, segments=tuple(segments))


def placements(evaluator: Evaluator, draw: random.Random) -> list[tuple[int, ...]]:
    """Everything by channels, everything by rows, and one where anything goes."""
    places = evaluator.costs.places
    cut = [at for at, place in enumerate(places.all) if place.is_cut]
    bound = [at for at, place in enumerate(places.all) if place.way.core >= 0]
    found = []
    for wish in (places.numbers["vta-channels"], places.numbers["vta-rows"], None):
        placement = []
        for cost in evaluator.costs.groups:
            if not any(at in cost.at for at in bound):
                placement.append(ON_CPU)
                continue
            ways = [at for at in cut if at in cost.at]
            whole = draw.choice(bound)
            anything = draw.choice([whole, *ways])
            placement.append(anything if wish is None else wish if wish in ways else whole)
        found.append(tuple(placement))
    return found


@pytest.mark.parametrize("target", ["vta-x2", "vta-x4"])
@pytest.mark.parametrize("name", MODELS)
def test_any_plan_is_bit_exact_and_takes_what_the_plan_takes(
    setup: Setup, synthetic: ModuleType, name: str, target: str
) -> None:
    model, evaluator = setup(name, target)
    samples = synthetic.samples(name, 2, seed=5)
    for placement in placements(evaluator, random.Random(f"{name} {target}")):
        plan = assignment_of(placement, evaluator.groups, evaluator.costs.places)
        built = compiled(model, plan, target, synthetic)
        executable = built.executable
        assert is_exact(executable, samples)
        assert is_exact(backwards(executable), samples)
        # The evaluator has a launch for each layer; layers of one core that follow each other join.
        apart = compiled(model, plan, target, synthetic, merge=False)
        assert is_exact(apart.executable, samples)
        assert built.metrics.latency_ms <= apart.metrics.latency_ms
        if not apart.source.cpu_reasons:
            expected = evaluator.latency_ps(placement) / 1e9
            assert apart.metrics.latency_ms == pytest.approx(expected, rel=0.02)


def test_the_package_holds_a_program_per_core_and_is_read_back(
    setup: Setup, synthetic: ModuleType, tmp_path: Path
) -> None:
    model, evaluator = setup("residual", "vta-x4")
    plan = assignment_of(
        placements(evaluator, random.Random(0))[1], evaluator.groups, evaluator.costs.places
    )
    built = compiled(model, plan, "vta-x4", synthetic)
    write_package(built, tmp_path / "out", {})
    package = read_package(tmp_path / "out")
    segment = next(package.executable.npu_segments)
    several = 0
    for launch, layer in zip(
        segment.launches, (x for x in package.report.layers if x.cycles), strict=True
    ):
        folder = tmp_path / "out" / "segments" / segment.name / launch.name
        cores = {f"core-{program.core}" for program in launch.programs}
        assert {path.name for path in folder.iterdir()} == cores
        streams = [program.instructions for program in launch.programs]
        core = package.executable.target.npu
        assert layer.cycles == time_programs(streams, core.timing, core.geometry).cycles
        assert [share.core for share in layer.cores] == [p.core for p in launch.programs]
        assert max(share.cycles for share in layer.cores) == layer.cycles
        assert layer.unit == ("vta-rows" if len(streams) > 1 else f"vta{launch.programs[0].core}")
        several += len(streams) > 1
    assert several >= 2
    assert is_exact(package.executable, synthetic.samples("residual", 2, seed=5))
    cycles = {unit.unit: unit.cycles for unit in by_unit(package.report)}
    assert {"vta0", "vta1", "vta2", "vta3"} <= set(cycles)
    slices = list(trace_slices(package.executable, package.report))
    assert {item.track for item in slices} <= set(range(len(tracks(package.executable.target))))
    last = max(item.end_ns for item in slices)
    assert last == pytest.approx(built.metrics.latency_ms * 1e6, abs=2)


def test_the_configuration_of_a_compile_gives_the_same_package(
    setup: Setup, synthetic: ModuleType
) -> None:
    model, evaluator = setup("concat", "vta-x2")
    numbers = evaluator.costs.places.numbers
    placement = tuple(
        next(
            number
            for name in ("vta-sliced", "vta1", "cpu")
            if (number := numbers[name]) in (*cost.at, 0)
        )
        for cost in evaluator.costs.groups
    )
    plan = assignment_of(placement, evaluator.groups, evaluator.costs.places)
    assert "vta-sliced" in plan.values()
    built = compiled(model, plan, "vta-x2", synthetic)
    assert built.configuration.slicing
    assert "vta-sliced" not in built.configuration.plan.values()
    text = configuration_text(built.configuration)
    again = parse_configuration(text.encode(), "config.toml")
    assert again == built.configuration
    second = compile_model(quantize_model(model, again, None), load_target("vta-x2"))
    assert package_files(second, {}) == package_files(built, {})


def test_branches_run_side_by_side_on_cores_that_plans_name(
    setup: Setup, synthetic: ModuleType
) -> None:
    model, evaluator = setup("concat", "vta-x2")
    best = None
    for one, other in combinations(range(len(evaluator.choices)), 2):
        if not all(evaluator.costs.groups[g].at for g in (one, other)):
            continue
        numbers = evaluator.costs.places.numbers
        placement = [numbers["vta0"] if c.at else ON_CPU for c in evaluator.costs.groups]
        placement[other] = numbers["vta1"]
        built = compiled(
            model,
            assignment_of(tuple(placement), evaluator.groups, evaluator.costs.places),
            "vta-x2",
            synthetic,
        )
        if best is None or built.metrics.latency_ms < best.metrics.latency_ms:
            best = built
    assert best is not None
    spans = sorted((x.start_ms, x.end_ms, x.unit) for x in best.report.layers if x.cycles)
    assert any(a[1] > b[0] and a[2] != b[2] for a, b in pairwise(spans))
    for unit in ("vta0", "vta1"):
        own = [span for span in spans if span[2] == unit]
        assert all(a[1] <= b[0] for a, b in pairwise(own))
    cores = {p.core for s in best.executable.npu_segments for x in s.launches for p in x.programs}
    assert cores == {0, 1}


def test_programs_of_a_launch_that_meet_are_refused(setup: Setup, synthetic: ModuleType) -> None:
    model, evaluator = setup("residual", "vta-x2")
    plan = assignment_of(
        placements(evaluator, random.Random(0))[0], evaluator.groups, evaluator.costs.places
    )
    built = compiled(model, plan, "vta-x2", synthetic)
    segment = next(built.executable.npu_segments)
    launch = next(item for item in segment.launches if len(item.programs) == 2)
    twice = tuple(replace(p, instructions=launch.programs[0].instructions) for p in launch.programs)
    with pytest.raises(InternalError, match="not independent: core 0 stores DRAM bytes"):
        verify_launches(
            (replace(launch, programs=twice),),
            memory_image(list(built.executable.npu_segments), built.executable.dram_bytes),
            built.executable.target.npu.geometry,
        )


def test_units_that_are_not_there(setup: Setup, synthetic: ModuleType) -> None:
    model, evaluator = setup("residual", "vta-x2")
    name = next(g.name for g in evaluator.groups.groups if not g.npu_reason)
    with pytest.raises(InputError, match="is placed on 'vta2'; units of 'vta-x2' are cpu, vta, "):
        compiled(model, {name: "vta2"}, "vta-x2", synthetic)
    with pytest.raises(InputError, match="is placed on 'vta-rows'; units of 'vta' are cpu, vta"):
        compiled(model, {name: "vta-rows"}, "vta", synthetic)
    numbers = evaluator.costs.places.numbers
    stuck = next(
        g.name
        for g, cost in zip(evaluator.groups.groups, evaluator.costs.groups, strict=True)
        if (whole := cost.at.get(numbers["vta"]))
        and whole.programs
        and numbers["vta-rows"] not in cost.at
    )
    with pytest.raises(InputError, match="cannot be cut across the 2 cores") as error:
        compiled(model, {stuck: "vta-rows"}, "vta-x2", synthetic)
    assert error.value.hint == f"the nearest legal plan: {stuck} = vta"


def test_slicing_is_the_default_where_it_pays(setup: Setup, synthetic: ModuleType) -> None:
    model, evaluator = setup("residual", "vta-x4")
    plan = default_plan(model.graph, load_target("vta-x4"))
    assert "vta-sliced" in plan.values()
    built = compiled(model, plan, "vta-x4", synthetic, merge=False)
    whole = {name: unit.removesuffix("-sliced") for name, unit in plan.items()}
    uncut = compiled(model, whole, "vta-x4", synthetic, merge=False)
    assert built.metrics.latency_ms < uncut.metrics.latency_ms
    # One program of whole layers takes less than several launches of cut ones.
    joined = default_plan(model.graph, load_target("vta-x4"), joins_layers=True)
    found = compiled(model, joined, "vta-x4", synthetic)
    for other in (plan, whole):
        best = compiled(model, other, "vta-x4", synthetic).metrics.latency_ms
        assert found.metrics.latency_ms <= best
    for group, cost in zip(evaluator.groups.groups, evaluator.costs.groups, strict=True):
        if plan[group.name] == "vta-sliced":
            numbers = evaluator.costs.places.numbers
            (cut,) = cost.at[numbers["vta-sliced"]].programs
            whole_cycles = sum(launch.cycles for launch in cost.at[numbers["vta"]].programs)
            assert cut.cycles < whole_cycles


def test_wrong_slicings_of_a_configuration(setup: Setup, synthetic: ModuleType) -> None:
    model, _ = setup("residual", "vta-x2")
    plan = default_plan(model.graph, load_target("vta-x2"))
    found = compiled(model, plan, "vta-x2", synthetic).configuration
    key, slicing = next(iter(found.slicing.items()))

    def again(changed: Configuration) -> None:
        compile_model(quantize_model(model, changed, None), load_target("vta-x2"))

    short = replace(slicing, schedules=slicing.schedules[:1])
    with pytest.raises(InputError, match="1 schedules; 'vta-x2' cuts it into 2 slices"):
        again(replace(found, slicing={key: short}))
    first = replace(slicing.schedules[0], tile_height=10_000)
    large = replace(slicing, schedules=(first, *slicing.schedules[1:]))
    with pytest.raises(InfeasibleError, match=r"slicing\..*core-0"):
        again(replace(found, slicing={key: large}))
    text = configuration_text(found)
    with pytest.raises(InputError, match="axis: 'depth'; allowed are channels, rows"):
        parse_configuration(
            text.replace(f'axis = "{slicing.axis.value}"', 'axis = "depth"').encode(), "c"
        )
    with pytest.raises(InputError, match="core-0, core-1, … are needed"):
        parse_configuration(text.replace(".core-1]", ".core-7]").encode(), "c")


def test_one_core_has_no_shares(setup: Setup, synthetic: ModuleType) -> None:
    model, _ = setup("residual", "vta")
    plan = default_plan(model.graph, load_target("vta"))
    built = compiled(model, plan, "vta", synthetic)
    assert not any(layer.cores for layer in built.report.layers)
    assert {layer.unit for layer in built.report.layers} <= {"cpu", "vta"}
    assert not built.configuration.slicing


def test_tables_of_unknown_tasks_are_refused(setup: Setup, synthetic: ModuleType) -> None:
    model, _ = setup("residual", "vta-x2")
    plan = default_plan(model.graph, load_target("vta-x2"))
    found = compiled(model, plan, "vta-x2", synthetic).configuration
    slicing = next(iter(found.slicing.values()))
    schedule = next(iter(found.schedules.values()))

    def again(changed: Configuration, target: str) -> None:
        anywhere = replace(changed, target=Subject())
        compile_model(quantize_model(model, anywhere, None), load_target(target))

    with pytest.raises(InputError, match=r"slicing\.no-such-task: the model has no such task"):
        again(replace(found, slicing={**found.slicing, "no-such-task": slicing}), "vta-x2")
    with pytest.raises(InputError, match=r"schedule\.no-such-task: the model has no such task"):
        again(replace(found, schedules={**found.schedules, "no-such-task": schedule}), "vta-x2")
    alone = replace(found, plan=dict.fromkeys(found.plan, "cpu"))
    host = load_target("host")
    for name, tables in (
        ("schedule", replace(alone, slicing={})),
        ("slicing", replace(alone, schedules={})),
    ):
        with pytest.raises(InputError, match=rf"{name}\..*no such task.*it has none"):
            compile_model(
                quantize_model(model, replace(tables, target=Subject(), scheme=Scheme()), None),
                host,
            )


@pytest.mark.parametrize("unit", ["vta-channels", "vta-rows"])
def test_texts_show_the_schedule_of_every_slice(
    setup: Setup, synthetic: ModuleType, unit: str
) -> None:
    model, evaluator = setup("residual", "vta-x2")
    way = evaluator.costs.places.numbers[unit]
    names = [
        group.name
        for group, cost in zip(evaluator.groups.groups, evaluator.costs.groups, strict=True)
        if way in cost.at
    ]
    built = compiled(model, dict.fromkeys(names, unit), "vta-x2", synthetic)
    text = level_text(built, Level.TENSOR)
    assert text.count(f"    sliced    {unit.removeprefix('vta-')}\n") == len(names)
    assert text.count("    core-1    ") == len(names)
    for slicing in built.configuration.slicing.values():
        for part in slicing.schedules:
            assert f"tile_height={part.tile_height}" in text


@pytest.mark.parametrize("target", ["vta-x2", "vta-x4"])
def test_what_waits_to_be_concatenated_behind_work_of_the_cpu_keeps_its_memory(
    synthetic: ModuleType, tmp_path: Path, target: str
) -> None:
    """A skip connection: nothing between its writer and the segment that concatenates it may lie
    where it lies."""
    b = synthetic.Builder(3)
    b.conv("x", "a", (16, 3, 3, 3))
    b.conv("a", "b", (32, 16, 3, 3), strides=[2, 2])
    b.conv("b", "c", (32, 32, 3, 3))
    b.conv("c", "d", (32, 32, 1, 1))
    b.add("DepthToSpace", ["d"], "u", blocksize=2)  # of 8 channels: the CPU moves it
    b.add("Concat", ["a", "u"], "j", axis=1)
    b.conv("j", "y", (8, 24, 3, 3))
    path = tmp_path / "skip.onnx"
    path.write_bytes(b.model({"x": ["n", 3, 12, 12]}, {"y": ["n", 8, 12, 12]}))
    samples = {"x": np.random.default_rng(1).normal(size=(3, 3, 12, 12)).astype("f4")}
    built = compile_model(
        quantize_model(load_model(path), Configuration(), samples), load_target(target)
    )
    assert sum(isinstance(part, NpuSegment) for part in built.executable.segments) == 2
    assert is_exact(built.executable, samples)
