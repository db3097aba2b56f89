"""A script that begins a study at its top, without asking whether it is the main one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

SCRIPT = """
import sys
from pathlib import Path
from nest_tune.runners.local import LocalRunner
from nest_tune.runners.runner import Setup, Work

with open("ran", "a") as stream:
    stream.write("once\\n")
runner = LocalRunner(Setup("tests.nest_tune.runners.work_functions:prepare", {}), 1)
runner.submit(Work(1, "builtins:print", "nothing", 600.0))
answers = runner.wait(600.0)
runner.close()
assert sys.modules["__main__"].__file__ == __file__
print(len(answers))
"""


def test_workers_do_not_run_the_script_that_began_them(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    root = str(Path(__file__).resolve().parents[3])
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": root},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "1\n"
    assert (tmp_path / "ran").read_text() == "once\n"
