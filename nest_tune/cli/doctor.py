"""``nest-tune doctor``: does everything that nest-tune needs work here?"""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from pathlib import Path

import typer

from compiler_core.errors import CheckError, InputError, MissingDependencyError, NestTuneError
from nest_tune.cli.options import EXAMPLE_TARGET, AsJson
from nest_tune.cli.output import ExitCode, print_json, say, version

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
    ("optuna", "optuna"),
    ("sqlalchemy", "sqlalchemy"),
)
"""Module to import, and distribution to ask for its version."""

BOOSTING = ("xgboost", ("xgboost-cpu", "xgboost"))
"""Module, and the distributions that hold it."""

EXTRAS = (
    ("ray", "ray", "ray", "studies on a cluster"),
    ("postgresql", "psycopg", "psycopg", "storage in PostgreSQL"),
    ("mysql", "pymysql", "pymysql", "storage in MySQL or MariaDB"),
    ("dashboard", "optuna_dashboard", "optuna-dashboard", "studies in a browser"),
)
"""Extra, module, distribution, and what it is for."""

_NAME_WIDTH = max(len(name) for name in (*(d for _, d in DEPENDENCIES), *(e[2] for e in EXTRAS)))
"""Of the longest name of a check: checks of other things have short ones."""


@dataclass(frozen=True)
class Check:
    """One line of the report; ``exit_code`` is 0 when it held."""

    name: str
    detail: str
    exit_code: int = ExitCode.DONE


def doctor(
    as_json: AsJson = False,
) -> None:
    """Check this installation, with a small program.

    Versions, target files, a built-in program on the simulator, a tiny model compiled and run, and
    the storage. Exit code 5 where something is missing.
    """
    checks = []
    for check in _checks():
        checks.append(check)
        if not as_json:  # the first run compiles kernels for this machine, for a minute
            mark = "FAILED" if check.exit_code else "ok"
            say(f"{check.name:<{_NAME_WIDTH}}  {mark:<6}  {check.detail}")
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
    if failed:
        # A missing package explains other failures, so its code goes first.
        raise typer.Exit(max(check.exit_code for check in failed))


def _checks() -> Iterator[Check]:
    yield Check("nest-tune", version())
    yield Check("python", f"{platform.python_version()} {sys.implementation.name}")
    yield Check("system", f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs")
    for module, distribution in DEPENDENCIES:
        yield _run(distribution, partial(_dependency, module, distribution))
    yield _run("xgboost", _xgboost)
    for extra, module, distribution, purpose in EXTRAS:
        yield _run(distribution, partial(_extra, extra, module, distribution, purpose))
    if os.environ.get("RAY_ADDRESS"):
        yield _run("RAY_ADDRESS", _cluster)
    yield _run("targets", _targets)
    yield _run("generated C", _sources)
    yield _run("units", _units)
    yield _run("simulator", _simulator)
    yield _run("compiler", _compiler)
    yield _run("folder", _folder)
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


def _xgboost() -> str:
    """Two distributions hold the module; which one does not matter."""
    from importlib import metadata

    module, distributions = BOOSTING
    import_module(module)
    found = []
    for name in distributions:
        try:
            found.append(f"{metadata.version(name)} ({name})")
        except metadata.PackageNotFoundError:
            continue
    if len(found) > 1:
        raise MissingDependencyError(
            f"{' and '.join(found)} share one module: uninstall both and install xgboost-cpu"
        )
    return found[0] if found else "of an unknown distribution"


def _extra(extra: str, module: str, distribution: str, purpose: str) -> str:
    """What is optional; nothing of it is started or even imported."""
    from importlib import metadata
    from importlib.util import find_spec

    if find_spec(module) is None:
        return f"not installed, only for {purpose}: pip install 'nest-tune[{extra}]'"
    return metadata.version(distribution)


def _cluster() -> str:
    """The cluster that studies with ``--runner ray`` join by default; only its port is tried."""
    from nest_tune.runners.address import check_address

    address = os.environ["RAY_ADDRESS"]
    check_address(address)
    return f"{address} answers" if ":" in address else address


def _targets() -> str:
    from compiler_core.targets.load import bundled_targets, load_target

    names = bundled_targets()
    for name in names:
        load_target(name)
    return f"{len(names)} load: {', '.join(names)}; host is this machine"


def _sources() -> str:
    """Which targets of generated C can be built and run here; compilers and emulators are
    optional."""
    from compiler_core.units.facets.bundles import bundle_writers

    ready, lacking = [], dict[tuple[tuple[str, ...], str], list[str]]()
    for writer in bundle_writers():
        for name in writer.targets():
            missing, how = writer.lacks(writer.describe(name).core)
            if missing:
                lacking.setdefault((missing, how), []).append(name)
            else:
                ready.append(name)
    parts = [f"built and run here: {', '.join(ready) or 'none'}"]
    parts += [
        f"{', '.join(names)}: {' and '.join(missing)} not found ({how})"
        for (missing, how), names in lacking.items()
    ]
    return "; ".join(parts)


def _units() -> str:
    """Every kind of unit can be loaded; a plug-in that is broken is named."""
    from compiler_core.units.registry import unit_kind, unit_kinds

    for name in unit_kinds():
        unit_kind(name)
    return f"{len(unit_kinds())} kinds: {', '.join(unit_kinds())}"


def _simulator() -> str:
    from compiler_core.targets.load import load_target
    from compiler_core.units.simulation import simulation

    target = load_target(EXAMPLE_TARGET)
    return f"{simulation(target.npu).check(target.npu)} on {target.name}"


def _compiler() -> str:
    import onnx

    from nest_tune.api.compiling import compile as compile_package
    from nest_tune.api.packages import run
    from nest_tune.sample_model import sample_inputs, sample_model

    samples = sample_inputs(4)
    with tempfile.TemporaryDirectory() as folder:
        model, package = Path(folder) / "sample.onnx", Path(folder) / "package"
        onnx.save(sample_model(), model)
        compile_package(model, EXAMPLE_TARGET, package, calibration=samples)
        result = run(package, samples, check=True)
    metrics = result.metrics
    return (
        f"a tiny network compiled, packed, read and run: {result.samples} samples bit-exact, "
        f"{metrics.npu_cycles:,} NPU cycles, {metrics.latency_ms:.3f} ms on {EXAMPLE_TARGET}"
    )


def _folder() -> str:
    try:
        folder = Path.cwd()
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".nest-tune-"):
            pass
    except OSError as error:
        raise CheckError(f"the working folder cannot be written: {error}") from error
    return f"the working folder {folder} can be written"


def _storage() -> str:
    """The storage that studies go to, where there is one; none is made."""
    from nest_tune.study.request.settings import storage_url
    from nest_tune.study.store.storage import StudyStorage

    url = storage_url(None, os.environ)
    path = url.removeprefix("sqlite:///")
    if path != url and not Path(path).is_file():
        return f"{url}: not there yet; the first study makes it"
    try:
        with closing(StudyStorage(url, create=False)) as storage:
            return f"{storage.shown}: {len(storage.studies())} studies"
    except InputError as error:  # to the studies, it is as good as missing
        raise MissingDependencyError(error.message, hint=error.hint) from error
