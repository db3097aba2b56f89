"""Layers that follow one another in one program: same bits, one launch, shares that add up."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from benchmarks.networks.classic_networks import CLASSIC
from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.joining import require_joinable
from compiler_core.compile.sources import FloatModel, load_model, quantize_model
from compiler_core.configuration.configuration import (
    Configuration,
    configuration_text,
    parse_configuration,
)
from compiler_core.configuration.launches import LaunchSettings
from compiler_core.errors import InputError
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.executable.executable import units_of
from compiler_core.executable.profile import by_instruction, trace_slices, tracks
from compiler_core.package.reader import read_package
from compiler_core.package.text import Level, level_text
from compiler_core.package.writer import package_files, write_package
from compiler_core.partition.configured import with_plan
from compiler_core.system.jobs import JobKind
from compiler_core.system.joinable import misfit_of_steps
from compiler_core.system.steps import ExecutionStep
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.lineage import bundled_targets
from compiler_core.targets.load import load_target
from compiler_core.units.facets.parts import SegmentEntry
from compiler_core.units.facets.programs import continues
from compiler_core.units.vta.link.model import memory_image
from compiler_core.units.vta.parts.parts import PARTS
from compiler_core.units.vta.simulate.timing import time_program
from compiler_core.units.vta.verify import first_error, verify

MODELS = ["residual", "concat", "mixed", "depthwise", "batch_of_two", "two_inputs"]
TARGETS = ["vta", "vta-rtl2020", "vta-x2"]
OTHER_TARGETS = sorted(
    name for name in bundled_targets() if name.startswith("vta") and name not in TARGETS
)
Make = Callable[..., CompiledModel]


@pytest.fixture(scope="module")
def make(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Compiles a small model, quantized once per target."""
    folder = tmp_path_factory.mktemp("joining")
    known: dict[tuple[str, str], tuple[FloatModel, Configuration]] = {}

    def compiled(name: str, target: str, launches: LaunchSettings) -> CompiledModel:
        machine = load_target(target)
        if (name, target) not in known:
            model = load_model(Path(synthetic.write(name, folder)))
            samples = synthetic.samples(name, 8, seed=1)
            own = target_arithmetic(machine)
            source = quantize_model(model, Configuration(), samples, arithmetic=own)
            known[name, target] = model, source.configuration
        model, configuration = known[name, target]
        source = quantize_model(
            model,
            replace(configuration, launches=launches),
            None,
            arithmetic=target_arithmetic(machine),
        )
        return compile_model(source, machine)

    return compiled


APART, JOINED = LaunchSettings(merge=False), LaunchSettings(merge=True)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", MODELS)
def test_joined_layers_give_the_same_bits_and_are_not_slower(
    make: Make, synthetic: ModuleType, name: str, target: str
) -> None:
    apart, joined = make(name, target, APART), make(name, target, JOINED)
    samples = synthetic.samples(name, 2, seed=5)
    one, wrong = run_checked(joined.executable, Simulator(joined.executable), samples)
    assert wrong is None
    other, _ = run_checked(apart.executable, Simulator(apart.executable), samples)
    for output, values in one.items():
        np.testing.assert_array_equal(values, other[output])
    assert joined.metrics.latency_ms <= apart.metrics.latency_ms
    assert [layer.name for layer in joined.report.layers] == [
        layer.name for layer in apart.report.layers
    ]


@pytest.mark.slow
@pytest.mark.parametrize("target", OTHER_TARGETS)
@pytest.mark.parametrize("name", ["residual", "depthwise", "mixed"])
def test_no_bundled_target_gets_slower(
    make: Make, synthetic: ModuleType, name: str, target: str
) -> None:
    test_joined_layers_give_the_same_bits_and_are_not_slower(make, synthetic, name, target)


