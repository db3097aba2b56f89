"""``compile``, ``run``, ``evaluate``, ``profile`` and ``target`` for generated C."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from compiler_core.errors import InfeasibleError
from compiler_core.units.cpu.c.bundles.targets import check_fit, load_board
from nest_tune.api import bundle_ladder
from nest_tune.cli.app import app
from nest_tune.cli.file_kinds import FileKind, kind_of_file
from nest_tune.cli.mistaken import mistaken


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def package(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("board") / "package"
    digits = repository / "examples" / "digits"
    words = ["--target", "cortex-m4", "--calibration", digits / "calib.npz", "--json"]
    result = call("compile", digits / "model.onnx", *words, "-o", folder)
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["schema"] == "nest-tune/compile/1"
    assert document["metrics"]["ram_peak_bytes"] < 10_000
    assert document["quality"]["sqnr_db"] > 25
    assert "latency_ms" not in document["metrics"]
    return folder


def need(*commands: str) -> None:
    for command in commands:
        if shutil.which(command) is None:
            pytest.skip(f"{command} is not installed")


def test_errors_of_a_package_of_sources_are_its_own(package: Path, repository: Path) -> None:
    """A wrong option was told as the package being of another kind than its command takes."""
    data = repository / "examples" / "digits" / "eval.npz"
    for words in (("run", "--inputs"), ("evaluate", "--data")):
        arguments = [str(package), words[1], str(data), "--state", "a=b"]
        command = get_command(app)
        with command.make_context("nest-tune", [], resilient_parsing=True) as context:
            found = command.get_command(context, words[0])
        assert mistaken(found, [words[0]], arguments) is None
    (package / "config.toml").rename(package / "aside")
    assert kind_of_file(package) is FileKind.BUNDLE
    (package / "aside").rename(package / "config.toml")
    assert kind_of_file(package) is FileKind.PACKAGE


@pytest.mark.parametrize("on", [(), ("--on", "qemu")])
def test_run_is_bit_exact(
    on: tuple[str, ...], package: Path, repository: Path, tmp_path: Path
) -> None:
    need("cc", *(("arm-none-eabi-gcc", "qemu-system-arm") if on else ()))
    inputs = repository / "examples" / "digits" / "calib.npz"
    words = ["--inputs", inputs, "--outputs", tmp_path / "y.npz", "--check", *on]
    result = call("run", package, *words, "--json")
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["bit_exact"] is True
    assert document["on"] == ("cortex-m4" if on else "this machine")
    assert np.load(tmp_path / "y.npz")["logits"].shape == (64, 10)
    assert "bit-exact" in call("run", package, *words).stdout


def test_evaluate_gives_what_the_reference_gives(package: Path, repository: Path) -> None:
    need("cc")
    digits = repository / "examples" / "digits"
    words = ["--data", digits / "eval.npz", "--against", digits / "model.onnx", "--limit", "300"]
    results = [
        call("evaluate", package, *words, "--json", "--executor", executor)
        for executor in ("native", "reference")
    ]
    values = [json.loads(result.stdout) for result in results]
    assert values[0]["accuracy"] == values[1]["accuracy"] > 0.9
    assert values[0]["agreement"] > 0.95


def test_profile_counts_instructions(package: Path) -> None:
    need("arm-none-eabi-gcc", "qemu-system-arm")
    document = json.loads(call("profile", package, "--json").stdout)
    assert document["metrics"]["instructions"] == sum(
        layer["instructions"] for layer in document["layers"]
    )
    assert all("latency_ms" not in layer for layer in document["layers"])
    assert "they are not cycles" in call("profile", package).stdout


def test_profile_of_this_machine_is_by_the_clock(repository: Path, tmp_path: Path) -> None:
    need("cc")
    digits = repository / "examples" / "digits"
    words = ["--target", "c99", "--calibration", digits / "calib.npz", "-o", tmp_path / "p"]
    assert call("compile", digits / "model.onnx", *words).exit_code == 0
    document = json.loads(call("profile", tmp_path / "p", "--json").stdout)
    assert document["deterministic"] is False
    assert all(layer["latency_ms"] >= 0 for layer in document["layers"])
    assert "instructions" not in document["metrics"]


def test_a_configuration_compiles_again(package: Path, repository: Path, tmp_path: Path) -> None:
    model = repository / "examples" / "digits" / "model.onnx"
    config = package / "config.toml"
    result = call("compile", model, "--config", config, "-o", tmp_path / "again")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "again" / "model.c").read_bytes() == (package / "model.c").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ["run", "{package}", "--inputs", "{eval}", "--outputs", "y.npz", "--state", "a=b"],
            "--st",
        ),
        (["profile", "{package}", "--trace", "t.json"], "--trace"),
        (["profile", "{package}", "--by", "unit"], "--by"),
        (["evaluate", "{package}", "--data", "{eval}", "--executor", "simulator"], "native"),
        (["compile", "{model}", "--target", "c99", "--emit", "graph", "-o", "o"], "--emit"),
        (["compile", "{model}", "--target", "c99", "-o", "o"], "no calibration data"),
        (["task", "list", "{model}", "--target", "c99"], "cannot be tuned as tasks"),
    ],
)
def test_what_means_nothing_there_is_refused(
    words: list[str], said: str, package: Path, repository: Path, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    digits = repository / "examples" / "digits"
    monkeypatch.chdir(tmp_path)
    places = {"package": package, "eval": digits / "eval.npz", "model": digits / "model.onnx"}
    result = call(*(word.format(**places) for word in words))
    assert getattr(result.exception, "exit_code", None) == 2
    assert said in str(result.exception)


def test_targets_are_listed_and_shown() -> None:
    listed = json.loads(call("target", "list", "--json").stdout)["targets"]
    known = {target["name"]: target for target in listed}
    wanted = {"c99", "cortex-m4", "cortex-m7", "cortex-m33", "cortex-m55", "rv32imc"}
    assert wanted <= known.keys()
    assert all(known[name]["kinds"] == ["cpu"] for name in wanted)
    assert "ram_bytes" not in known["c99"]
    assert "768 KiB" in call("target", "show", "cortex-m33").stdout
    assert call("target", "check", "cortex-m7").exit_code == 0


def test_a_profile_by_the_clock_says_how_sure_it_is(repository: Path, tmp_path: Path) -> None:
    need("cc")
    digits = repository / "examples" / "digits"
    words = ["--target", "c99", "--calibration", digits / "calib.npz", "-o", tmp_path / "p"]
    assert call("compile", digits / "model.onnx", *words).exit_code == 0
    found = json.loads(call("profile", tmp_path / "p", "--json").stdout)
    low, high = found["intervals"]["latency_ms"]
    assert 0 < low <= found["metrics"]["latency_ms"] <= high
    assert found["deterministic"] is False
    assert isinstance(found["warnings"], list)
    for layer in found["layers"]:
        assert layer["interval_ms"][0] <= layer["latency_ms"] <= layer["interval_ms"][1]
    assert "latency_us" not in json.loads((tmp_path / "p" / "bundle.json").read_text())["report"]
    assert "95 % between" in call("profile", tmp_path / "p").stdout


def test_the_arena_is_drawn(repository: Path, tmp_path: Path) -> None:
    need("cc")
    digits = repository / "examples" / "digits"
    words = ["--target", "c99", "--calibration", digits / "calib.npz", "-o", tmp_path / "p"]
    assert call("compile", digits / "model.onnx", *words).exit_code == 0
    assert call("profile", tmp_path / "p", "--picture", tmp_path / "a.svg").exit_code == 0
    root = ElementTree.parse(tmp_path / "a.svg").getroot()
    boxes = [element for element in root.iter() if element.get("class") == "held"]
    report = json.loads((tmp_path / "p" / "bundle.json").read_text())["report"]
    tips = [box[0].text or "" for box in boxes]
    assert len(boxes) == len([use for use in report["arena"] if use["name"] != "scratch"]) > 3
    assert any(tip.startswith("stem_relu: ") for tip in tips)
    for use in report["arena"]:
        assert 0 <= use["first"] <= use["last"] < len(report["operators"])
        assert use["offset"] + use["size_bytes"] <= report["arena_bytes"]


def test_a_warning_names_options_of_the_command_that_has_them(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bad quality and a model that is too large: every option is one of the command it names."""
    digits = repository / "examples" / "digits"
    monkeypatch.setattr(bundle_ladder, "reason_against", lambda _: "SQNR 1.0 dB")
    words = ["--target", "cortex-m4", "--calibration", digits / "calib.npz"]
    said = [call("compile", digits / "model.onnx", *words, "-o", tmp_path / "package").stderr]
    assert "may be of no use" in said[0]
    board = load_board("cortex-m4")
    for flash, ram in ((1 << 40, 0), (0, 1 << 40)):
        with pytest.raises(InfeasibleError) as caught:
            check_fit(board, flash, ram)
        said.append(str(caught.value.hint))
    known = call("bundle", "--help").stdout
    for text in said:
        commands = re.findall(r"nest-tune bundle (--[a-z0-9-]+)", text)
        assert len(commands) == len(re.findall(r"--[a-z0-9-]+", text)) == 1
        assert commands[0] in known
