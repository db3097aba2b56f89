"""The command line answers questions about itself without importing a heavy library."""

from __future__ import annotations

import json
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
    "sqlalchemy",
    "onnxscript",
    "optuna_dashboard",
)
MODULES_MAX = 350
"""What keeps the start short, counted: seconds depend on the machine."""
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
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=True,
    )
    report = json.loads(run.stderr.splitlines()[-1])
    assert report["code"] == 0
    assert "Usage: nest-tune" in run.stdout
    assert "Example: nest-tune" in run.stdout
    assert not set(HEAVY) & set(report["modules"])
    assert "typer" in report["modules"]
    assert len(report["modules"]) <= MODULES_MAX


ALL = """
import json, sys
import typer.main
from nest_tune.cli.app import app

def walk(command, path):
    context = command.make_context(path, [], resilient_parsing=True)
    pages[path] = command.get_help(context)
    bare[path] = [p.name for p in command.params if not getattr(p, "help", None)]
    for name in getattr(command, "commands", {}):
        walk(command.commands[name], f"{path} {name}")

pages, bare = {}, {}
walk(typer.main.get_command(app), "nest-tune")
print(json.dumps({"pages": pages, "bare": bare, "modules": sorted(sys.modules)}))
"""


def test_every_command_has_an_example_and_every_option_a_help() -> None:
    run = subprocess.run([sys.executable, "-c", ALL], capture_output=True, text=True, check=True)
    found = json.loads(run.stdout)
    pages = found["pages"]
    assert {"nest-tune", "nest-tune study compare", "nest-tune ci init gitlab"} <= set(pages)
    assert [path for path, text in pages.items() if "Example: nest-tune" not in text] == []
    assert {path: names for path, names in found["bare"].items() if names} == {}
    assert not set(HEAVY) & set(found["modules"])


@pytest.mark.parametrize("module", ["nest_tune.api.compiling", "nest_tune.api.packages"])
def test_programs_are_compiled_and_run_without_databases(module: str) -> None:
    """A compile of a small model takes little more than its imports."""
    program = f"import sys, {module}; print(sorted(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    for heavy in ("sqlalchemy", "optuna", "ray", "xgboost", "jinja2", "onnxscript"):
        assert f"'{heavy}'" not in run.stdout, heavy
