"""Workflows pass the published schema of their service, and their script runs the check."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compiler_core.configuration.lock import Lock
from compiler_core.errors import InputError
from compiler_core.targets.source_kinds import candidates_for
from nest_tune.ci import workflow_jobs
from nest_tune.ci.source_lock import SourceLock, lock_text
from nest_tune.ci.workflow_jobs import WorkflowJob
from nest_tune.ci.workflows import Service, workflow

Run = Callable[..., tuple[int, str, str]]

SCHEMAS = {"github": "vendor.github-workflows", "gitlab": "vendor.gitlab-ci"}
ODD = 'it\'s "odd" ; echo #1 {x}: [1] ü.toml'


def valid(path: Path, service: str) -> subprocess.CompletedProcess[str]:
    """Checks a file against the schema that the service publishes (bundled with the tool)."""
    pytest.importorskip("check_jsonschema", reason="check-jsonschema is not installed")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", SCHEMAS[service]]
    return subprocess.run([*command, str(path)], capture_output=True, text=True, check=False)


def read_yaml(path: Path) -> Any:
    ruamel = pytest.importorskip("ruamel.yaml", reason="check-jsonschema is not installed")
    return ruamel.YAML(typ="safe").load(path)


@pytest.fixture
def repository_of_locks(
    small_study: Any, nest_tune: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A working folder with a model, its data, and a lock file with an odd name."""
    monkeypatch.chdir(tmp_path)
    for path in (small_study.model, small_study.calibration, small_study.evaluation):
        shutil.copy(path, tmp_path / path.name)
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    lock = small_study.folder / "for-ci.toml"
    words = ("study", "export", "small:0", "-o", lock, "--storage", small_study.storage)
    code, _, errors = nest_tune(*words)
    assert code == 0, errors
    lines = [
        f'calibration = "{small_study.calibration.name}"' if x.startswith("calibration =") else x
        for x in lock.read_text().splitlines()
    ]
    (tmp_path / ODD).write_text("\n".join(lines) + "\n")
    return tmp_path


@pytest.mark.parametrize("service", ["github", "gitlab"])
def test_workflow_passes_the_schema_of_its_service(
    service: str, repository_of_locks: Path, nest_tune: Run
) -> None:
    code, output, errors = nest_tune("ci", "init", service, "--data", "eval.npz")
    assert code == 0, errors
    path = Service(service).path
    assert output.startswith(f"{path}: checks {ODD}\ncommit with it: git add {path} ")
    shown = valid(path, service)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    found = read_yaml(path)
    if service == "github":
        job = found["jobs"]["check"]
        assert job["strategy"]["matrix"]["include"] == [{"lock": ODD, "data": "eval.npz"}]
        assert job["env"]["LOCK"] == "${{ matrix.lock }}"
        assert found["permissions"] == {"contents": "read"}
        script = [step["run"] for step in job["steps"] if "run" in step][-1]
    else:
        job = found["nest-tune"]
        assert job["parallel"]["matrix"] == [{"LOCK": ODD, "DATA": "eval.npz"}]
        script = job["script"][-1]
    tool = repository_of_locks / "bin" / "nest-tune"
    tool.parent.mkdir()
    root = Path(__file__).parents[3]
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m nest_tune "$@"\n')
    tool.chmod(0o755)
    environment = {
        **os.environ,
        "PATH": f"{tool.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(root),
        "LOCK": ODD,
        "DATA": "eval.npz",
    }
    command = ["bash", "-euo", "pipefail", "-c", script]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    assert "numbers hold" in ran.stdout
    assert (repository_of_locks / "nest-tune.xml").exists()


def test_schema_refuses_what_is_no_workflow(tmp_path: Path) -> None:
    for service in SCHEMAS:
        path = tmp_path / f"{service}.yml"
        jobs = [WorkflowJob("a.toml")]
        text = workflow(Service(service), jobs, "nest-tune", "3.11")
        broken = text.replace("matrix:\n", "matrix: 1\n#", 1).replace("script:", "skript:")
        path.write_text(broken)
        assert valid(path, service).returncode != 0


