"""Plans that may use processing in memory: it takes what pays, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from compiler_core.compile.sources import load_model
from compiler_core.partition.best import find_best
from compiler_core.partition.build_costs import build_costs
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.groups import build_groups
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.units.aim.launches import LAUNCHES
from compiler_core.units.aim.lower.measure import measure
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.schedule.default import default_schedule
from compiler_core.units.aim.schedule.workload import ElementProduct, MatrixVector
from compiler_core.units.aim.ways import BFLOAT16, WAYS
from compiler_core.units.cpu.cost_table import target_costs
from tests.compiler_core.units.aim.small_models import dense_model, lstm_model

MACHINE = AimMachine()


def _planned(model: Any, target: str, folder: Path) -> dict[str, str]:
    path = folder / "m.onnx"
    onnx.save(model, path)
    chip, graph = load_target(target), load_model(path).graph
    groups = build_groups(graph, target_arithmetic(chip))
    costs = build_costs(groups, chip, target_costs(chip, graph))
    best = find_best(Evaluator(groups, costs))
    places = [chip.places.names[place] for place in best.optimum.placement]
    return {group.name: place for group, place in zip(groups.groups, places, strict=True)}


@pytest.mark.parametrize("target", ["aim-gddr6", "vta-aim"])
def test_small_layers_do_not_pay(target: str, tmp_path: Path) -> None:
    found = _planned(dense_model((64, 128, 256, 64, 12)), target, tmp_path)
    assert set(found.values()) == {"cpu"}


@pytest.mark.parametrize("target", ["aim-gddr6", "vta-aim"])
def test_large_layers_and_cells_do(target: str, tmp_path: Path) -> None:
    found = _planned(lstm_model(512, 4000), target, tmp_path)
    assert {found[name] for name in ("cell", "words")} == {"aim"}
    found = _planned(lstm_model(512, 4000, steps=1), target, tmp_path)
    products = [name for name, place in found.items() if place == "aim"]
    assert [name.split("/")[0] for name in products] == ["cell", "words"]
    found = _planned(dense_model((1024, 4096, 1024)), target, tmp_path)
    assert set(found.values()) == {"aim"}


def test_plans_charge_more_than_cycles() -> None:
    w = MatrixVector(1000, 2048, bias=True)
    launch = LAUNCHES.alone(w, {}, MACHINE, "n")
    cost = measure(w, default_schedule(w, MACHINE), MACHINE)
    assert launch.cycles == cost.cycles
    beside = (
        cost.modules["cpu"]["registers_in_blocks"] + cost.modules["cpu"]["registers_out_blocks"]
    )
    extra = beside - 128 - 63
    assert extra > 0
    assert launch.run_ps == (cost.cycles + extra) * 500
    assert (launch.read_ppm, launch.write_ppm) == (1_000_000, 1_000_000)
    assert LAUNCHES.alone(ElementProduct(100), {}, MACHINE, "n").run_ps > 0


def test_forms() -> None:
    assert WAYS.formats(MACHINE) == (BFLOAT16,)
    form = WAYS.form((2, 40, 3, 1), BFLOAT16, MACHINE)
    assert form.bytes == 15 * 32
    assert np.isclose(form.extra_s, 15 * 0.5e-9)


def test_clamps_that_are_no_relu_stay_on_the_cpu(tmp_path: Path) -> None:
    model = dense_model((1024, 4096, 1024))
    limits = {"low": 0.0, "high": 6.0}
    (relu,) = [node for node in model.graph.node if node.op_type == "Relu"]
    relu.op_type = "Clip"
    relu.input.extend(limits)
    model.graph.initializer.extend(
        onnx.numpy_helper.from_array(np.float32(value), name) for name, value in limits.items()
    )
    found = _planned(model, "aim-gddr6", tmp_path)
    assert sorted(found.values()) == ["aim", "cpu"]
