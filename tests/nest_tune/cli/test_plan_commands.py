"""plan show, check, best; profile-cpu; compile --plan: documents, files, bad input."""

from __future__ import annotations

import csv
import io
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from compiler_core.configuration.configuration import read_configuration
from tests import synthetic_models

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(synthetic.write("concat", tmp_path_factory.mktemp("plans")))


def test_best_plan_is_shown_written_and_read(run: Run, model: Path, tmp_path: Path) -> None:
    plan, svg, trace = (tmp_path / name for name in ("plan.toml", "plan.svg", "trace.json"))
    table = tmp_path / "plan.csv"
    files = ("-o", plan, "--svg", svg, "--trace", trace, "--csv", table)
    code, out, _ = run("plan", "best", model, "--target", "vta", *files, "--json")
    assert code == 0
    best = json.loads(out)
    assert next(iter(best)) == "schema"
    assert best["schema"] == "nest-tune/plan-best/1"
    assert {"all_cpu", "all_npu", "static_by_type", "partition_tuner"} <= set(best["baselines"])
    assert best["latency_ms"] <= min(best["baselines"].values())
    assert 0 <= best["optimality_gap"] <= 0.02
    assert best["bound_ms"] <= best["latency_ms"] <= best["sequential_ms"]
    assert best["critical_path"]
    picture = ElementTree.parse(svg).getroot()
    boxes = [e for e in picture.iter() if e.tag.endswith("rect")]
    assert len(boxes) == len(best["groups"])
    rows = list(csv.DictReader(io.StringIO(table.read_text())))
    assert {row["group"]: row["place"] for row in rows} == best["units"]
    assert max(float(row["end_ms"]) for row in rows) <= best["latency_ms"] + 1e-9
    for row, group in zip(rows, best["groups"], strict=True):
        assert float(row["cpu_ms"]) == pytest.approx(group["cpu_ms"], abs=1e-9)
        assert (row["vta_ms"] == "") == (group["vta_ms"] is None)
        assert row["why_not_vta"] == (group["vta_reason"] or "")
    events = json.loads(trace.read_text())["traceEvents"]
    slices = [event for event in events if event["ph"] == "X"]
    assert max(e["ts"] + e["dur"] for e in slices) == pytest.approx(
        best["latency_ms"] * 1e3, abs=2e-3
    )

    code, out, _ = run("plan", "show", model, "--target", "vta", "--plan", plan, "--json")
    shown = json.loads(out)
    assert (code, shown["latency_ms"]) == (0, best["latency_ms"])
    assert (shown["units"], shown["digest"]) == (best["units"], best["digest"])
    code, out, _ = run("plan", "check", model, "--target", "vta", "--plan", plan, "--json")
    checked = json.loads(out)
    assert (code, checked["ok"], checked["free"]) == (0, True, 0)

    code, _, err = run("plan", "show", model, "--target", "vta-pynq", "--plan", plan)
    assert code == 2
    assert "the plan is for target 'vta'" in err


def test_tables_for_people(run: Run, model: Path) -> None:
    code, out, _ = run("plan", "best", model, "--target", "vta")
    assert code == 0
    assert "partition_tuner" in out
    assert "critical" in out
    code, out, _ = run("plan", "show", model, "--target", "vta")
    assert code == 0
    assert "DRAM" in out


def test_pinned_nodes_stay(run: Run, model: Path, tmp_path: Path) -> None:
    _, out, _ = run("plan", "show", model, "--target", "vta", "--json")
    name = next(g["name"] for g in json.loads(out)["groups"] if g["vta_ms"])
    plan = tmp_path / "pins.toml"
    plan.write_text(f'schema = "nest-tune/plan/1"\n[units]\n"{name}" = "cpu"\n')
    code, out, _ = run("plan", "best", model, "--target", "vta", "--plan", plan, "--json")
    assert (code, json.loads(out)["units"][name]) == (0, "cpu")
    code, out, _ = run("plan", "check", model, "--target", "vta", "--plan", plan)
    assert code == 0
    assert "1 groups pinned" in out


def test_compile_takes_a_plan(run: Run, model: Path, tmp_path: Path, synthetic: ModuleType) -> None:
    import numpy as np

    np.savez(tmp_path / "calib.npz", x=synthetic.samples("concat", 4, seed=1)["x"])
    _, out, _ = run("plan", "show", model, "--target", "vta", "--json")
    names = [g["name"] for g in json.loads(out)["groups"]]
    plan = tmp_path / "cpu.toml"
    plan.write_text(
        f'schema = "nest-tune/plan/1"\ndefault = "vta"\n[units]\n"{names[0]}" = "cpu"\n'
    )
    options = ("--calibration", tmp_path / "calib.npz", "-o", tmp_path / "out", "--json")
    code, out, _ = run("compile", model, "--target", "vta", "--plan", plan, *options)
    assert code == 0
    made = json.loads(out)
    _, out, _ = run("plan", "show", model, "--target", "vta", "--plan", plan, "--json")
    assert made["metrics"]["launches"] == json.loads(out)["launches"]
    assert made["metrics"]["latency_ms"] == pytest.approx(json.loads(out)["latency_ms"], rel=0.01)


