"""compile, run, profile for several cores, with and without a plan."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from compiler_core.targets.load import load_target
from compiler_core.units.vta.simulate.functional import execute

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cores")
    synthetic.write("residual", made)
    np.savez(made / "calib.npz", x=synthetic.samples("residual", 8, seed=1)["x"])
    np.savez(made / "x.npz", x=synthetic.samples("residual", 3, seed=2)["x"])
    return made


def compile_(run: Run, folder: Path, out: Path, *options: object) -> dict[str, object]:
    code, text, err = run(
        "compile", folder / "residual.onnx", "--calibration", folder / "calib.npz",
        "-o", out, "--json", *options,
    )  # fmt: skip
    assert code == 0, err
    return dict(json.loads(text))


@pytest.mark.parametrize("target", ["vta-x2", "vta-x4"])
def test_without_a_plan_layers_are_sliced(
    run: Run, folder: Path, tmp_path: Path, target: str
) -> None:
    out = tmp_path / "out"
    compile_(run, folder, out, "--target", target, "--launches", "apart")
    assert list(out.glob("segments/*/launch-*/core-1/instructions.bin"))
    code, text, _ = run(
        "run", out, "--inputs", folder / "x.npz", "--outputs", tmp_path / "y.npz", "--check",
        "--json", "--dump-launches", tmp_path / "dump",
    )  # fmt: skip
    assert code == 0
    assert json.loads(text)["bit_exact"] is True
    core = load_target(target).npu
    documents = sorted((tmp_path / "dump").glob("*.json"))
    programs = list(out.glob("segments/*/launch-*/core-*/instructions.bin"))
    assert len(documents) == len(programs)
    cores = set()
    for path in documents:
        stem = str(path).removesuffix(".json")
        instructions = np.fromfile(f"{stem}.insn.bin", np.uint8).reshape(-1, 16)
        memory = np.fromfile(f"{stem}.dram-before.bin", np.uint8)
        execute(instructions, core.geometry, memory)
        assert np.array_equal(memory, np.fromfile(f"{stem}.dram-after.bin", np.uint8))
        cores.add(json.loads(path.read_text())["core"])
    assert {0, 1} <= cores
    code, text, _ = run("profile", out, "--json", "--trace", tmp_path / "trace.json")
    units = {unit["unit"] for unit in json.loads(text)["units"]}
    assert {"vta0", "vta1"} <= units
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    names = {e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert {"cpu", "vta0 compute", "vta1 load"} <= names
    for table in ("layer", "unit", "instruction"):
        assert run("profile", out, "--by", table)[0] == 0


def test_axes_of_a_plan_are_those_of_the_package(run: Run, folder: Path, tmp_path: Path) -> None:
    model, target = folder / "residual.onnx", ("--target", "vta-x2")
    _, text, _ = run("plan", "show", model, *target, "--json")
    groups = [g["name"] for g in json.loads(text)["groups"] if g["operator"] == "Conv"]
    plan = tmp_path / "plan.toml"
    lines = [f'"{groups[0]}" = "vta-rows"', f'"{groups[1]}" = "vta-channels"']
    lines += [f'"{name}" = "vta1"' for name in groups[2:]]
    plan.write_text('schema = "nest-tune/plan/1"\ndefault = "vta"\n[units]\n' + "\n".join(lines))
    out = tmp_path / "out"
    made = compile_(run, folder, out, *target, "--plan", plan)
    _, text, _ = run("profile", out, "--json")
    units = {layer["name"]: layer["unit"] for layer in json.loads(text)["layers"]}
    assert units[groups[0]] == "vta-rows"
    assert units[groups[1]] == "vta-channels"
    assert all(units[name] == "vta1" for name in groups[2:] if name in units)
    _, text, _ = run("plan", "show", model, *target, "--plan", plan, "--json")
    metrics = made["metrics"]
    assert isinstance(metrics, dict)
    assert metrics["latency_ms"] == pytest.approx(json.loads(text)["latency_ms"], rel=0.02)
    code, _, _ = run(
        "run", out, "--inputs", folder / "x.npz", "--outputs", tmp_path / "y.npz", "--check"
    )
    assert code == 0
    again = tmp_path / "again"
    compile_(run, folder, again, *target, "--config", out / "config.toml")
    assert (again / "package.json").read_bytes() == (out / "package.json").read_bytes()


def test_plans_show_what_slicing_takes(run: Run, folder: Path) -> None:
    options = (folder / "residual.onnx", "--target")
    _, text, _ = run("plan", "show", *options, "vta-x2")
    assert "sliced ms" in text.splitlines()[0]
    groups = json.loads(run("plan", "show", *options, "vta-x2", "--json")[1])["groups"]
    times = [(group["sliced_ms"], group["vta_ms"]) for group in groups if group["vta_ms"]]
    assert any(sliced is not None and sliced < alone for sliced, alone in times)
    _, text, _ = run("plan", "show", *options, "vta")
    assert "sliced ms" not in text
    groups = json.loads(run("plan", "show", *options, "vta", "--json")[1])["groups"]
    assert {group["sliced_ms"] for group in groups} == {None}
