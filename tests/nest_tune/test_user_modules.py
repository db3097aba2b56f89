"""Functions of the working folder are found, by the driver and its workers, without PYTHONPATH."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nest_tune.user_modules import load_named, module_files


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p not in ("", str(tmp_path))])
    return tmp_path


def test_a_module_of_the_working_folder_is_found(folder: Path) -> None:
    (folder / "of_this_folder.py").write_text("class A:\n    b = 7\n")
    assert load_named("of_this_folder:A.b") == 7
    assert module_files(["of_this_folder:A", "top1", "json:loads"]) == (
        str(folder / "of_this_folder.py"),
    )
    for name, error in (
        ("of_no_folder:x", ImportError),
        ("of_this_folder:C", AttributeError),
        ("of_this_folder", ValueError),
        (":x", ValueError),
    ):
        with pytest.raises(error):
            load_named(name)


def test_nothing_stands_in_for_what_is_installed(folder: Path) -> None:
    (folder / "json.py").write_text("loads = 'not this one'\n")
    (folder / "colorsys.py").write_text("hsv_to_rgb = 'not this one'\n")
    assert callable(load_named("json:loads"))
    assert callable(load_named("colorsys:hsv_to_rgb"))


def test_metric_and_measurer_of_a_study_lie_in_the_working_folder(
    repository: Path, tmp_path: Path
) -> None:
    """As a user calls it: a command of its own, workers of their own."""
    (tmp_path / "mine.py").write_text(
        "def margin(outputs, labels):\n    return float(len(labels))\n"
        "def board(package):\n    return {'latency_ms': 0.25}\n"
    )
    digits = repository / "examples" / "digits"
    words = ["study", "start", "--model", digits / "model.onnx", "--target", "vta"]
    words += ["--calibration", digits / "calib.npz", "--evaluation", digits / "eval.npz"]
    words += ["--metric", "mine:margin", "--measurer", "mine:board", "--space", "partition"]
    words += ["--trials", "2", "--jobs", "2", "--sampler", "random", "--json"]
    words += ["--holdout", "0"]
    program = f"import sys; sys.path[0] = {str(repository)!r}\n" + (
        "from nest_tune.__main__ import main\nif __name__ == '__main__':\n    sys.exit(main())\n"
    )
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "nest-tune").write_text(program)
    environment = {n: v for n, v in os.environ.items() if n != "PYTHONPATH"}
    environment |= {"NEST_TUNE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, tmp_path / "bin" / "nest-tune", *map(str, words)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert '"latency_ms": 0.25' in done.stdout
    assert '"accuracy": 600.0' in done.stdout