def test_wrong_plans(run: Run, synthetic: ModuleType, tmp_path: Path) -> None:
    model = Path(synthetic.write("float_only", tmp_path))
    _, out, _ = run("plan", "show", model, "--target", "vta", "--json")
    groups = json.loads(out)["groups"]
    name = groups[0]["name"]
    plan, fixed = tmp_path / "plan.toml", tmp_path / "fixed.toml"
    plan.write_text(f'schema = "nest-tune/plan/1"\n[units]\n"{name}" = "vta"\n')
    command = ("plan", "check", model, "--target", "vta", "--plan")
    code, out, err = run(*command, plan, "--fix", fixed, "--json")
    assert code == 2
    assert json.loads(out)["error"]["class"] == "IllegalPlanError"
    assert groups[0]["vta_reason"] in err
    assert run(*command, fixed)[0] == 0
    plan.write_text('schema = "nest-tune/plan/1"\n[units]\nnowhere = "vta"\n')
    code, _, err = run(*command, plan)
    assert code == 2
    assert "no node 'nowhere'" in err


def test_profile_of_this_cpu_is_a_cost_table(run: Run, model: Path, tmp_path: Path) -> None:
    table = tmp_path / "cpu.csv"
    quick = ("--repeats", "5", "--budget", "0")
    code, out, _ = run("profile-cpu", model, "-o", table, *quick, "--json")
    assert code == 0
    measured = json.loads(out)
    assert measured["deterministic"] is False
    assert measured["sum_ms"] > 0
    options = ("--target", "vta", "--cpu-table", table, "--json")
    code, out, _ = run("plan", "best", model, *options)
    assert code == 0
    best = json.loads(out)
    assert best["deterministic"] is False
    assert best["baselines"]["all_cpu"] == pytest.approx(measured["sum_ms"], abs=1e-4)
    table.write_text("\n".join(table.read_text().splitlines()[:-1]) + "\n")
    code, _, err = run("plan", "best", model, *options)
    assert code == 2
    assert "operators of the model are missing" in err
    code, out, _ = run("profile-cpu", model, *quick)
    assert code == 0
    assert "the whole model" in out


def test_a_target_names_its_cost_table(run: Run, model: Path, tmp_path: Path) -> None:
    from compiler_core.targets.load import load_target

    chip = tmp_path / "board.toml"
    chip.write_text(
        'schema = "nest-tune/target/1"\nname = "board"\ninherit = "vta"\n'
        '[cpu]\ncost_table = "cpu.csv"\n'
    )
    code, _, err = run("plan", "show", model, "--target", chip)
    assert code == 2
    assert "cpu.csv cannot be read" in err
    run("profile-cpu", model, "-o", tmp_path / "cpu.csv", "--repeats", "5", "--budget", "0")
    _, out, _ = run("plan", "show", model, "--target", chip, "--json")
    named = json.loads(out)
    options = ("--target", "vta", "--cpu-table", tmp_path / "cpu.csv", "--json")
    _, out, _ = run("plan", "show", model, *options)
    assert json.loads(out)["groups"] == named["groups"]
    assert named["deterministic"] is False
    first = load_target(chip).digest
    assert first != load_target("vta").digest
    (tmp_path / "cpu.csv").write_text((tmp_path / "cpu.csv").read_text() + "\n")
    assert load_target(chip).digest != first
    chip.write_text(chip.read_text().replace("cpu.csv", "../cpu.csv"))
    code, _, err = run("plan", "show", model, "--target", chip)
    assert code == 2
    assert "cost_table" in err


