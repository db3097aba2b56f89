"""Parts of models in bfloat16: bits against the numbers of the unit, times against plans, files
against damage."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import onnxruntime
import pytest

from compiler_core.compile.compile import CompiledModel
from compiler_core.compile.sources import FloatModel, load_model, noise_samples
from compiler_core.errors import InputError, NestTuneError
from compiler_core.executable.backends import Reference, Simulator
from compiler_core.executable.check import run_checked
from compiler_core.executable.executable import units_of
from compiler_core.executable.runner import PackageRunner
from compiler_core.graph.session import FloatSession
from compiler_core.package.reader import read_package
from compiler_core.package.writer import package_files, write_package
from compiler_core.partition.best import complete, default_plan, find_best, prepare, untuned
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.plan import Plan
from compiler_core.partition.resolve import plan_of, resolve_plan
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.qdq import qdq_model
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.quantize.sensitivity import sensitivities
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from compiler_core.units.aim.device.device import Device, ResidentProduct
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.model.reference import reference_product
from compiler_core.units.aim.parts import PARTS
from compiler_core.units.aim.schedule.legality import violations
from compiler_core.units.aim.schedule.schedule import Order, ProductSchedule, Side
from compiler_core.units.aim.schedule.workload import Activation, MatrixVector
from compiler_core.units.aim.simulate.numbers import to_bits
from compiler_core.units.facets.parts import SegmentEntry
from compiler_core.units.numbers import numbers_of
from tests.compiler_core.partition.agreement import compiled, require_agreement
from tests.compiler_core.units.aim.small_models import dense_model

SMALL = AimMachine(channels=4, registers=160)


def model_of(content: Any, folder: Path) -> FloatModel:
    onnx.save(content, folder / "m.onnx")
    return load_model(folder / "m.onnx")


@pytest.fixture
def target() -> Target:
    return load_target("vta-aim")


def mixed_model() -> Any:
    """An image, a convolution, a view, products with a clamp and without, a softmax."""
    random = np.random.default_rng(2)
    sizes = {"k": (8, 3, 3, 3), "w": (8 * 16, 96), "b": (96,), "v": (96, 40)}
    weights = [
        onnx.numpy_helper.from_array((random.standard_normal(s) / 8).astype(np.float32), n)
        for n, s in sizes.items()
    ]
    nodes = [
        oh.make_node("Conv", ["x", "k"], ["c"], "conv", pads=[1, 1, 1, 1], strides=[2, 2]),
        oh.make_node("Flatten", ["c"], ["f"], "flat"),
        oh.make_node("Gemm", ["f", "w", "b"], ["g"], "hidden"),
        oh.make_node("Relu", ["g"], ["r"], "relu"),
        oh.make_node("MatMul", ["r", "v"], ["m"], "last"),
        oh.make_node("Softmax", ["m"], ["y"], "soft"),
    ]
    graph = oh.make_graph(
        nodes,
        "mixed",
        [oh.make_tensor_value_info("x", 1, [1, 3, 8, 8])],
        [oh.make_tensor_value_info("y", 1, [1, 40])],
        weights,
    )
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize(
    ("inputs", "outputs", "groups", "channels", "packed", "registers"),
    [
        (40, 20, 1, 1, 1, 160),
        (2100, 70, 1, 2, 1, 400),
        (2100, 70, 2, 1, 1, 400),
        (1500, 200, 2, 2, 1, 400),
        (3100, 130, 1, 4, 2, 230),
    ],
)
def test_the_reference_has_the_bits_of_the_programs(
    inputs: int, outputs: int, groups: int, channels: int, packed: int, registers: int, order: Order
) -> None:
    random, tried = np.random.default_rng(inputs), 0
    machine = AimMachine(channels=4, registers=registers)
    for vectors, bias, sides in product((1, 3), (False, True), product(Side, Side)):
        work = MatrixVector(outputs, inputs, vectors, bias=bias, activations=(Activation.TANH,))
        schedule = ProductSchedule(
            groups, channels, order=order, packed=packed, reduction=sides[0], activation=sides[1]
        )
        if violations(work, schedule, machine):
            continue
        matrix = random.normal(size=(1, outputs, inputs), scale=0.1).astype(np.float32)
        added = random.normal(size=(1, outputs)).astype(np.float32) * bias
        x = random.normal(size=(vectors, 1, inputs)).astype(np.float32)
        resident = ResidentProduct(Device(machine), work, schedule, matrix, added)
        bits = to_bits(matrix), to_bits(added)
        found = reference_product(resident.layout, machine, *bits, x)
        assert found.tobytes() == resident.run(x).tobytes(), (work, schedule)
        tried += 1
    assert tried >= 8


def test_any_placement_takes_what_its_plan_promised(tmp_path: Path, target: Target) -> None:
    model = model_of(dense_model((64, 200, 32)), tmp_path)
    evaluator = prepare(model.graph, target, packaged=True)
    for placement in product(*evaluator.choices):
        built = compiled(model, evaluator, placement, target)
        require_agreement(built, evaluator, evaluator.evaluate(placement), str(placement))
        data = noise_samples(model.graph)
        assert run_checked(built.executable, Simulator(built.executable), data)[1] is None


@pytest.fixture
def mixed(tmp_path: Path, target: Target) -> tuple[CompiledModel, Evaluator]:
    model = model_of(mixed_model(), tmp_path)
    evaluator = prepare(model.graph, target, packaged=True)
    names = [group.name for group in evaluator.groups.groups]
    wanted = {"conv": "vta", "hidden": "aim", "last": "aim"}
    placement = tuple(evaluator.costs.places.numbers[wanted.get(name, "cpu")] for name in names)
    built = compiled(model, evaluator, placement, target)
    require_agreement(built, evaluator, evaluator.evaluate(placement), "mixed")
    return built, evaluator


def test_integers_bfloat16_and_floats_meet(
    mixed: tuple[CompiledModel, Evaluator], tmp_path: Path
) -> None:
    built, _ = mixed
    executable, data = built.executable, noise_samples(built.source.model.graph)
    assert {"vta", "aim"} == executable.unit_segments.keys()
    assert any(layer.operator == "convert" for layer in built.report.layers)
    outputs, difference = run_checked(executable, Simulator(executable), data)
    assert difference is None
    write_package(built, tmp_path / "package", {})
    again = read_package(tmp_path / "package").executable
    read, difference = run_checked(again, Simulator(again, threads=2), data)
    assert difference is None
    assert read["y"].tobytes() == outputs["y"].tobytes()
    assert package_files(built, {}) == package_files(built, {})
    # Accuracy is measured before anything is compiled, with untuned schedules: those of this one.
    known = ReferenceExecutor(built.source.quantized).run(data)
    assert known["y"].tobytes() == outputs["y"].tobytes()


def test_a_wrong_bit_is_found(mixed: tuple[CompiledModel, Evaluator]) -> None:
    executable = mixed[0].executable
    (segment,) = executable.unit_segments["aim"][:1]
    matrix = segment.products[0].matrix.copy()
    matrix[0, 0, :] = to_bits(np.full(matrix.shape[2], 3.0, np.float32))
    wrong = replace(
        segment, products=(replace(segment.products[0], matrix=matrix), *segment.products[1:])
    )
    segments = tuple(wrong if part is segment else part for part in executable.segments)
    other = replace(executable, segments=segments)
    data = noise_samples(mixed[0].source.model.graph)
    one = PackageRunner(executable, Reference(executable)).run(data)
    two = PackageRunner(other, Simulator(other)).run(data)
    assert one["y"].tobytes() != two["y"].tobytes()


def test_damaged_segments_are_refused(mixed: tuple[CompiledModel, Evaluator]) -> None:
    executable = mixed[0].executable
    (segment, *_) = executable.unit_segments["aim"]
    entry = SegmentEntry(
        segment.name,
        segment.inputs,
        segment.outputs,
        (),
        {},
        0,
        units_of(executable.target, executable.unit_of(segment)),
    )
    files = PARTS.files(segment)
    assert PARTS.files(PARTS.read(entry, files, "here")) == files
    random = np.random.default_rng(0)
    refused = 0
    for name, content in files.items():
        for _ in range(40):
            changed = bytearray(content)
            changed[int(random.integers(len(changed)))] ^= int(random.integers(1, 256))
            try:
                PARTS.read(entry, {**files, name: bytes(changed)}, "here")
            except NestTuneError:
                refused += 1
        with pytest.raises((NestTuneError, KeyError)):
            PARTS.read(entry, {n: c for n, c in files.items() if n != name}, "here")
        with pytest.raises(NestTuneError):
            PARTS.read(entry, {**files, name: content[: len(content) // 2]}, "here")
    assert refused > 40


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b'"first_row": 0', b'"first_row": 99999', "rows are there"),
        (b'"groups": 1', b'"groups": 0', "schedule for matrix_vector"),
        (b'"core": 0', b'"core": 7', "core 7; 1 are there"),
        (b'"vectors": 1', b'"vectors": 2', "not the program of its schedule"),
        (b'"product": 0', b'"product": 1', "tensors of shape"),
        (b'"product": 1', b'"product": 9', "are there"),
    ],
)
def test_what_cannot_be_is_said(
    mixed: tuple[CompiledModel, Evaluator], old: bytes, new: bytes, message: str
) -> None:
    executable = mixed[0].executable
    (segment, *_) = executable.unit_segments["aim"]
    units = units_of(executable.target, executable.unit_of(segment))
    entry = SegmentEntry(segment.name, segment.inputs, segment.outputs, (), {}, 0, units)
    files = dict(PARTS.files(segment))
    assert old in files["aim.json"]
    files["aim.json"] = files["aim.json"].replace(old, new, 1)
    with pytest.raises(InputError, match=message):
        PARTS.read(entry, files, "here")


def test_what_the_unit_does_not_compute_stays_on_the_cpu(tmp_path: Path, target: Target) -> None:
    model = model_of(mixed_model(), tmp_path)
    numbers = numbers_of("aim")
    reasons = {node.name: numbers.unsupported(model.graph, node) for node in model.graph.nodes}
    assert reasons["hidden"] is None
    assert reasons["last"] is None
    assert "no product of a matrix" in (reasons["conv"] or "")
    evaluator = prepare(model.graph, target, packaged=True)
    places = evaluator.costs.places
    for group, choices in zip(evaluator.groups.groups, evaluator.choices, strict=True):
        assert ("aim" in {places[at].name for at in choices}) == (group.name in ("hidden", "last"))
    best = find_best(evaluator).optimum.placement
    built = compiled(model, evaluator, best, target)
    require_agreement(built, evaluator, evaluator.evaluate(best), "best")


def test_layers_alone_are_measured_in_the_numbers_of_their_unit(
    mixed: tuple[CompiledModel, Evaluator],
) -> None:
    built, _ = mixed
    graph, data = built.source.model.graph, noise_samples(built.source.model.graph)
    ranges = profile_model(graph, data).ranges()
    found = {
        layer.name: layer.own.value
        for layer in sensitivities(
            graph,
            built.configuration.plan,
            ranges,
            QuantizationScheme(),
            data,
            None,
            arithmetic=target_arithmetic(built.executable.target),
        )
    }
    assert found.keys() == {"conv", "hidden", "last"}
    assert min(found["hidden"], found["last"]) > found["conv"] > 10  # in dB


def test_the_qdq_model_casts_where_the_unit_computes(
    mixed: tuple[CompiledModel, Evaluator],
) -> None:
    built, _ = mixed
    model, data = qdq_model(built.source.quantized), noise_samples(built.source.model.graph, 1)
    onnx.checker.check_model(model)
    casts = [n for n in model.graph.node if n.op_type == "Cast"]
    assert any(a.i == onnx.TensorProto.BFLOAT16 for n in casts for a in n.attribute)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    (found,) = session.run(None, data)
    executable = built.executable
    ours = PackageRunner(executable, Simulator(executable)).run(data)["y"]
    assert np.abs(found - ours).max() < 2e-3
    plain = FloatSession(built.source.model.graph).run(data)["y"]
    assert np.abs(found - ours).max() < np.abs(plain - ours).max()


@pytest.mark.parametrize(
    "content", [dense_model((64, 200, 32)), mixed_model()], ids=["dense", "mixed"]
)
def test_a_target_of_the_unit_alone(content: Any, tmp_path: Path) -> None:
    target, model = load_target("aim-gddr6"), model_of(content, tmp_path)
    plan = default_plan(model.graph, target)
    products = [node.name for node in model.graph.nodes if node.op in ("Dense", "MatMul", "Gemm")]
    assert products
    assert {name for name, place in plan.items() if place == "aim"} == set(products)
    evaluator = prepare(model.graph, target, packaged=True)
    for placement in product(*evaluator.choices):
        built = compiled(model, evaluator, placement, target)
        require_agreement(built, evaluator, evaluator.evaluate(placement), str(placement))
        data = noise_samples(model.graph)
        assert run_checked(built.executable, Simulator(built.executable), data)[1] is None
    asked = plan_of(untuned(evaluator), evaluator.groups, evaluator.costs.places)
    resolved = resolve_plan(asked, evaluator.groups, evaluator.costs.places)
    assert complete(evaluator, resolved) == untuned(evaluator)
    if content.graph.name == "mixed":  # ends in what the unit does not compute
        wrong = Plan({**asked.units, model.graph.nodes[-1].name: "aim"})
        with pytest.raises(InputError, match="is placed on 'aim': aim: Softmax is no product"):
            complete(evaluator, resolve_plan(wrong, evaluator.groups, evaluator.costs.places))
