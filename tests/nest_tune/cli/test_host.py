"""Target host: packages, studies and plans measured by the clock, and what makes no sense there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import onnxruntime
import pytest

from compiler_core.clock import choices
from compiler_core.clock.choices import RuntimeChoices
from compiler_core.quantize.precisions import Static, precision_of
from nest_tune.api.formats import best_formats
from nest_tune.stores import measured_formats
from tests.rule_timer import RuleTimer

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(synthetic: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with calibration and evaluation data."""
    made = tmp_path_factory.mktemp("host")
    synthetic.write("residual", made)
    np.savez(made / "calib.npz", x=synthetic.samples("residual", 8, seed=1)["x"])
    inputs = synthetic.samples("residual", 12, seed=2)["x"]
    np.savez(made / "eval.npz", x=inputs, y=np.arange(12) % 3)
    return made


@pytest.fixture
def model(folder: Path) -> Path:
    return folder / "residual.onnx"


def test_float_package_runs_as_the_float_model(
    run: Run, model: Path, folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    code, text, _ = run("compile", model, "--target", "host", "-o", out, "--json")
    assert code == 0
    metrics = json.loads(text)["metrics"]
    clock = metrics["by_clock"]
    assert 0 < clock["low_ms"] <= metrics["latency_ms"] <= clock["high_ms"]
    assert clock["repeats"] >= 7
    assert len(clock["samples_ms"]) == clock["repeats"]
    assert clock["ratio_low"] <= clock["ratio"] == 1.0 <= clock["ratio_high"]  # it is the float one
    assert clock["machine"]["threads"] == 1
    assert metrics.keys() == {"latency_ms", "size_bytes", "by_clock"}  # what is not known is absent
    kept = json.loads((out / "package.json").read_text())["metrics"]
    assert kept.keys() == metrics.keys()

    code, text, _ = run(
        "run", out, "--inputs", folder / "eval.npz", "--outputs", tmp_path / "y.npz", "--json"
    )
    assert code == 0
    found = json.loads(text)
    assert found["deterministic"] is False
    assert not {"npu_cycles", "energy_mj"} & found.keys()
    code, text, _ = run(
        "evaluate", out, "--data", folder / "eval.npz", "--against", model, "--json"
    )
    assert code == 0
    assert json.loads(text)["agreement"] == 1.0
    _, text, _ = run("evaluate", out, "--data", folder / "eval.npz", "--against", model)
    assert "12 samples (onnxruntime)" in text

    code, text, _ = run("profile", out, "--json", "--trace", tmp_path / "trace.json")
    assert code == 0
    found = json.loads(text)
    assert found["deterministic"] is False
    parts = [layer["latency_ms"] for layer in found["layers"]]
    assert len(parts) > 2
    assert sum(parts) == pytest.approx(metrics["latency_ms"])
    for row in (*found["layers"], *found["units"], found["metrics"]):
        assert not {"energy_mj", "cycles", "npu_cycles", "bytes"} & row.keys()
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert sum(event["ph"] == "X" for event in events) == len(parts)
    for table in ("layer", "unit"):
        assert run("profile", out, "--by", table)[0] == 0


def test_integers_run_as_integer_kernels(
    run: Run, model: Path, folder: Path, tmp_path: Path
) -> None:
    config = tmp_path / "int8.toml"
    config.write_text(
        'schema = "nest-tune/config/1"\n[scheme.decisions]\ncpu_precision = "int8"\n'
        'scales = "asymmetric"\n'
    )
    options = ("--config", config, "--calibration", folder / "calib.npz")
    out = tmp_path / "out"
    code, _, err = run("compile", model, "--target", "host", *options, "-o", out)
    assert code == 0, err
    _, text, _ = run("profile", out, "--json")
    kernels = {layer["operator"] for layer in json.loads(text)["layers"]}
    assert "QLinearConv" in kernels


def test_a_study_searches_integers_per_layer(
    run: Run, model: Path, folder: Path, tmp_path: Path
) -> None:
    code, text, err = run(
        "study", "start", "--model", model, "--target", "host", "--name", "host", "--json",
        "--calibration", folder / "calib.npz", "--evaluation", folder / "eval.npz",
        "--trials", 4, "--sampler", "random", "--storage", f"sqlite:///{tmp_path}/study.db",
        "--objective", "latency_ms:min", "--objective", "accuracy:max",
        "--output", tmp_path / "best",
    )  # fmt: skip
    assert code == 0, err
    found = json.loads(text)
    assert found["trials"] == 4
    chosen = found["chosen"]
    low, high = chosen["intervals"]["latency_ms"]
    assert 0 < low <= chosen["metrics"]["latency_ms"] <= high
    assert not {"energy_mj", "npu_cycles", "dram_peak_bytes"} & chosen["metrics"].keys()
    assert set(found["within_noise"]) <= {"latency_ms"}
    page = tmp_path / "report.html"
    storage = f"sqlite:///{tmp_path}/study.db"
    code, _, err = run("study", "report", "host", "--storage", storage, "-o", page)
    assert code == 0, err
    text = re.sub("<style>.*?</style>", "", page.read_text(), flags=re.DOTALL)
    assert "by the clock on" in text
    for word in ("energy", "cycles", "program on the NPU", "simulated machine"):
        assert word not in text.partition("How to reproduce")[0], word
    assert (tmp_path / "best" / "package.json").is_file()


def test_what_makes_no_sense_on_the_host(
    run: Run, model: Path, folder: Path, tmp_path: Path
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('schema = "nest-tune/plan/1"\n')
    out = tmp_path / "out"
    for command in (
        ("task", "list", model),
        ("task", "tune", "conv2d-0123456789abcdef"),
        ("space", "show", model),
        ("plan", "check", model, "--plan", plan),
        ("compile", model, "--plan", plan, "-o", out),
    ):
        code, _, err = run(*command, "--target", "host")
        assert code == 2, command
        assert "target 'host' has no NPU" in err
    assert run("compile", model, "--target", "host", "-o", out)[0] == 0
    inputs = ("--inputs", folder / "eval.npz", "--outputs", tmp_path / "y.npz")
    for command in (
        ("run", out, *inputs, "--check"),
        ("run", out, *inputs, "--dump-launches", tmp_path / "dump"),
        ("profile", out, "--by", "instruction"),
    ):
        code, _, err = run(*command)
        assert code == 2, command
        assert "no NPU" in err
    config = tmp_path / "vta.toml"
    config.write_text('schema = "nest-tune/config/1"\n[plan]\nn_stem = "vta"\n')
    code, _, err = run(
        "compile", model, "--target", "host", "--config", config, "-o", tmp_path / "two",
        "--calibration", folder / "calib.npz",
    )  # fmt: skip
    assert code == 2
    assert "error:" in err


def test_plans_measure_the_host(run: Run, model: Path) -> None:
    for verb in ("show", "best"):
        code, text, _ = run("plan", verb, model, "--target", "host", "--json")
        found = json.loads(text)
        assert (code, found["deterministic"], found["target"]["name"]) == (0, False, "host")
        assert found["latency_low_ms"] <= found["latency_ms"] <= found["latency_high_ms"]


@pytest.fixture
def rule(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Times by a rule in place of the clock, and records of their own."""
    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measured_formats, "make_timer", lambda *_, **__: RuleTimer())


@pytest.mark.usefixtures("rule")
def test_compile_finds_number_formats(run: Run, model: Path, folder: Path, tmp_path: Path) -> None:
    options = ("--target", "host", "--calibration", folder / "calib.npz")
    out = tmp_path / "out"
    code, text, err = run("compile", model, *options, "-o", out, "--json")
    assert code == 0, err
    formats = json.loads(text)["formats"]
    assert {"float32", "int8 throughout"} < {plan["name"] for plan in formats["plans"]}
    chosen = {row["name"]: row["chosen"] for row in formats["operators"]}
    # Of forms that take the same the one with least noise, which is the machine's.
    assert isinstance(own := precision_of(f"cpu:{chosen['n_c1']}"), Static)
    assert own.weights
    assert all(row["why"] for row in formats["operators"])
    assert "0 known from records" in err
    for name in ("formats.json", "session.py", "model.qdq.onnx"):
        assert (out / name).is_file()
    session = onnxruntime.InferenceSession(
        out / "model.qdq.onnx", providers=["CPUExecutionProvider"]
    )
    data = np.load(folder / "eval.npz")["x"]
    (found,) = session.run(None, {"x": data})

    code, text, err = run("compile", model, *options, "-o", out)
    assert code == 0
    assert "\n0 times measured" in err
    assert "int8 throughout" in text
    code, text, _ = run("profile", out)
    assert code == 0
    assert "chosen" in text
    code, text, _ = run("profile", out, "--json")
    assert {
        row["name"]: row["chosen"] for row in json.loads(text)["formats"]["operators"]
    } == chosen

    outputs = tmp_path / "y.npz"
    assert run("run", out, "--inputs", folder / "eval.npz", "--outputs", outputs)[0] == 0
    np.testing.assert_allclose(np.load(outputs)["y"], found, atol=1e-5)


@pytest.mark.usefixtures("rule")
def test_a_plan_says_how_the_runtime_runs_it(
    run: Run, model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices = RuntimeChoices((1, 2), ("all", "basic"))
    monkeypatch.setattr(measured_formats, "choices_of", lambda _board: choices)
    best, calibration = tmp_path / "best.toml", folder / "calib.npz"
    options = ("--target", "host", "--calibration", calibration)
    code, text, err = run("plan", "best", model, *options, "--open-runtime", "-o", best, "--json")
    assert code == 0, err
    rows = json.loads(text)["runtimes"]
    assert {row["runtime"]["threads"] for row in rows} == {1, 2}
    assert {row["runtime"]["optimization"] for row in rows} == {"all", "basic"}
    assert "threads = 2" in best.read_text()
    code, text, _ = run("plan", "best", model, *options, "--config", best)
    assert code == 0
    assert "ways to run" not in text
    code, text, _ = run("plan", "best", model, *options, "--open-runtime")
    assert code == 0
    assert "ways to run" in text
    code, _, err = run("plan", "best", model, "--target", "host", "--open-runtime")
    assert code == 2
    assert "--open-runtime" in err


@pytest.mark.usefixtures("rule")
def test_a_plan_compiles_to_what_it_says(
    run: Run, model: Path, folder: Path, tmp_path: Path
) -> None:
    best, calibration = tmp_path / "best.toml", folder / "calib.npz"
    options = ("--target", "host", "--calibration", calibration)
    code, text, err = run("plan", "best", model, *options, "-o", best, "--json")
    assert code == 0, err
    found = json.loads(text)
    assert found["deterministic"] is False
    code, text, err = run("compile", model, *options, "--config", best, "-o", tmp_path / "one")
    assert code == 0, err
    assert "formats" not in text
    assert re.search(r'n_c1 = "cpu:[us]8[us]8[ct]"', (tmp_path / "one" / "config.toml").read_text())
    code, text, err = run(
        "plan", "best", model, "--target", "vta", "--calibration", calibration, "--json"
    )
    assert code == 0, err  # sizes that the model leaves open come from them
    assert "formats" not in json.loads(text)


@pytest.mark.usefixtures("rule")
def test_a_study_begins_with_the_optima_of_the_costs(
    run: Run, model: Path, folder: Path, tmp_path: Path
) -> None:
    storage = ("--storage", f"sqlite:///{tmp_path}/study.db")
    code, text, err = run(
        "study", "start", "--model", model, "--target", "host", "--name", "formats", "--json",
        "--calibration", folder / "calib.npz", "--evaluation", folder / "eval.npz",
        "--trials", 3, *storage,
    )  # fmt: skip
    assert code == 0, err
    lock = tmp_path / "best.toml"
    code, _, err = run("study", "export", "formats:1", "-o", lock, *storage)
    assert code == 0, err
    # By the rule all forms of integers take the same.
    assert 'n_c1 = "cpu:u8s8c"' in lock.read_text()
    package, page = tmp_path / "package", tmp_path / "report.html"
    code, text, err = run("compile", "--study", "formats:1", "-o", package, *storage)
    assert code == 0, err
    told = json.loads((package / "formats.json").read_text())
    assert (told["chosen"], told["plans"]) == ("trial 1", [])
    rows = {row["name"]: row for row in told["operators"]}
    assert rows["n_c1"]["chosen"] == "u8s8c"
    assert rows["n_c1"]["chosen_ms"] < rows["n_c1"]["float_ms"]
    _, text, _ = run("profile", package)
    assert "float ms" in text
    code, _, err = run("study", "report", "formats", "-o", page, *storage)
    assert code == 0, err
    assert "<h2>Number formats of trial" in page.read_text()
    code, text, err = run("study", "resume", "formats", "--trials", "+1", *storage, "--json")
    assert code == 0, err
    assert json.loads(text)["trials"] == 4
    code, text, err = run(
        "study", "start", "--model", model, "--target", "host", "--name", "again", "--json",
        "--calibration", folder / "calib.npz", "--evaluation", folder / "eval.npz",
        "--trials", 1, *storage,
    )  # fmt: skip
    assert code == 0, err
    (said,) = (text for text in json.loads(text)["warnings"] if "earlier" in text)
    assert said.startswith("the time of a trial is from earlier measurements")
    assert "from earlier measurements" in run("study", "best", "again", *storage)[1]


def test_a_plan_may_name_some_operators(
    run: Run, model: Path, folder: Path, tmp_path: Path
) -> None:
    config = tmp_path / "mixed.toml"
    config.write_text('schema = "nest-tune/config/1"\n[plan]\nn_y = "cpu:w8b16g"\n')
    options = ("--target", "host", "--config", config, "--calibration", folder / "calib.npz")
    code, _, err = run("compile", model, *options, "-o", tmp_path / "out")
    assert code == 0, err
    written = onnx.load(tmp_path / "out" / "model.qdq.onnx").graph.node
    assert [node.op_type for node in written].count("MatMulNBits") == 1
    config.write_text('schema = "nest-tune/config/1"\n[plan]\nn_y = "cpu:w9b16"\n')
    code, _, err = run("compile", model, *options, "-o", tmp_path / "out")
    assert code == 2
    assert "no number format of the CPU" in err


def test_a_configuration_says_how_the_runtime_runs_it(
    run: Run, model: Path, tmp_path: Path
) -> None:
    config, out = tmp_path / "runtime.toml", tmp_path / "out"
    table = '[runtime]\nthreads = 2\nspinning = false\noptimization = "extended"\n'
    config.write_text('schema = "nest-tune/config/1"\n' + table)
    code, text, err = run("compile", model, "--target", "host", "--config", config, "-o", out)
    assert code == 0, err
    assert "on 2 threads" in text
    assert "threads = 2" in (out / "config.toml").read_text()
    said = (out / "session.py").read_text()
    assert "intra_op_num_threads = 2" in said
    assert "ORT_ENABLE_EXTENDED" in said
    exec(compile(said, str(out / "session.py"), "exec"), {"__file__": str(out / "session.py")})


def test_sequences_are_timed_on_calibration_data(run: Run, tmp_path: Path) -> None:
    """Nothing can be made up for them, neither for a whole model nor for its operators."""
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        g (seq(float[1,16]) s, float[1,16] x) => (float[1,4] y)
        <float[16,4] w = {0}> {
            at = Constant <value = int64 {1}> ()
            a = SequenceAt(s, at)  b = Add(a, x)  y = MatMul(b, w)
        }"""
    )
    random = np.random.default_rng(0)
    weight = random.normal(size=(16, 4)).astype(np.float32)
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, tmp_path / "m.onnx")
    arrays = {f"s/{at}": random.normal(size=(1, 16)).astype(np.float32) for at in range(3)}
    arrays["x"] = random.normal(size=(1, 16)).astype(np.float32)
    calibration = tmp_path / "calib.npz"
    np.savez(calibration, **arrays)
    asked = ("compile", tmp_path / "m.onnx", "--target", "host", "-o", tmp_path / "out")
    code, _, told = run(*asked)
    assert code == 2
    assert "give --calibration" in told
    code, _, told = run(*asked, "--calibration", calibration)
    assert code == 0, told
    code, _, told = run(
        "run", tmp_path / "out", "--inputs", calibration, "--outputs", tmp_path / "y.npz"
    )
    assert code == 0, told


def test_boards_time_number_formats(
    model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def timer(*given: object) -> RuleTimer:
        asked.append(given[-1])
        return RuleTimer()

    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measured_formats, "make_timer", timer)
    board = "ssh://user@board.invalid"
    found = best_formats(model, folder / "calib.npz", target=board)
    assert asked == [board]
    assert found.target.name == board
    assert isinstance(precision_of(found.configuration.plan["n_c1"]), Static)


def test_costs_are_those_of_the_threads_that_are_asked_for(
    run: Run, model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a configuration, and of a study that is narrowed to one number of them; else of one."""
    asked = []

    def timer(*given: object) -> RuleTimer:
        asked.append(given[2])
        return RuleTimer()

    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measured_formats, "make_timer", timer)
    monkeypatch.setattr(choices, "possible_threads", lambda: (1, 2, 4))
    config, calibration = tmp_path / "two.toml", ("--calibration", folder / "calib.npz")
    config.write_text('schema = "nest-tune/config/1"\n[runtime]\nthreads = 2\n')
    host = ("--target", "host", *calibration)
    code, _, err = run("compile", model, *host, "--config", config, "-o", tmp_path / "out")
    assert code == 0, err
    assert "threads = 2" in (tmp_path / "out" / "config.toml").read_text()
    code, _, err = run("plan", "show", model, *host, "--config", config)
    assert code == 0, err
    storage = ("--storage", f"sqlite:///{tmp_path}/s.db")
    # The default is of one thread: where that is not admitted, another trial is.
    study = ("study", "start", "--model", model, *host, "--trials", "2", *storage)
    for values in (["runtime.threads=2"], ["runtime.threads=1,2"], []):
        code, _, err = run(*study, *(word for v in values for word in ("--value", v)))
        assert code == 0, err
    assert asked == [2, 2, 2, 1, 1]


def test_operators_are_shown_in_the_formats_of_a_plan(
    run: Run, model: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(measured_formats, "make_timer", lambda *_: RuleTimer())
    calibration, config = folder / "calib.npz", tmp_path / "best.toml"
    best_formats(model, calibration).write(config)
    asked = ("plan", "show", model, "--target", "host", "--calibration", calibration)
    code, text, told = run(*asked, "--json")
    assert code == 0, told
    floats = json.loads(text)
    assert floats["chosen"] == "float32"
    assert floats["expected_ms"] == floats["float_ms"]
    assert {row["chosen"] for row in floats["operators"]} == {"float32"}
    code, text, told = run(*asked, "--config", config, "--json")
    assert code == 0, told
    found = json.loads(text)
    assert found["expected_ms"] < found["float_ms"] == floats["float_ms"]
    rows = {row["name"]: row for row in found["operators"]}
    assert rows["n_c1"]["chosen"] != "float32"
    assert rows["n_c1"]["int8_ms"] < rows["n_c1"]["float_ms"]
    assert rows["n_c1"]["why"].startswith("float32 here: +")
    code, text, told = run(*asked, "--config", config)
    assert code == 0, told
    assert "float ms" in text
    assert "float32 throughout" in text
    config.write_text(config.read_text().replace("n_c1", "nowhere"))
    code, _, told = run(*asked, "--config", config)
    assert code == 2
    assert "no node 'nowhere'" in told
    code, _, told = run(*asked, "--plan", config)
    assert code == 2
    assert "--plan" in told
