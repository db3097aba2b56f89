"""The command line answers questions about itself without importing a heavy library."""

from __future__ import annotations

import json
import resource
import subprocess
import sys

import pytest

HEAVY = (
    "numpy",
    "numba",
    "scipy",
    "onnx",
    "onnx_ir",
    "onnxruntime",
    "optuna",
    "ray",
    "xgboost",
    "jinja2",
)
PROGRAM = """
import json, sys
sys.argv = ["nest-tune", *sys.argv[1:]]
from nest_tune.cli import main
try:
    main()
except SystemExit as end:
    print(json.dumps({"code": end.code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["simulate", "--help"],
        ["target", "show", "--help"],
        ["doctor", "--help"],
        ["compile", "--help"],
        ["run", "--help"],
        ["evaluate", "--help"],
        ["profile", "--help"],
        ["task", "list", "--help"],
    ],
    ids=" ".join,
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    seconds = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - before
    print(f"{' '.join(arguments)}: {seconds:.2f} s of CPU time")
    report = json.loads(run.stderr.splitlines()[-1])
    assert report["code"] == 0
    assert "Usage: nest-tune" in run.stdout
    assert "Example: nest-tune" in run.stdout
    assert not set(HEAVY) & set(report["modules"])
    assert "typer" in report["modules"]
