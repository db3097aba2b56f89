"""Recurrent cells in packages: bits against the numbers of the unit, values against onnxruntime,
times against plans, files against damage."""

from __future__ import annotations

from collections import Counter
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import pytest

from compiler_core.compile.compile import CompiledModel
from compiler_core.compile.sources import load_model, noise_samples
from compiler_core.errors import NestTuneError
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.executable.profile import by_instruction, roofline, tracks
from compiler_core.graph.sampling import runs
from compiler_core.graph.session import FloatSession
from compiler_core.package.reader import read_package
from compiler_core.package.writer import write_package
from compiler_core.partition.best import prepare
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.targets.load import load_target
from compiler_core.units.aim.operators.products import products
from compiler_core.units.aim.parts import PARTS
from compiler_core.units.aim.simulate.timing import time_program
from nest_tune.testing.unit_models import check_profiles
from tests.compiler_core.partition.agreement import compiled, require_agreement
from tests.compiler_core.units.aim.damaged_parts import DOCUMENT, require_refused, written_again

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}


def cell_model(
    operator: str,
    *,
    steps: int = 3,
    batch: int = 1,
    inputs: int = 20,
    size: int = 24,
    direction: str = "forward",
    bias: bool = True,
    states: bool = False,
    **attributes: Any,
) -> Any:
    """A cell whose states all leave, and a dense layer behind them."""
    random = np.random.default_rng(3)
    ways = 2 if direction == "bidirectional" else 1
    gates = GATES[operator] * size
    shapes = {"w": (ways, gates, inputs), "r": (ways, gates, size), "v": (size, 10)}
    if bias:
        shapes["b"] = (ways, 2 * gates)
    weights = [
        onnx.numpy_helper.from_array(random.normal(size=s, scale=0.3).astype(np.float32), n)
        for n, s in shapes.items()
    ]
    names = ["x", "w", "r", "b" if bias else "", ""]
    given = [("x", [steps, batch, inputs])]
    if states:
        names.append("h0")
        given.append(("h0", [ways, batch, size]))
        if operator == "LSTM":
            names.append("c0")
            given.append(("c0", [ways, batch, size]))
    cell = oh.make_node(
        operator, names, ["s", "h", *(["c"] if operator == "LSTM" else [])], "cell",
        hidden_size=size, direction=direction, **attributes,
    )  # fmt: skip
    nodes = [cell, oh.make_node("MatMul", ["s", "v"], ["y"], "head")]
    written = [("y", [steps, ways, batch, 10]), ("h", [ways, batch, size])]
    if operator == "LSTM":
        written.append(("c", [ways, batch, size]))
    graph = oh.make_graph(
        nodes,
        "g",
        [oh.make_tensor_value_info(n, 1, s) for n, s in given],
        [oh.make_tensor_value_info(n, 1, s) for n, s in written],
        weights,
    )
    return oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)


def built_on_aim(content: Any, folder: Path, target_name: str = "aim-gddr6") -> CompiledModel:
    onnx.save(content, folder / "m.onnx")
    model, target = load_model(folder / "m.onnx"), load_target(target_name)
    evaluator = prepare(model.graph, target, packaged=True)
    at = evaluator.costs.places.numbers["aim"]
    placement = tuple(at if at in choices else 0 for choices in evaluator.choices)
    assert at in placement
    built = compiled(model, evaluator, placement, target)
    require_agreement(built, evaluator, evaluator.evaluate(placement), "all on the unit")
    return built


@pytest.mark.parametrize(
    ("operator", "options"),
    [
        ("LSTM", {}),
        ("LSTM", {"direction": "bidirectional", "states": True, "batch": 2}),
        ("LSTM", {"direction": "reverse", "bias": False, "steps": 1}),
        ("GRU", {"states": True}),
        ("GRU", {"linear_before_reset": 1, "direction": "bidirectional", "batch": 3}),
        ("RNN", {"activations": ["Relu"], "states": True, "inputs": 7, "size": 33}),
        ("RNN", {"direction": "reverse"}),
    ],
)
def test_cells_have_their_bits_their_values_and_their_time(
    operator: str, options: dict[str, Any], tmp_path: Path
) -> None:
    content = cell_model(operator, **options)
    built = built_on_aim(content, tmp_path)
    data = noise_samples(built.source.model.graph, 3)
    outputs, difference = run_checked(built.executable, Simulator(built.executable), data)
    assert difference is None
    graph = built.source.model.graph
    known = FloatSession(graph).run(next(runs(graph, data)))
    for name, values in known.items():
        own = outputs[name][: len(values)].reshape(values.shape)
        assert np.abs(own - values).max() < 0.08 * max(1.0, np.abs(values).max()), name
    write_package(built, tmp_path / "package", {})
    again = read_package(tmp_path / "package").executable
    read, difference = run_checked(again, Simulator(again, threads=2), data)
    assert difference is None
    for name, values in outputs.items():
        assert read[name].tobytes() == values.tobytes()
    untuned = ReferenceExecutor(built.source.quantized).run(data)
    assert {n: a.tobytes() for n, a in untuned.items()} == {
        n: a.tobytes() for n, a in outputs.items()
    }