@pytest.mark.usefixtures("repository_of_locks")
def test_file_that_is_there_stays_unless_forced(nest_tune: Run) -> None:
    path = Service.GITLAB.path
    path.write_text("mine: true\n")
    code, _, errors = nest_tune("ci", "init", "gitlab")
    assert code == 2
    assert "--force" in errors
    assert path.read_text() == "mine: true\n"
    code, _, errors = nest_tune("ci", "init", "gitlab", "-o", "other.yml", "--install", "nest>=1")
    assert code == 0
    assert "without its evaluation data" in errors
    assert 'REQUIREMENT: "nest>=1"' in Path("other.yml").read_text()
    assert nest_tune("ci", "init", "gitlab", "--force")[0] == 0
    assert "mine" not in path.read_text()


def test_nothing_to_check_is_an_error(
    nest_tune: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, errors = nest_tune("ci", "init", "github")
    assert code == 2
    assert "study export" in errors
    assert list(tmp_path.iterdir()) == []


def test_files_that_ci_cannot_see_are_named(
    repository_of_locks: Path, small_study: Any, nest_tune: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = repository_of_locks / "below"
    folder.mkdir()
    monkeypatch.chdir(folder)
    code, _, errors = nest_tune("ci", "init", "github", repository_of_locks / ODD)
    assert code == 2
    assert "root of the repository" in errors
    inside = folder / "best.toml"
    words = ("study", "export", "small:0", "-o", inside, "--storage", small_study.storage)
    assert nest_tune(*words)[0] == 0
    code, _, errors = nest_tune("ci", "init", "github", "best.toml")
    assert code == 0
    assert "lies outside the repository" in errors
    assert "by the clock" not in errors  # of locks of simulated numbers
    (folder / "other.npz").write_bytes(b"other")
    code, _, errors = nest_tune("ci", "init", "gitlab", "best.toml", "--data", "other.npz")
    assert code == 2
    assert "no lock file was measured on these data" in errors


@pytest.mark.parametrize("text", ["${{ secrets.TOKEN }}", "$(id)", "a\nb", " "])
def test_requirement_is_one_plain_line(text: str) -> None:
    with pytest.raises(InputError, match="--install"):
        workflow(Service.GITHUB, [WorkflowJob("best.toml")], text, "3.11")


def script_of(step: dict[str, Any], folder: Path, variables: dict[str, str]) -> str:
    """Runs a step as the service does; what it printed."""
    found = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        env={**os.environ, **variables},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    return found.stdout


def git(folder: Path, *words: str) -> None:
    names = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", *names, *words], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def commented(repository_of_locks: Path, nest_tune: Run) -> dict[str, Any]:
    """A workflow that comments, and the nest-tune that it finds on its path."""
    code, _, errors = nest_tune("ci", "init", "github", "--data", "eval.npz", "--comment")
    assert code == 0, errors
    shown = valid(Service.GITHUB.path, "github")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    found: dict[str, Any] = read_yaml(repository_of_locks / Service.GITHUB.path)
    return found


def test_a_pull_request_shows_what_changed_in_a_lock(
    repository_of_locks: Path, commented: dict[str, Any], tmp_path: Path
) -> None:
    folder, origin = repository_of_locks, tmp_path / "origin.git"
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ODD)
    git(folder, "commit", "-q", "-m", "a")
    git(folder, "init", "-q", "--bare", str(origin))
    git(folder, "remote", "add", "origin", str(origin))
    git(folder, "push", "-q", "origin", "main")
    lock = folder / ODD
    text = lock.read_text()
    assert "latency_ms = " in text
    lock.write_text(text.replace("latency_ms = ", "latency_ms = 9", 1))
    tool = folder / "bin" / "nest-tune"
    tool.parent.mkdir()
    tool.write_text(f'#!/bin/sh\nexec {sys.executable} -m nest_tune "$@"\n')
    tool.chmod(0o755)
    steps = commented["jobs"]["check"]["steps"]
    check = next(step for step in steps if "ci check" in step.get("run", ""))
    assert "--markdown nest-tune.md" in check["run"]
    step = next(step for step in steps if "ci diff" in step.get("run", ""))
    assert step["env"] == {"BASE": "${{ github.base_ref }}"}
    root = Path(__file__).parents[3]
    variables = {
        "PATH": f"{tool.parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(root),
        "LOCK": ODD,
        "BASE": "main",
        "RUNNER_TEMP": str(tmp_path),
    }
    script_of(step, folder, variables)
    assert "what changes" in (folder / "nest-tune.md").read_text()
    upload = next(step for step in steps if "upload-artifact" in step.get("uses", ""))
    assert "nest-tune.md" in upload["with"]["path"]


@pytest.mark.parametrize("known", ["", "17"])
def test_there_is_one_comment(commented: dict[str, Any], known: str, tmp_path: Path) -> None:
    job = commented["jobs"]["comment"]
    assert job["permissions"] == {"pull-requests": "write"}
    step = next(step for step in job["steps"] if "run" in step)
    folder = tmp_path / "runner"
    for index in range(2):
        (folder / f"nest-tune-{index}").mkdir(parents=True)
        (folder / f"nest-tune-{index}" / "nest-tune.md").write_text(f"result {index}\n")
    tool = folder / "gh"
    tool.write_text(
        '#!/bin/sh\nprintf "%s " "$@" >> calls; echo >> calls\n'
        f'case "$*" in *--jq*) printf "{known}" ;; esac\n'
    )
    tool.chmod(0o755)
    variables = {"PATH": f"{folder}:{os.environ['PATH']}", "MARK": step["env"]["MARK"]}
    variables |= {"ISSUES": "repos/a/b/issues", "NUMBER": "4", "GH_TOKEN": ""}
    script_of(step, folder, variables)
    assert (folder / "comment.md").read_text() == "<!-- nest-tune -->\nresult 0\nresult 1\n"
    written = (folder / "calls").read_text().splitlines()[-1]
    place = "repos/a/b/issues/comments/17" if known else "repos/a/b/issues/4/comments"
    assert place in written
    assert ("PATCH" in written) == bool(known)


@pytest.mark.parametrize("service", ["github", "gitlab"])
def test_locks_of_sources_are_checked_and_their_compilers_installed(
    service: str, nest_tune: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lock = Lock(model="model.onnx", target="cortex-m4", versions={"sources": "4; gcc 12; QEMU 7"})
    text = 'schema = "nest-tune/bundle-config/1"\nname = "m"\n'
    Path("best.toml").write_text(lock_text(text, SourceLock(lock, {"flash_bytes": 3})))
    code, output, errors = nest_tune("ci", "init", service)
    assert code == 0, errors
    assert "checks best.toml" in output
    assert "are those of gcc 12; QEMU 7; where the job's image has other versions" in errors
    path = Service(service).path
    shown = valid(path, service)
    assert shown.returncode == 0, shown.stdout + shown.stderr
    written = path.read_text()
    packages = candidates_for("cortex-m4").packages("cortex-m4")
    assert "gcc-arm-none-eabi" in packages
    assert f': "{packages}"' in written
    assert written.index("install --no-install-recommends $PACKAGES") < written.index("pip install")


def test_what_has_to_be_committed_is_told(
    repository_of_locks: Path, nest_tune: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workflow_jobs, "MOST_BYTES", 1000)
    code, output, errors = nest_tune("ci", "init", "github")
    assert code == 0, errors
    told = output.splitlines()[-1]
    assert told.startswith("commit with it: git add ")
    files = shlex.split(told)[5:]
    assert set(files) >= {
        str(Service.GITHUB.path),
        ODD,
        *(p.name for p in repository_of_locks.glob("*.onnx")),
    }
    assert all(Path(name).is_file() for name in files)
    assert "GitHub takes no file of more than 1,000: git lfs track" in errors
    _, _, errors = nest_tune("ci", "init", "gitlab")
    assert "git lfs" not in errors
