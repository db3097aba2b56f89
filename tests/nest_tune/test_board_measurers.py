"""Measurers of users: found by entry point, checked, and asked by commands and studies."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import nest_tune as product
from compiler_core.errors import InputError
from compiler_core.plugins.registry import forget_parts
from nest_tune.board_measurers import MEASURERS, load_measurer
from nest_tune.runners.runner import Answer, Ending, kind_of
from nest_tune.study.running.classify import classify
from nest_tune.study.trial import Outcome

PLUGIN = '''
"""A board that takes a microsecond per byte of the package's programs."""

def measure(package):
    programs = sorted(package.glob("segments/*/launch-*/core-*/instructions.bin"))
    size = sum(path.stat().st_size for path in programs)
    assert size, "the package holds programs"
    return {"latency_ms": size * 1e-3, "energy_mj": size * 1e-4}

def nothing(package):
    return {}

def words(package):
    return {"latency_ms": "fast"}

def negative(package):
    return {"latency_ms": -1.0}

def other(package):
    return {"latency_ms": 1.0, "cycles": 3}

def number(package):
    return 1.0

def huge(package):
    return {"latency_ms": 10**5000}

def broken(package):
    raise OSError("no answer")

def leaving(package):
    raise SystemExit(4)

value = 3
'''


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A distribution with a measurer, installed into a folder as an installer does."""
    folder = tmp_path / "site"
    info = folder / "bytes_board-1.2.dist-info"
    info.mkdir(parents=True)
    (folder / "bytes_board.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bytes-board\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(
        "[nest_tune.measurers]\nbytes-board = bytes_board:measure\ngone = no_such_module:measure\n"
    )
    monkeypatch.syspath_prepend(folder)
    importlib.invalidate_caches()
    monkeypatch.delitem(sys.modules, "bytes_board", raising=False)
    forget_parts()
    yield folder
    forget_parts()


@pytest.mark.usefixtures("plugin")
def test_entry_points_are_found() -> None:
    assert {"bytes-board", "gone"} <= set(MEASURERS.names())
    found = load_measurer("bytes-board")
    assert found.identity == "bytes-board/1.2"
    assert load_measurer("bytes_board:measure").identity == "bytes_board:measure/"
    with pytest.raises(InputError, match="is not known; known are") as wrong:
        load_measurer("byte-board")
    assert wrong.value.hint == "did you mean 'bytes-board'?"


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gone", "no_such_module:measure cannot be loaded"),
        ("bytes_board:missing", "cannot be loaded"),
        ("bytes_board:value", "cannot be called"),
        (":measure", "cannot be loaded"),
    ],
)
def test_measurers_that_cannot_be_loaded(name: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_measurer(name)


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "returned no latency_ms"),
        ("words", "latency_ms is 'fast'; a number is needed"),
        ("negative", "latency_ms is -1.0; a finite number above 0"),
        ("huge", "latency_ms is an int too long to show; a number is needed"),
        ("broken", "^measurer 'bytes_board:broken': OSError: no answer"),
        ("leaving", "^measurer 'bytes_board:leaving': SystemExit: 4"),
        ("other", "returned 'cycles'; allowed are latency_ms, energy_mj"),
        ("number", "returned float; a mapping is needed"),
    ],
)
def test_what_is_no_measurement_is_refused(name: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_measurer(f"bytes_board:{name}").measure(tmp_path)


@pytest.mark.usefixtures("plugin")
def test_what_a_measurer_raises_is_no_fault_of_the_candidate(tmp_path: Path) -> None:
    with pytest.raises(InputError) as told:
        load_measurer("bytes_board:broken").measure(tmp_path)
    answer = Answer(0, Ending.ERROR, error=kind_of(told.value), message=told.value.message)
    assert classify(answer) is Outcome.RUNTIME


@pytest.mark.usefixtures("plugin")
def test_two_distributions_of_one_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "second" / "rival-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: rival\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[nest_tune.measurers]\nbytes-board = rival:measure\n")
    monkeypatch.syspath_prepend(tmp_path / "second")
    importlib.invalidate_caches()
    forget_parts()
    with pytest.raises(
        InputError,
        match=r"more than once: .* of bytes-board, .* of rival",
    ):
        load_measurer("bytes-board")


def test_study_and_commands_take_a_measurer(
    plugin: Path,
    repository: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    nest_tune: Callable[..., tuple[int, str, str]],
) -> None:
    """Trials have the board's numbers; those of their packages by the command are the same."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(plugin), str(repository)]))
    storage = f"sqlite:///{tmp_path}/studies.db"
    digits = repository / "examples" / "digits"
    study = product.Study.start(
        model=digits / "model.onnx",
        target="vta",
        calibration=digits / "calib.npz",
        measurer="bytes-board",
        spaces=["quantization", "partition"],
        sampler="random",
        trials=3,
        storage=storage,
        name="board",
    )
    assert [trial.outcome.value for trial in study.trials] == ["complete"] * 3
    assert study.result.study.document["digests"]["measurer"] == "bytes-board/1.2"
    best = study.best("min:latency_ms")
    made = study.compile(tmp_path / "package", best.number)
    code, out, _ = nest_tune("measure", tmp_path / "package", "--measurer", "bytes-board", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["schema"] == "nest-tune/measure/1"
    assert found["measured"]["latency_ms"] == best.metrics["latency_ms"]
    assert found["measured"]["energy_mj"] == best.metrics["energy_mj"]
    assert found["simulated"]["latency_ms"] == made.metrics.latency_ms
    assert best.metrics["latency_ms"] != made.metrics.latency_ms
    assert best.metrics["npu_cycles"] == made.metrics.npu_cycles
    code, _, err = nest_tune("measure", tmp_path / "package", "--measurer", "bytes_board:broken")
    assert code == 2
    assert "measurer 'bytes_board:broken': OSError: no answer" in err
    code, out, _ = nest_tune("measure", tmp_path / "package", "--measurer", "bytes-board")
    assert code == 0
    assert out.startswith("latency_ms")
    words = ["--model", digits / "model.onnx", "--target", "vta", "--storage", storage]
    words += ["--calibration", digits / "calib.npz", "--name", "board", "--if-exists", "resume"]
    words += ["--space", "quantization,partition", "--sampler", "random"]
    code, _, err = nest_tune("study", "start", *words)
    assert code == 2
    assert "measurer: 'bytes-board' -> ''" in err


def test_study_without_the_measurer_does_not_start(
    repository: Path, tmp_path: Path, nest_tune: Callable[..., tuple[int, str, str]]
) -> None:
    digits = repository / "examples" / "digits"
    words = ["study", "start", "--model", digits / "model.onnx", "--target", "vta"]
    words += ["--calibration", digits / "calib.npz", "--storage", f"sqlite:///{tmp_path}/s.db"]
    code, _, err = nest_tune(*words, "--measurer", "lost-board")
    assert code == 2
    assert "measurer 'lost-board' is not known; known are" in err


@pytest.mark.usefixtures("plugin")
@pytest.mark.parametrize(
    ("name", "message"),
    [("negative", "latency_ms is -1.0"), ("broken", "measurer 'bytes_board:broken': OSError: no")],
)
def test_a_dry_run_measures_once(
    repository: Path, nest_tune: Callable[..., tuple[int, str, str]], name: str, message: str
) -> None:
    digits = repository / "examples" / "digits"
    words = ["study", "start", "--model", digits / "model.onnx", "--target", "vta", "--dry-run"]
    words += ["--calibration", digits / "calib.npz", "--measurer"]
    code, _, err = nest_tune(*words, f"bytes_board:{name}")
    assert code == 2
    assert message in err
    assert nest_tune(*words, "bytes-board")[0] == 0


def test_measurer_in_a_study_file(tmp_path: Path) -> None:
    """The key stands in [target]: which machine runs the trials."""
    from nest_tune.study.request.resolve import resolve
    from nest_tune.study.request.study_request import StudyRequest

    file = tmp_path / "study.toml"
    file.write_text('[model]\npath = "m.onnx"\n[target]\nname = "vta"\nmeasurer = "lab"\n')
    assert resolve(file, StudyRequest(), {}).measurer == "lab"
    assert resolve(file, StudyRequest(measurer="desk"), {}).measurer == "desk"


def test_help_of_measure_is_light() -> None:
    program = (
        "import sys\nsys.argv = ['nest-tune', 'measure', '--help']\n"
        "from nest_tune.cli import main\n"
        "try:\n    main()\nexcept SystemExit:\n    print('numpy' in sys.modules)\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "False"
    assert "Example: nest-tune measure" in run.stdout