@pytest.mark.parametrize("target", ["vta-x4", "vta-duo"])
@pytest.mark.parametrize("name", MODELS)
def test_no_default_gets_slower(
    synthetic: ModuleType, tmp_path: Path, name: str, target: str
) -> None:
    """Where there are several cores or units, the default's plan is another one, too."""
    machine, model = load_target(target), load_model(Path(synthetic.write(name, tmp_path)))
    own, samples = target_arithmetic(machine), synthetic.samples(name, 8, seed=1)
    found = []
    for launches in (APART, JOINED):
        asked = with_plan(Configuration(launches=launches), model, machine)
        source = quantize_model(model, asked, samples, arithmetic=own)
        found.append(compile_model(source, machine).metrics)
    apart, joined = found
    assert joined.latency_ms <= apart.latency_ms
    assert joined.launches <= apart.launches


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["residual", "depthwise"])
def test_shares_of_layers_add_up_to_their_program(make: Make, name: str, target: str) -> None:
    joined = make(name, target, JOINED)
    machine = joined.executable.target.npu
    layers = iter(layer for layer in joined.report.layers if layer.task)
    dram = memory_image(list(joined.executable.npu_segments), joined.executable.dram_bytes)
    runs = 0
    for segment in joined.executable.npu_segments:
        launches = list(segment.launches)
        while launches:
            run = [launches.pop(0)]
            while launches and continues(launches[0]):
                run.append(launches.pop(0))
            if len(run[0].programs) > 1:
                next(layers)
                continue
            code = run[0].programs[0].instructions
            assert first_error(verify(code, machine.geometry, dram)) is None
            whole = time_program(code, machine.timing, machine.geometry, machine.energy)
            own = [next(layers) for _ in run]
            assert sum(layer.cycles for layer in own) == whole.cycles
            assert min(layer.cycles for layer in own) > 0
            assert sum(layer.instructions for layer in own) == len(code)
            assert sum(layer.energy_mj for layer in own) == pytest.approx(whole.energy_pj * 1e-9)
            for memory in ("inp", "wgt", "acc", "uop", "out", "fetch"):
                moved = sum(layer.bytes[memory] for layer in own)
                assert moved == getattr(whole.traffic, memory).data_bytes
            waits = sum(layer.stall_cycles.get("load_token", 0) for layer in own)
            assert waits == whole.load.token_stall_cycles
            runs += len(run) > 1
    assert runs
    assert joined.metrics.launches < sum(1 for layer in joined.report.layers if layer.task)


def test_everything_on_one_core_is_one_launch(make: Make) -> None:
    apart, joined = make("residual", "vta", APART), make("residual", "vta", JOINED)
    assert apart.metrics.launches == 6
    assert joined.metrics.launches == 1
    overhead = joined.executable.target.launch_overhead_s * 1e3
    rows = [layer for layer in joined.report.layers if layer.task]
    clock = joined.executable.target.npu.clock_hz
    assert rows[0].latency_ms == pytest.approx(overhead + rows[0].cycles / clock * 1e3)
    for before, layer in pairwise(rows):
        assert layer.start_ms == pytest.approx(before.end_ms)
        assert layer.latency_ms == pytest.approx(layer.cycles / clock * 1e3)
    alone = [layer for layer in joined.report.layers if not layer.task]
    total = sum(layer.latency_ms for layer in (*rows, *alone))
    assert joined.metrics.latency_ms == pytest.approx(total)
    assert joined.metrics.npu_cycles < 0.92 * apart.metrics.npu_cycles


def test_what_a_compile_wrote_without_a_table_has_a_launch_per_layer(make: Make) -> None:
    apart = make("residual", "vta", APART)
    assert not any(continues(x) for x in _launches(apart))
    text = configuration_text(apart.configuration)
    assert "launches" not in text
    again = parse_configuration(text.encode(), "config.toml")
    assert again == apart.configuration
    assert package_files(make("residual", "vta", again.launches), {}) == package_files(apart, {})


def test_a_wish_without_a_table_is_compiled_to_joined_layers() -> None:
    for merge in (True, False):
        wish = Configuration(launches=LaunchSettings(merge=merge))
        text = configuration_text(wish)
        assert ("[launches]" in text) != merge
        assert parse_configuration(text.encode(), "config.toml") == wish


def _launches(compiled: CompiledModel) -> list[object]:
    return [launch for part in compiled.executable.npu_segments for launch in part.launches]


@pytest.mark.parametrize(("name", "target"), [("residual", "vta"), ("residual", "vta-x2")])
def test_the_configuration_gives_the_same_package_without_a_search(
    make: Make, name: str, target: str
) -> None:
    joined = make(name, target, JOINED)
    text = configuration_text(joined.configuration)
    again = parse_configuration(text.encode(), "config.toml")
    assert again == joined.configuration
    assert again.launches.borders
    second = make(name, target, again.launches)
    assert package_files(second, {}) == package_files(joined, {})
    cut = dict(list(again.launches.borders.items())[1:])
    third = make(name, target, replace(again.launches, borders=cut))
    assert third.metrics.launches == joined.metrics.launches + 1
    assert third.configuration.launches.borders == cut


