"""``nest-tune doctor``: does everything that nest-tune needs work here?"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from compiler_core.errors import CheckError, MissingDependencyError, NestTuneError
from nest_tune.cli.output import ExitCode, print_json, version

EXAMPLE = "Example: nest-tune doctor --json > doctor.json"

DEPENDENCIES = (
    ("numpy", "numpy"),
    ("numba", "numba"),
    ("scipy", "scipy"),
    ("onnx", "onnx"),
    ("onnx_ir", "onnx-ir"),
    ("onnxruntime", "onnxruntime"),
    ("pydantic", "pydantic"),
    ("typer", "typer"),
    ("rich", "rich"),
    ("jinja2", "jinja2"),
)
"""Module to import, and distribution to ask for its version."""


@dataclass(frozen=True)
class Check:
    """One line of the report; ``exit_code`` is 0 when it held."""

    name: str
    detail: str
    exit_code: int = ExitCode.DONE


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Check this installation, with a small program.

    Versions, target files, a built-in program on the simulator, and the storage folder.
    """
    checks = list(_checks())
    failed = [check for check in checks if check.exit_code]
    if as_json:
        print_json(
            "doctor",
            {
                "ok": not failed,
                "checks": [
                    {"name": c.name, "ok": not c.exit_code, "detail": c.detail} for c in checks
                ],
            },
        )
    else:
        width = max(len(check.name) for check in checks)
        for check in checks:
            mark = "FAILED" if check.exit_code else "ok"
            print(f"{check.name:<{width}}  {mark:<6}  {check.detail}")
    if failed:
        # A missing package explains other failures, so its code goes first.
        raise typer.Exit(max(check.exit_code for check in failed))


def _checks() -> Iterator[Check]:
    yield Check("nest-tune", version())
    yield Check("python", f"{platform.python_version()} {sys.implementation.name}")
    yield Check("system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs")
    for module, distribution in DEPENDENCIES:
        yield _run(distribution, partial(_dependency, module, distribution))
    yield _run("targets", _targets)
    yield _run("simulator", _simulator)
    yield _run("storage", _storage)


def _run(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, check())
    except NestTuneError as error:
        return Check(name, error.message, error.exit_code)
    except ImportError as error:
        return Check(name, f"cannot be imported: {error}", MissingDependencyError.exit_code)


def _dependency(module: str, distribution: str) -> str:
    from importlib import metadata

    import_module(module)
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError as error:
        raise MissingDependencyError(f"no distribution {distribution} is installed") from error


def _targets() -> str:
    from compiler_core.targets.load import bundled_targets, load_target

    names = bundled_targets()
    for name in names:
        load_target(name)
    return f"{len(names)} load: {', '.join(names)}"


def _simulator() -> str:
    import numpy as np

    from compiler_core.targets.load import load_target
    from compiler_core.targets.vta.program_file import read_program_file
    from compiler_core.targets.vta.simulate import simulate
    from nest_tune.sample_program import sample_program

    arrays = sample_program()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sample.npz"
        np.savez(path, allow_pickle=False, **arrays)
        program = read_program_file(path)
    result = simulate(program, load_target("vta").npu)
    if result.error is not None:
        raise CheckError(f"the built-in program is refused: {result.error.message}")
    assert result.dram is not None
    start, length = int(arrays["post_addr"][0]), int(arrays["post_len"][0])
    if not np.array_equal(result.dram[start : start + length], arrays["post_data"]):
        raise CheckError("the built-in program gives wrong bytes")
    return f"built-in 3x3 convolution: bytes equal to NumPy, {result.cycles} cycles on vta"


def _storage() -> str:
    folder = Path.cwd()
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".nest-tune-"):
            pass
    except OSError as error:
        raise CheckError(f"the working folder {folder} cannot be written: {error}") from error
    return f"the working folder {folder} can be written"
