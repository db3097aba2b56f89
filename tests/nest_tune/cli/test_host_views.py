"""What reports, explanations and workflows say of a study on this machine."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner

from compiler_core.compile.cpu_causes import unable_reasons
from compiler_core.compile.sources import load_model
from compiler_core.targets.load import load_target
from nest_tune.cli.app import app

Run = Callable[..., tuple[int, str, str]]

NETWORK = """<ir_version: 8, opset_import: ["" : 17]>
g (float[N,3,8,8] x) => (float[N,6] y) <float[8,3,3,3] w, float[8,6] v> {
    a = Conv<pads=[1,1,1,1]>(x, w) b = Relu(a) c = GlobalAveragePool(b) d = Flatten(c)
    e = MatMul(d, v) y = Softmax(e)
}"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of a network with an operator that no NPU runs."""
    made = tmp_path_factory.mktemp("views")
    draw = np.random.default_rng(0)
    model = onnx.parser.parse_model(NETWORK)
    for name, shape in (("w", (8, 3, 3, 3)), ("v", (8, 6))):
        model.graph.initializer.append(
            onnx.numpy_helper.from_array(draw.normal(size=shape).astype(np.float32), name)
        )
    onnx.save(model, made / "model.onnx")
    np.savez(made / "x.npz", x=draw.normal(size=(16, 3, 8, 8)).astype(np.float32))
    words = (
        "study", "start", "--model", made / "model.onnx", "--target", "host", "--name", "views",
        "--calibration", made / "x.npz", "--evaluation", made / "x.npz", "--trials", 2,
        "--sampler", "random", "--storage", f"sqlite:///{made}/study.db",
    )  # fmt: skip
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    assert "latency_ms: best" in done.stderr
    assert "bound" not in done.stderr
    return made


def test_units_that_the_target_lacks_have_no_reasons(folder: Path) -> None:
    """The same operator has one on a target with the unit."""
    graph = load_model(folder / "model.onnx").graph
    assert any("VTA" in text for text in unable_reasons(graph, load_target("vta")).values())
    assert unable_reasons(graph, load_target("host")) == {}


def test_explanations_and_reports_are_of_this_machine(run: Run, folder: Path) -> None:
    """Neither operators of the VTA nor bounds of programs are spoken of."""
    storage = ("--storage", f"sqlite:///{folder}/study.db")
    code, text, err = run("study", "explain", "views:1", *storage, "--json")
    assert code == 0, err
    found = json.loads(text)
    assert found["on_cpu"] == {}
    assert found["bound_ms"] == 0
    code, text, _ = run("study", "explain", "views:1", *storage)
    assert code == 0
    assert "changed back alone" in text
    assert run("study", "report", "views", *storage, "-o", folder / "report.html")[0] == 0
    page = (folder / "report.html").read_text()
    text += re.sub("<(style|script).*?</\\1>", "", page, flags=re.DOTALL)
    for word in ("VTA", "on the CPU:", "lower bound", "bound of trial"):
        assert word not in text, word


@pytest.mark.parametrize("service", ["github", "gitlab"])
def test_a_workflow_of_a_lock_by_the_clock_wants_a_runner(
    service: str, run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hosted ones compare nothing of it."""
    monkeypatch.chdir(folder)
    words = ("views:0", "-o", "best.toml", "--storage", "sqlite:///study.db")
    assert run("study", "export", *words)[0] == 0
    code, _, err = run("ci", "init", service, "best.toml", "--output", f"{service}.yml")
    assert code == 0, err
    assert "best.toml: measured by the clock" in err
    assert "a runner of your own" in err
