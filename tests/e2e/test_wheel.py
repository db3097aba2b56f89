"""The wheel alone is enough: targets, templates and style sheets are inside, commands run."""

from __future__ import annotations

import os
import site
import subprocess
import sys
import sysconfig
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("nest_tune", "search_spaces", "cost_models", "compiler_core")


def run(*command: object, cwd: Path, **variables: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "NEST_TUNE"))}
    done = subprocess.run(
        [str(word) for word in command],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment | variables,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy of what git holds, so that nothing that lies about gets in."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    listed = run("git", "ls-files", "-z", cwd=ROOT).split("\0")
    for name in filter(None, listed):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    isolation = ["--no-build-isolation"] if find_spec("hatchling") else []
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--quiet", "--no-deps", *isolation, "-w", folder, source, cwd=folder)
    (built,) = folder.glob("nest_tune-*.whl")
    return built


def test_wheel_holds_all_that_is_no_python(wheel: Path) -> None:
    """Every file of the four packages in git, and nothing beside them and the metadata."""
    tracked = set(filter(None, run("git", "ls-files", "-z", *PACKAGES, cwd=ROOT).split("\0")))
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    ours = {name for name in names if not name.split("/")[0].endswith(".dist-info")}
    assert {name for name in tracked if (ROOT / name).is_file()} == ours
    assert "nest_tune/report/report.html.j2" in ours
    assert "nest_tune/report/report.css" in ours
    assert {f"{package}/py.typed" for package in PACKAGES} <= ours
    targets = {name for name in ours if name.endswith(".toml")}
    assert any(name.endswith("/vta-x4.toml") for name in targets), targets
    licenses = {Path(name).name for name in names - ours if "/licenses/" in name}
    assert licenses == {"LICENSE", "NOTICE"}


def test_installed_wheel_works_from_an_empty_folder(wheel: Path, tmp_path: Path) -> None:
    """In an environment that has its dependencies and nothing of the repository."""
    environment = tmp_path / "environment"
    run(sys.executable, "-m", "venv", environment, cwd=tmp_path)
    python = environment / "bin" / "python"
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=tmp_path)
    # After its own folder the environment looks where the dependencies of this one lie; what an
    # editable installation there adds to the path is left out, for .pth files are not read.
    own = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))",
                   cwd=tmp_path).strip())  # fmt: skip
    purelib = Path(sysconfig.get_path("purelib"))
    folders = dict.fromkeys([purelib, Path(sysconfig.get_path("platlib")),
                             *map(Path, site.getsitepackages())])  # fmt: skip
    (own / "dependencies.pth").write_text("".join(f"{folder}\n" for folder in folders))
    empty = tmp_path / "empty"
    empty.mkdir()
    where = run(python, "-c", "import compiler_core, nest_tune; print(nest_tune.__file__)",
                cwd=empty)  # fmt: skip
    assert Path(where.strip()).is_relative_to(own)
    nest_tune = environment / "bin" / "nest-tune"
    variables = {"NEST_TUNE_CACHE": str(tmp_path / "cache")}
    doctor = run(nest_tune, "doctor", cwd=empty, **variables)
    assert "bit-exact" in doctor
    digits = ROOT / "examples" / "digits"
    command = ["compile", digits / "model.onnx", "--target", "vta", "-o", "package"]
    run(nest_tune, *command, "--calibration", digits / "calib.npz", cwd=empty, **variables)
    command = ["run", "package", "--inputs", digits / "calib.npz", "--outputs", "y.npz", "--check"]
    assert "bit-exact" in run(nest_tune, *command, cwd=empty, **variables)
    storage = {"NEST_TUNE_STORAGE": f"sqlite:///{tmp_path}/studies.db"}
    command = ["study", "start", digits / "study.toml", "--space", "quantization", "--sampler",
               "random", "--trials", 2]  # fmt: skip
    run(nest_tune, *command, cwd=empty, **variables, **storage)
    run(nest_tune, "study", "report", "digits", "-o", "r.html", cwd=empty, **variables, **storage)
    page = (empty / "r.html").read_text()
    assert "--page: #" in page, "the style sheet is in the page"
    assert sorted(path.name for path in empty.iterdir()) == ["package", "r.html", "y.npz"]
