"""Packages over several units: what plans promise, to the bit and the picosecond, and again from
what they say of themselves."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import load_model, noise_samples, quantize_model
from compiler_core.compile.unit_layers import model_layers, model_tasks
from compiler_core.configuration.configuration import (
    Configuration,
    Scheme,
    configuration_text,
    parse_configuration,
)
from compiler_core.errors import InputError
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.executable.profile import by_instruction, by_unit, trace_slices, tracks
from compiler_core.package.reader import read_package
from compiler_core.package.writer import package_files, write_package
from compiler_core.partition.best import default_plan, find_best, prepare, untuned
from compiler_core.partition.legal import misfits
from compiler_core.partition.resolve import assignment_of
from compiler_core.targets.integer_units import integer_forms, target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from compiler_core.targets.unit_tasks import find_unit, of_unit, task_suffix
from compiler_core.units.registry import unit_kind
from tests.compiler_core.partition.agreement import compiled, random_network, require_agreement
from tests.compiler_core.units.aim.small_models import dense_model
from tests.toy_unit.plugin import FOLDER, TARGET, installed

DIGITS = Path(__file__).resolve().parents[3] / "examples" / "digits" / "model.onnx"
SIDE = '[memories.side]\nbytes_per_s = { value = 8e8, origin = "assumed", source = "a guess" }\n'
TOY = '[units.small]\ninherit = "toy.toml"\n'
UNITS = {
    "two_memories": '[units.little]\ninherit = "vta-pynq"\nmemory = "side"\n' + SIDE,
    "one_memory": '[units.little]\ninherit = "vta-pynq"\n',
    "alike": '[units.twin]\ninherit = "vta"\n',
    "several_cores": '[units.duo]\ninherit = "vta-x2"\nmemory = "side"\n' + SIDE,
    "toy": TOY,
    "toy_alone_in_its_memory": TOY + 'memory = "side"\naccess = "exclusive"\n' + SIDE,
    "three": '[units.little]\ninherit = "vta-pynq"\n' + TOY + 'memory = "side"\n' + SIDE,
}
"""Tables of units beside a VTA, by what there is."""


@pytest.fixture(scope="module", autouse=True)
def toy_kind() -> Iterator[None]:
    with installed(FOLDER):
        yield


def target_of(folder: Path, units: str, base: str = "vta") -> Target:
    (folder / "toy.toml").write_text(TARGET.read_text())
    head = f'schema = "nest-tune/target/1"\nname = "several"\ninherit = "{base}"\n'
    (folder / "several.toml").write_text(head + units)
    return load_target(folder / "several.toml")


def rebuilt(found: CompiledModel, target: Target) -> CompiledModel:
    """The same compile from its configuration as text."""
    text = configuration_text(found.configuration).encode()
    again = parse_configuration(text, "lock")
    known, samples = target_arithmetic(target), noise_samples(found.source.model.graph)
    source = quantize_model(found.source.model, again, samples, arithmetic=known)
    return compile_model(source, target)


@pytest.mark.parametrize("units", UNITS)
@pytest.mark.parametrize(
    "seed", [0, 1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 20))]
)
def test_a_package_takes_what_its_plan_promised(tmp_path: Path, units: str, seed: int) -> None:
    target = target_of(tmp_path, UNITS[units])
    (tmp_path / "borders.onnx").write_bytes(random_network(seed))
    model = load_model(tmp_path / "borders.onnx")
    evaluator, draw = prepare(model.graph, target), random.Random(seed)
    placements = [untuned(evaluator), *(tuple(map(draw.choice, evaluator.choices)) for _ in "ab")]
    compared = 0
    for placement in placements:
        if misfits(evaluator, placement):
            continue
        built = compiled(model, evaluator, placement, target)
        name = f"seed {seed} on {units}, placement {placement}"
        require_agreement(built, evaluator, evaluator.evaluate(placement), name)
        data = noise_samples(model.graph)
        assert run_checked(built.executable, Simulator(built.executable), data)[1] is None, name
        assert package_files(rebuilt(built, target), {}) == package_files(built, {}), name
        compared += 1
    assert compared


def test_the_first_unit_can_be_a_plug_in_s(tmp_path: Path) -> None:
    target = target_of(tmp_path, '[units.big]\ninherit = "vta"\n', base="toy.toml")
    model = load_model(DIGITS)
    evaluator = prepare(model.graph, target)
    for placement in (untuned(evaluator), find_best(evaluator).optimum.placement):
        built = compiled(model, evaluator, placement, target)
        require_agreement(built, evaluator, evaluator.evaluate(placement), str(placement))
    units = {layer.unit for layer in built.report.layers}
    assert units <= {"cpu", "toy", "big"}


@pytest.fixture
def spread(tmp_path: Path) -> CompiledModel:
    """The digits on all units of a target, in turns."""
    target = target_of(tmp_path, UNITS["three"])
    model = load_model(DIGITS)
    evaluator = prepare(model.graph, target)
    units = [evaluator.costs.places.whole(unit) for unit in (0, 1, 2)]
    placement = tuple(
        next((at for at in (*units[index % 3 :], *units) if at in choices), 0)
        for index, choices in enumerate(evaluator.choices)
    )
    return compiled(model, evaluator, placement, target)


def test_programs_memory_and_files_are_told_by_unit(spread: CompiledModel, tmp_path: Path) -> None:
    executable = spread.executable
    assert executable.unit_segments.keys() == {"vta", "little", "small"}
    assert executable.memory_bytes.keys() == {"vta", "little", "small"}
    assert sum(executable.memory_bytes.values()) == executable.dram_bytes
    assert {unit.unit for unit in by_unit(spread.report)} == {"cpu", "vta", "little", "small"}
    modules = {item.module.split()[0] for item in by_instruction(executable)}
    assert modules == {"vta", "little", "small"}
    names = tracks(executable.target)
    assert len(set(names)) == len(names)
    seen = {names[item.track].split()[0] for item in trace_slices(executable, spread.report)}
    assert seen == {"cpu", "vta", "little", "small"}
    write_package(spread, tmp_path / "package", {})
    read = read_package(tmp_path / "package")
    assert read.executable.memory_bytes == executable.memory_bytes
    assert read.executable.placed == executable.placed
    data = noise_samples(spread.source.model.graph)
    assert run_checked(read.executable, Simulator(read.executable), data)[1] is None


def test_hostile_memories_are_refused(spread: CompiledModel, tmp_path: Path) -> None:
    from compiler_core.package.executable_reader import read_executable

    write_package(spread, tmp_path / "package", {})
    manifest = read_package(tmp_path / "package").manifest
    files = {name: (tmp_path / "package" / name).read_bytes() for name in manifest.files}
    for memories, message in (
        ({}, "memories add up to 0"),
        ({**manifest.memories, "big": 0}, "has no unit 'big'"),
        ({**manifest.memories, "vta": 1 << 60}, "bytes; at most"),
    ):
        with pytest.raises(InputError, match=message):
            read_executable(replace(manifest, memories=memories), files, "here")


def test_schedules_of_other_machines_have_names_of_their_own(spread: CompiledModel) -> None:
    target = spread.executable.target
    schedules = spread.configuration.schedules
    assert any(name.endswith("@little") for name in schedules)
    assert all("@vta" not in name and "@small" not in name for name in schedules)
    tasks = model_tasks(model_layers(spread.source.quantized, target), target)
    assert schedules.keys() == tasks.keys()
    for name, task in tasks.items():
        assert find_unit(name, task.task, target) == task.unit
        assert of_unit(schedules, target, task.unit.name)[task.task.id] == schedules[name]
    assert [task_suffix(target, unit) for unit in ("vta", "little", "small")] == ["", "@little", ""]


def test_unknown_places_and_tasks_are_refused(spread: CompiledModel) -> None:
    target, model = spread.executable.target, spread.source.model
    known, data = target_arithmetic(target), noise_samples(model.graph)
    wrong = Configuration(plan={model.graph.nodes[0].name: "huge"})
    with pytest.raises(InputError, match="assigned to 'huge'; allowed are 'cpu', 'vta'"):
        quantize_model(model, wrong, data, arithmetic=known)
    name, schedule = next(iter(spread.configuration.schedules.items()))
    source = replace(
        spread.source,
        configuration=replace(
            spread.source.configuration, schedules={f"{name.partition('@')[0]}@huge": schedule}
        ),
    )
    with pytest.raises(InputError, match="the model has no such task"):
        compile_model(source, target)


def test_units_of_equal_form_hand_tensors_over_without_a_conversion(tmp_path: Path) -> None:
    model = load_model(DIGITS)
    for units, converts in (("one_memory", False), ("two_memories", True)):
        target = target_of(tmp_path, UNITS[units])
        forms = integer_forms(target)
        assert (forms["vta"] != forms["little"]) == converts
        evaluator = prepare(model.graph, target)
        placement = tuple(
            next((at for at in ((1, 2), (2, 1))[index % 2] if at in choices), 0)
            for index, choices in enumerate(evaluator.choices)
        )
        plan = assignment_of(placement, evaluator.groups, evaluator.costs.places)
        assert {"vta", "little"} <= set(plan.values())
        built = compiled(model, evaluator, placement, target)
        names = {layer.operator for layer in built.report.layers}
        assert ("convert" in names) == converts
        require_agreement(built, evaluator, evaluator.evaluate(placement), units)


def test_bits_do_not_depend_on_who_runs_what(spread: CompiledModel) -> None:
    """All units compute the same integers: scales decide the outputs, and no plan."""
    model, target = spread.source.model, spread.executable.target
    evaluator, data = prepare(model.graph, target), noise_samples(model.graph)
    plan = assignment_of(untuned(evaluator), evaluator.groups, evaluator.costs.places)
    asked = Configuration(Scheme(spread.configuration.scheme.exponents), plan)
    source = quantize_model(model, asked, None, arithmetic=target_arithmetic(target))
    alone = compile_model(source, target)
    assert alone.executable.placed != spread.executable.placed
    one, _ = run_checked(alone.executable, Simulator(alone.executable), data)
    other, _ = run_checked(spread.executable, Simulator(spread.executable), data)
    assert all(np.array_equal(one[name], other[name]) for name in one)


def test_units_without_programs_are_planned_for_and_get_no_part_of_a_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = load_target("vta-aim")
    for facet in ("programs", "numbers"):
        monkeypatch.delitem(unit_kind("aim").facets, facet)  # type: ignore[arg-type]
    onnx.save(dense_model((256, 512, 64)), tmp_path / "m.onnx")
    model = load_model(tmp_path / "m.onnx")
    shown, evaluator = prepare(model.graph, target), prepare(model.graph, target, packaged=True)
    units = {shown.costs.places[at].name for choices in shown.choices for at in choices}
    assert units == {"cpu", "vta", "aim"}
    units = {evaluator.costs.places[at].name for choices in evaluator.choices for at in choices}
    assert units == {"cpu", "vta"}
    plan = default_plan(model.graph, target)
    assert set(plan.values()) <= {"cpu", "vta"}
    known, data = target_arithmetic(target), noise_samples(model.graph)
    source = quantize_model(model, Configuration(plan=plan), data, arithmetic=known)
    built = compile_model(source, target)
    assert run_checked(built.executable, Simulator(built.executable), data)[1] is None
    asked = Configuration(plan={model.graph.nodes[0].name: "aim"})
    with pytest.raises(InputError, match="assigned to 'aim'; allowed are 'cpu', 'vta'") as error:
        quantize_model(model, asked, data, arithmetic=known)
    assert "run no part of a package" in (error.value.hint or "")