def test_a_package_is_read_back_and_traced(
    make: Make, synthetic: ModuleType, tmp_path: Path
) -> None:
    joined = make("residual", "vta", JOINED)
    texts = {f"{level.value}.txt": level_text(joined, level) for level in Level}
    write_package(joined, tmp_path / "out", texts)
    package = read_package(tmp_path / "out")
    (segment,), (own,) = package.executable.npu_segments, joined.executable.npu_segments
    assert [launch.code for launch in segment.launches] == [launch.code for launch in own.launches]
    assert [launch.instruction_count for launch in segment.launches] == [
        launch.instruction_count for launch in own.launches
    ]
    samples = synthetic.samples("residual", 2, seed=5)
    assert run_checked(package.executable, Simulator(package.executable), samples)[1] is None
    slices = list(trace_slices(package.executable, package.report))
    assert sum(item.category == "launch" for item in slices) == 1
    assert max(item.end_ns for item in slices) == pytest.approx(
        joined.metrics.latency_ms * 1e6, abs=2
    )
    assert min(item.start_ns for item in slices) >= 0
    names = tracks(package.executable.target)
    for track in range(1, len(names)):
        own_track = [s for s in slices if s.track == track and s.category == "instruction"]
        own_track.sort(key=lambda s: s.start_ns)
        for before, after in pairwise(own_track):
            assert before.end_ns <= after.start_ns
    shown = {item.arguments["layer"] for item in slices if item.track > 0}
    assert shown == {layer.name for layer in joined.report.layers if layer.task}
    total = sum(
        item.count for item in by_instruction(package.executable) if item.category == "instruction"
    )
    assert total == sum(launch.instruction_count for launch in segment.launches)
    commands = (tmp_path / "out" / "commands.txt").read_text()
    assert "# layer 2 of 6 of one program" in commands


