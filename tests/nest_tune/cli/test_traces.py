"""Every trace that a command writes arrives whole in Perfetto, by the rules of its importer."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnx
import pytest

from tests.compiler_core.units.aim.small_models import dense_model

Run = Callable[..., tuple[int, str, str]]

WAITS = {"wait: token", "wait: fetch", "wait: port", "wait: queue full"}


@pytest.fixture(scope="module")
def importer(repository: Path) -> ModuleType:
    """``tests/trace_importer.py``."""
    spec = importlib.util.spec_from_file_location(
        "trace_importer", repository / "tests" / "trace_importer.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def imported(importer: ModuleType, path: Path) -> list[Any]:
    """The slices of a trace, none of which may be lost, moved or shortened."""
    content = path.read_bytes()
    slices, problems = importer.import_trace(content)
    assert problems == []
    written = [e for e in json.loads(content)["traceEvents"] if e["ph"] == "X"]
    assert len(slices) == len(written) > 0
    # What viewers do not read is not written.
    assert {key for event in written for key in event} <= {
        "ph", "pid", "tid", "name", "cat", "ts", "dur", "args",
    }  # fmt: skip
    assert all(item.start_ns >= 0 and item.category for item in slices)
    assert {item.name for item in slices if item.category == "stall"} <= WAITS
    found: list[Any] = slices
    return found


@pytest.mark.parametrize("name", ["conv3_16x28_to32_0", "queue_full", "fetch_bound", "finish_only"])
@pytest.mark.parametrize("target", ["vta", "vta-ultra96"])
def test_of_simulate(
    run: Run, importer: ModuleType, vta_vectors: Path, tmp_path: Path, name: str, target: str
) -> None:
    trace = tmp_path / "t.json"
    program = vta_vectors / f"{name}.npz"
    code, text, err = run(
        "simulate", program, "--target", target, "--profile", "rtl2020", "--trace", trace, "--json"
    )
    assert code == 0, err
    slices = imported(importer, trace)
    assert {item.track for item in slices} <= {"fetch", "load", "compute", "store"}
    found = json.loads(text)
    end = max(item.start_ns + item.duration_ns for item in slices)
    assert end == pytest.approx(found["cycles"] * 1e9 / found["clock_hz"], abs=1)


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("residual", "vta"),
        ("mixed", "vta-ultra96"),
        ("depthwise", "vta-x2"),
        ("concat", "vta-x4"),
        ("residual", "vta-x4-128"),
        ("mixed", "vta-x2"),
    ],
)
@pytest.mark.parametrize("planned", [False, True], ids=["default", "planned"])
def test_of_profile(
    run: Run,
    importer: ModuleType,
    synthetic: ModuleType,
    tmp_path: Path,
    name: str,
    target: str,
    planned: bool,
) -> None:
    model = synthetic.write(name, tmp_path)
    np.savez(tmp_path / "calib.npz", **synthetic.samples(name, 4, seed=1))
    words = ["compile", model, "--target", target, "--calibration", tmp_path / "calib.npz"]
    if planned:
        plan = tmp_path / "plan.toml"
        assert run("plan", "best", model, "--target", target, "-o", plan)[0] == 0
        words += ["--plan", plan]
    code, _, err = run(*words, "-o", tmp_path / "out")
    assert code == 0, err
    trace = tmp_path / "t.json"
    code, text, err = run("profile", tmp_path / "out", "--trace", trace, "--json")
    assert code == 0, err
    slices = imported(importer, trace)
    latency_ms = json.loads(text)["metrics"]["latency_ms"]
    end = max(item.start_ns + item.duration_ns for item in slices)
    assert end == pytest.approx(latency_ms * 1e6, abs=1000)
    layers = {layer["name"] for layer in json.loads(text)["layers"] if layer["unit"] != "cpu"}
    assert {s.arguments["layer"] for s in slices if "layer" in s.arguments} == layers


@pytest.mark.parametrize("target", ["vta", "vta-x2", "vta-x4"])
def test_of_a_plan(
    run: Run, importer: ModuleType, synthetic: ModuleType, tmp_path: Path, target: str
) -> None:
    model = synthetic.write("concat", tmp_path)
    trace = tmp_path / "t.json"
    code, text, err = run("plan", "best", model, "--target", target, "--trace", trace, "--json")
    assert code == 0, err
    best = json.loads(text)
    slices = imported(importer, trace)
    path = [item for item in slices if item.track == "critical path"]
    # The critical path has no gap and lasts as long as the run.
    assert [item.start_ns for item in path[1:]] == [
        item.start_ns + item.duration_ns for item in path[:-1]
    ]
    assert path[0].start_ns == 0
    end = path[-1].start_ns + path[-1].duration_ns
    assert end == pytest.approx(best["latency_ms"] * 1e6, abs=1)
    assert max(item.start_ns + item.duration_ns for item in slices) == end
    critical = {
        item.name.removeprefix("launch ") for item in slices if item.arguments.get("critical")
    }
    assert critical <= {item.name for item in path}


def test_importer_drops_what_the_trace_processor_drops(importer: ModuleType) -> None:
    def events(*spans: tuple[float, float]) -> bytes:
        name = {"ph": "M", "pid": 1, "tid": 1, "name": "thread_name", "args": {"name": "cpu"}}
        parts = [
            {"ph": "X", "pid": 1, "tid": 1, "name": "s", "cat": "c", "ts": ts, "dur": dur}
            for ts, dur in spans
        ]
        return json.dumps({"traceEvents": [name, *parts]}).encode()

    def depths(*spans: tuple[float, float]) -> list[int]:
        return [item.depth for item in importer.import_trace(events(*spans))[0]]

    assert depths((0, 2), (2, 1)) == [0, 0]
    assert depths((0, 2), (1, 1)) == [0, 1]
    assert depths((0, 2), (1, 1.001)) == [0]  # a nanosecond too long
    assert depths((0, 1), (0, 2)) == [0]  # the outer one has to come first
    assert depths((0, 0), (0, 0)) == [0, 1]
    nameless = events((0, 1)).replace(b"thread_name", b"other_name")
    assert importer.import_trace(nameless)[1]
    with pytest.raises(ValueError, match="first character"):
        importer.import_trace(b"ts,dur")


def test_of_channels(run: Run, importer: ModuleType, tmp_path: Path) -> None:
    model = tmp_path / "m.onnx"
    onnx.save(dense_model((80, 600, 40)), model)
    code, _, err = run("compile", model, "--target", "aim-gddr6", "-o", tmp_path / "out")
    assert code == 0, err
    trace = tmp_path / "t.json"
    code, text, err = run("profile", tmp_path / "out", "--trace", trace, "--json")
    assert code == 0, err
    slices = imported(importer, trace)
    assert {f"channel {number}" for number in range(32)} | {"cpu"} == {s.track for s in slices}
    computing = [s for s in slices if s.name == "MAC16"]
    assert {s.arguments["layer"] for s in computing} == {"n0", "n1"}
    layers = {layer["name"]: layer for layer in json.loads(text)["layers"]}
    # 600 outputs are two passes of all banks, 40 are 3 channels; 80 inputs are 5 columns, 600 38.
    assert len(computing) == 2 * 32 * 5 + 3 * 38
    for name in ("n0", "n1"):
        assert layers[name]["energy_mj"] > 0
        own = [s for s in slices if s.arguments.get("layer") == name]
        spent = max(s.start_ns + s.duration_ns for s in own) - min(s.start_ns for s in own)
        assert spent <= layers[name]["cycles"] * 0.5 + 1