def test_where_the_time_goes(tmp_path: Path) -> None:
    built = built_on_aim(cell_model("GRU", steps=2, size=300, inputs=200, batch=2), tmp_path)
    target, report = built.executable.target, built.report
    check_profiles(target, built)
    launched = [layer for layer in report.layers if layer.cycles]
    assert [layer.name for layer in launched] == ["cell/0", "cell/1", "cell/2", "cell/3", "head"]
    for layer in launched:
        assert 0 < layer.bound_cycles <= layer.cycles
        assert layer.energy_mj > 0
        place = roofline(layer, target)
        assert place is not None
        assert place.achieved_macs_per_cycle <= place.attainable_macs_per_cycle
    assert tracks(target) == ("cpu", *(f"channel {number}" for number in range(32)))
    counted = {item.name: 0 for item in by_instruction(built.executable)}
    for item in by_instruction(built.executable):
        counted[item.name] += item.count
    commands = Counter[str]()
    for launch in built.executable.unit_segments["aim"][0].launches:
        for program in launch.programs:
            commands += Counter(time_program(program.records, target.npu).commands)
    assert counted == commands


def test_matrices_lie_in_the_banks_once(tmp_path: Path) -> None:
    one = built_on_aim(cell_model("LSTM", steps=2), tmp_path)
    many = built_on_aim(cell_model("LSTM", steps=9), tmp_path)
    sizes = [built.executable.memory_bytes["aim"] for built in (one, many)]
    assert sizes[0] == sizes[1]
    launches = [len(b.executable.unit_segments["aim"][0].launches) for b in (one, many)]
    assert launches == [3, 10]


def test_damaged_cells_are_refused(tmp_path: Path) -> None:
    executable = built_on_aim(cell_model("GRU", states=True), tmp_path).executable
    entry, files = written_again(executable)
    changes = (
        (b'"steps": 3', b'"steps": 99999', "at most 4096"),
        (b'"operator": "GRU"', b'"operator": "LSTM"', "1 are needed"),
        (b'"operator": "GRU"', b'"operator": "CELL"', "LSTM, GRU, RNN are there"),
        (b'"size": 24', b'"size": 25', "for a part of"),
        (b'"state": "h0"', b'"state": "h9"', "which nobody computes"),
        (b'"kind": "cell"', b'"kind": "well"', "none of dense, cell"),
        (b'"after_reset": false', b'"after_reset": true', "3 are needed"),
    )
    require_refused(entry, files, changes)
    random = np.random.default_rng(0)
    for _ in range(150):
        changed = bytearray(files[DOCUMENT])
        changed[int(random.integers(len(changed)))] = int(random.integers(32, 127))
        try:
            PARTS.read(entry, {**files, DOCUMENT: bytes(changed)}, "here")
        except NestTuneError:
            continue


def test_any_placement_of_a_tagger_takes_what_its_plan_promised(tmp_path: Path) -> None:
    """Views behind a cell, ragged rows of several axes, and the CPU's own integers beside both."""
    random = np.random.default_rng(5)
    shapes = {"w": (2, 60, 10), "r": (2, 60, 15), "v": (30, 21), "u": (21, 7)}
    weights = [
        onnx.numpy_helper.from_array(random.normal(size=s, scale=0.3).astype(np.float32), n)
        for n, s in shapes.items()
    ]
    weights.append(onnx.numpy_helper.from_array(np.array([4, 30], np.int64), "flat"))
    nodes = [
        oh.make_node(
            "LSTM", ["x", "w", "r"], ["s"], "bi", hidden_size=15, direction="bidirectional"
        ),
        oh.make_node("Transpose", ["s"], ["t"], "order", perm=[2, 0, 1, 3]),
        oh.make_node("Reshape", ["t", "flat"], ["f"], "flat"),
        oh.make_node("MatMul", ["f", "v"], ["m"], "tags"),
        oh.make_node("Sigmoid", ["m"], ["a"], "squash"),
        oh.make_node("MatMul", ["a", "u"], ["y"], "last"),
    ]
    graph = oh.make_graph(
        nodes,
        "tagger",
        [oh.make_tensor_value_info("x", 1, [4, 1, 10])],
        [oh.make_tensor_value_info("y", 1, [4, 7])],
        weights,
    )
    content = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)
    onnx.save(content, tmp_path / "m.onnx")
    model, target = load_model(tmp_path / "m.onnx"), load_target("vta-aim")
    evaluator = prepare(model.graph, target, packaged=True)
    names = target.places.names
    placements = list(product(*evaluator.choices))
    used = Counter[str]()
    for at in random.permutation(len(placements))[:14]:
        placement = placements[at]
        used += Counter(names[place] for place in placement)
        built = compiled(model, evaluator, placement, target)
        require_agreement(built, evaluator, evaluator.evaluate(placement), str(placement))
        data = noise_samples(model.graph, 2)
        assert run_checked(built.executable, Simulator(built.executable), data)[1] is None
    assert {"cpu", "vta", "aim", "cpu:int8"} <= used.keys()


@pytest.mark.parametrize(
    ("operator", "options", "reason"),
    [
        ("LSTM", {"clip": 1.0}, "clipped or coupled"),
        ("LSTM", {"input_forget": 1}, "clipped or coupled"),
        ("GRU", {"activations": ["Sigmoid", "Relu"]}, "others than those of the standard"),
        ("LSTM", {"layout": 1}, "before its steps"),
    ],
)
def test_other_cells_are_refused_with_the_reason(
    operator: str, options: dict[str, Any], reason: str, tmp_path: Path
) -> None:
    onnx.save(cell_model(operator, **options), tmp_path / "m.onnx")
    _, refused = products(load_model(tmp_path / "m.onnx").graph)
    assert any(reason in item.reason for item in refused)
