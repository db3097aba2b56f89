"""Closed, full and broken standard streams: nothing breaks off, the loss of results is told."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from nest_tune.cli import output

TOLD = "for number in range(2000): print('x' * 100, file=sys.stderr)"
"""More to standard error than a pipe holds, and what follows still happens."""


def shell(redirection: str, program: str, folder: Path, root: Path) -> tuple[int, str, str]:
    """Runs a command line whose work is ``program``; it writes the file ``done`` at its end."""
    (folder / "work.py").write_text(
        "import sys\n"
        "import compiler_core.targets.load as load\n"
        "from nest_tune.cli import main\n"
        "def work(name):\n"
        f"    {program}\n"
        "    open('done', 'w').close()\n"
        "    raise load.InputError('nothing more')\n"
        "load.load_description = work\n"
        "sys.argv = ['nest-tune', 'target', 'show', 'vta']\n"
        "main()\n"
    )
    done = subprocess.run(
        ["bash", "-c", f"{shlex.quote(sys.executable)} work.py {redirection}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("redirection", ["2>&-", "2> >(true)", "2>/dev/full", "0<&- 1>&- 2>&-"])
def test_what_cannot_be_told_ends_nothing(
    redirection: str, tmp_path: Path, repository: Path
) -> None:
    code, out, err = shell(redirection, TOLD, tmp_path, repository)
    assert (tmp_path / "done").exists()
    assert code == 2
    assert "Traceback" not in out + err


@pytest.mark.parametrize(
    ("redirection", "said"),
    [
        (">&-", "standard output cannot be written: it is closed"),
        (">/dev/full", "standard output cannot be written: No space left on device"),
        ("> >(exit)", ""),
    ],
)
def test_results_that_nobody_gets_are_a_failure(
    redirection: str, said: str, tmp_path: Path, repository: Path
) -> None:
    program = "print('x' * 200_000); sys.stdout.flush()"
    code, _, err = shell(redirection, program, tmp_path, repository)
    assert code == 2  # what the work ended with goes first
    assert (tmp_path / "done").exists()
    assert said in err
    environment = {**os.environ, "PYTHONPATH": str(repository)}
    command = f"{shlex.quote(sys.executable)} -m nest_tune target list {redirection}"
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, cwd=tmp_path
    )
    # A pipe takes a short result before its reader has gone.
    assert done.returncode in ((0, 1) if "exit" in redirection else (1,))
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_never_gets_the_number_of_a_closed_stream(tmp_path: Path, repository: Path) -> None:
    program = "number = open('database', 'w').fileno(); assert number > 2; print('result')"
    code, _, _ = shell("0<&- 1>&- 2>&-", program, tmp_path, repository)
    assert code == 2
    assert (tmp_path / "done").exists()
    assert (tmp_path / "database").read_bytes() == b""


def test_a_question_without_standard_input_is_refused(tmp_path: Path, repository: Path) -> None:
    program = "assert not sys.stdin.isatty() and sys.stdin.read() == ''"
    code, _, _ = shell("0<&-", program, tmp_path, repository)
    assert code == 2
    assert (tmp_path / "done").exists()


def test_of_counts_those_are_told_that_somebody_can_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(100))
    monkeypatch.setattr(output.time, "monotonic", lambda: next(clock))
    output._counted_s.clear()
    for number in range(1, 8):
        output.progress(f"calibrating: {number} of 7 samples")
    output.progress("writing out")
    told = capsys.readouterr().err.splitlines()
    numbers = [line.split()[1] for line in told[:-1]]
    assert numbers == ["1", "3", "5", "7"]
    assert told[-1] == "writing out"