@pytest.mark.parametrize("name", ["concat", "residual", "branches"])
def test_several_cores_are_not_slower_than_one_of_them(
    synthetic: ModuleType, tmp_path: Path, name: str
) -> None:
    """Where layers are small, launches cost more than cores side by side save."""
    if name == "branches":
        path = tmp_path / "model.onnx"
        onnx.save(CLASSIC["squeezenet"](32, 0.25), path)
        samples = {"x": np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype("f4")}
    else:
        path, samples = Path(synthetic.write(name, tmp_path)), synthetic.samples(name, 2, seed=1)
    model, found = load_model(path), {}
    for target in ("vta", "vta-x2", "vta-x4"):
        machine = load_target(target)
        asked = with_plan(Configuration(), model, machine)
        source = quantize_model(model, asked, samples, arithmetic=target_arithmetic(machine))
        found[target] = compile_model(source, machine)
        wrong = run_checked(found[target].executable, Simulator(found[target].executable), samples)[
            1
        ]
        assert wrong is None
    one = found["vta"].metrics.latency_ms
    assert max(made.metrics.latency_ms for made in found.values()) == pytest.approx(one, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("target", ["vta", "vta-x2", "vta-x4", "vta-duo", "vta-int4", "vta-aim"])
@pytest.mark.parametrize("name", sorted(CLASSIC))
def test_no_network_of_usual_shape_gets_slower(tmp_path: Path, name: str, target: str) -> None:
    onnx.save(CLASSIC[name](32, 0.25), tmp_path / "model.onnx")
    machine, model = load_target(target), load_model(tmp_path / "model.onnx")
    samples = {"x": np.random.default_rng(0).normal(size=(2, 3, 32, 32)).astype("f4")}
    found = []
    for launches in (APART, JOINED):
        asked = with_plan(Configuration(launches=launches), model, machine)
        source = quantize_model(model, asked, samples, arithmetic=target_arithmetic(machine))
        found.append(compile_model(source, machine).metrics.latency_ms)
    apart, joined = found
    assert joined <= apart


def test_what_is_not_there_in_time_cannot_be_joined(make: Make) -> None:
    """Every layer alone may continue the one before, all of them together may not."""
    steps = [
        ExecutionStep("n", f"s{at}", JobKind.PROGRAM, after)
        for at, after in enumerate([(), (0,), (1,), (2,)])
    ]
    outside = ExecutionStep("c", "x", JobKind.OPERATOR, (0,))
    late = ExecutionStep("n", "s9", JobKind.PROGRAM, (2, 4))
    chain, places = [*steps[:4], outside, late], ["vta"] * 5
    assert misfit_of_steps(chain, places, {1, 2, 3}) is None
    assert misfit_of_steps(chain, places, {1, 2, 3, 5}) == 5
    assert misfit_of_steps(chain, places, {0}) == 0
    assert misfit_of_steps(chain, ["vta", "vta", None, "vta", "vta"], {1, 2}) == 2
    joined = make("residual", "vta", JOINED).configuration.launches
    with pytest.raises(InputError, match=r"launches.borders.b: it reads what is not there"):
        require_joinable(["a", "b"], ["a", "b"], lambda _: "b")
    require_joinable(joined.borders or {}, list(joined.borders or {}))


def test_borders_of_another_lowering_are_refused(make: Make) -> None:
    found = make("residual", "vta", JOINED).configuration.launches
    with pytest.raises(InputError, match="version 1 of the lowering to vta; this one has") as error:
        make("residual", "vta", replace(found, lowering=1))
    assert "merge = false" in (error.value.hint or "")
    make("residual", "vta", replace(found, lowering=1, merge=False))


def test_unknown_and_wrong_borders_are_refused(make: Make) -> None:
    found = make("residual", "vta", JOINED).configuration.launches
    name, border = next(iter(found.borders.items()))
    with pytest.raises(InputError, match=r"launches\.borders.nobody: no layer that can continue"):
        make("residual", "vta", replace(found, borders={"nobody": border}))
    with pytest.raises(InputError, match="keys \\['ahead'\\]"):
        make("residual", "vta", replace(found, borders={name: {"ahead": 1}}))
    with pytest.raises(InputError, match="allowed are 0 to"):
        make("residual", "vta", replace(found, borders={name: {**border, "ahead": -1}}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[launches]\nmerge = 1\n", "true or false"),
        ("[launches]\nmerge = true\njoin = 1\n", "unknown key 'join'"),
        ("[launches.borders.a]\nahead = 1\n", "need the version of the lowering"),
        ("launches = 3\n", "a table of keys"),
    ],
)
def test_wrong_tables_are_refused(text: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse_configuration(f'schema = "nest-tune/config/1"\n{text}'.encode(), "config.toml")


def damaged_layers(content: bytes, kind: str) -> bytes:
    layers = np.frombuffer(content, "<i4").copy()
    if kind == "short":
        return content[:-4]
    if kind == "unknown":
        layers[0] = 77
    elif kind == "negative":
        layers[0] = -1
    elif kind == "last":
        layers[-1] = 0
    else:
        layers = layers.max() - layers
    return layers.astype("<i4").tobytes()


@pytest.mark.parametrize("kind", ["short", "unknown", "negative", "last", "backwards"])
def test_damaged_layer_numbers_are_refused(make: Make, kind: str) -> None:
    files, entry = _files(make)
    name = "launch-000/core-0/layers.bin"
    with pytest.raises(InputError, match=r"layers\.bin"):
        PARTS.read(entry, {**files, name: damaged_layers(files[name], kind)}, "out")


@pytest.mark.parametrize(
    "runs",
    [
        [["launch-000"]],
        [["launch-001", "launch-000"]],
        [["launch-000", "launch-009"]],
        [[]],
        [["launch-000", "launch-001"], ["launch-001", "launch-002"]],
    ],
)
def test_damaged_runs_are_refused(make: Make, runs: list[list[str]]) -> None:
    files, entry = _files(make)
    document = json.loads(files["runs.json"]) | {"runs": runs}
    with pytest.raises(InputError, match=r"runs\.json"):
        PARTS.read(entry, {**files, "runs.json": json.dumps(document).encode()}, "out")


def test_missing_files_of_a_run_are_named(make: Make) -> None:
    files, entry = _files(make)
    for name in ("launch-000/core-0/layers.bin", "launch-000/core-0/instructions.bin"):
        rest = {path: content for path, content in files.items() if path != name}
        with pytest.raises(KeyError, match=name):
            PARTS.read(entry, rest, "out")


def _files(make: Make) -> tuple[dict[str, bytes], SegmentEntry]:
    joined = make("residual", "vta", JOINED)
    executable = joined.executable
    (segment,) = executable.npu_segments
    shapes = {name: tensor.shape for name, tensor in executable.tensors.items()}
    entry = SegmentEntry(
        segment.name,
        segment.inputs,
        segment.outputs,
        segment.operators,
        shapes,
        executable.dram_bytes,
        units_of(executable.target, executable.unit_of(segment)),
    )
    return dict(PARTS.files(segment)), entry


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(6))
def test_any_cut_of_a_run_is_exact(make: Make, synthetic: ModuleType, seed: int) -> None:
    r = random.Random(seed)
    name = r.choice(MODELS)
    found = make(name, "vta", JOINED).configuration.launches
    cut = {key: border for key, border in found.borders.items() if r.random() < 0.6}
    built = make(name, "vta", replace(found, borders=cut))
    samples = synthetic.samples(name, 2, seed=5)
    assert run_checked(built.executable, Simulator(built.executable), samples)[1] is None