def test_packages_take_the_times_of_the_table_that_the_target_names(
    run: Run, model: Path, tmp_path: Path
) -> None:
    chip, table, plan = tmp_path / "board.toml", tmp_path / "cpu.csv", tmp_path / "cpu.toml"
    chip.write_text(
        'schema = "nest-tune/target/1"\nname = "board"\ninherit = "vta"\n'
        '[cpu]\ncost_table = "cpu.csv"\n'
    )
    plan.write_text('schema = "nest-tune/plan/1"\ndefault = "cpu"\n')
    run("profile-cpu", model, "-o", table, "--repeats", "5", "--budget", "0")
    options = (model, "--target", chip, "--plan", plan)
    promised = json.loads(run("plan", "show", *options, "--json")[1])["latency_ms"]
    out = tmp_path / "out"
    code, text, _ = run("compile", *options, "-o", out, "--json")
    assert code == 0
    assert json.loads(text)["metrics"]["latency_ms"] == pytest.approx(promised, rel=1e-9)
    code, text, _ = run("profile", out, "--json")
    assert code == 0
    assert sum(layer["latency_ms"] for layer in json.loads(text)["layers"]) == pytest.approx(
        promised, rel=1e-9
    )
    lines = table.read_text().splitlines()
    table.write_text("\n".join(lines[:-1]) + "\n")
    code, _, err = run("compile", *options, "-o", out)
    assert code == 2
    assert "operators of the model are missing" in err
    table.write_text("\n".join([lines[0], "Relu,Relu 1 -> 1,1,-5.0,-6.0,1.0,5"]) + "\n")
    code, _, err = run("target", "check", chip)
    assert code == 2
    assert "line 2: median_us = '-5.0'" in err


def test_host_is_measured_by_the_clock(run: Run, model: Path) -> None:
    code, out, _ = run("plan", "best", model, "--target", "host", "--json")
    found = json.loads(out)
    assert (code, found["deterministic"]) == (0, False)
    assert 0 < found["latency_low_ms"] <= found["latency_ms"] <= found["latency_high_ms"]
    assert set(found["units"].values()) == {"cpu"}
    code, out, _ = run("plan", "show", model, "--target", "host")
    assert code == 0
    assert "not deterministic" in out


@pytest.mark.parametrize("option", ["--output", "--svg", "--trace", "--plan"])
def test_host_has_no_plans_to_write_or_read(
    run: Run, model: Path, tmp_path: Path, option: str
) -> None:
    code, _, err = run("plan", "best", model, "--target", "host", option, tmp_path / "file")
    assert code == 2
    assert f"{option} {tmp_path / 'file'}: target 'host' has no NPU" in err
    assert not (tmp_path / "file").exists()


def branches(folder: Path) -> tuple[Path, Path]:
    """A model of two branches, of which one goes on to the NPU, and data for it."""
    b = synthetic_models.Builder(3)
    b.add("Softplus", ["x"], "s")
    b.add("Tanh", ["x"], "t")
    b.conv("s", "a", (64, 16, 3, 3))
    b.add("Concat", ["a", "t"], "y", axis=1)
    model, data = folder / "branches.onnx", folder / "data.npz"
    model.write_bytes(b.model({"x": [1, 16, 12, 12]}, {"y": [1, 80, 12, 12]}))
    np.savez(data, x=np.random.default_rng(0).normal(size=(4, 16, 12, 12)).astype("f4"))
    return model, data


def test_a_package_holds_the_order_of_its_plan(run: Run, tmp_path: Path) -> None:
    """Which of two branches begins first on the CPU says when the NPU gets its work."""
    model, data = branches(tmp_path)
    plan, found = tmp_path / "plan.toml", []
    for order in (["n_s", "n_a", "n_t"], ["n_t", "n_s", "n_a"]):
        plan.write_text(
            f'schema = "nest-tune/plan/1"\norder = {json.dumps(order)}\n[units]\nn_a = "vta"\n'
        )
        target = ("--target", "vta", "--plan", plan)
        shown = json.loads(run("plan", "show", model, *target, "--json")[1])
        package = tmp_path / order[0]
        options = (*target, "--calibration", data, "-o", package, "--json")
        made = json.loads(run("compile", model, *options)[1])["metrics"]
        assert made["latency_ms"] == pytest.approx(shown["latency_ms"], rel=1e-3)
        assert read_configuration(package / "config.toml").order[: len(order)] == tuple(order)
        again = tmp_path / f"again-{order[0]}"
        code, _, _ = run(
            "compile", model, "--target", "vta", "--config", package / "config.toml", "-o", again
        )
        assert code == 0
        assert (again / "report.json").read_bytes() == (package / "report.json").read_bytes()
        found.append((made["latency_ms"], (package / "report.json").read_bytes()))
    assert found[0][0] < found[1][0]
    assert found[0][1] != found[1][1]


def test_an_order_of_unknown_nodes_is_refused(run: Run, tmp_path: Path) -> None:
    package, config = tmp_path / "out", tmp_path / "config.toml"
    model, data = branches(tmp_path)
    options = ("--target", "vta", "--calibration", data, "-o", package)
    assert run("compile", model, *options)[0] == 0
    text = (package / "config.toml").read_text()
    for order in ('["nothing"]', "[1]", '"n"'):
        config.write_text(text.replace("\n[model]", f"order = {order}\n[model]", 1))
        options = ("--target", "vta", "--config", config, "-o", package)
        code, _, err = run("compile", model, *options)
        assert code == 2
        assert "order" in err
