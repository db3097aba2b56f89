"""Which package may import which, and where the heavy libraries may be named."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.import_graph import folder_of, imports, parsed

PACKAGES = ("compiler_core", "search_spaces", "cost_models", "nest_tune")
ALLOWED = {
    "compiler_core": {"compiler_core"},
    "search_spaces": {"search_spaces", "compiler_core"},
    "cost_models": {"cost_models", "compiler_core"},
    "nest_tune": set(PACKAGES),
}
CONFINED = {"optuna": "nest_tune", "xgboost": "cost_models", "ray": "nest_tune"}
KEPT_OUT = {"torch", "pandas", "sklearn"}


@cache
def imported_modules(path: Path) -> tuple[str, ...]:
    """Top-level names of everything a module imports, but relative imports."""
    return tuple(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.split(".")[0]
        elif (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute | ast.Name)
            and (node.func.attr if isinstance(node.func, ast.Attribute) else node.func.id)
            in ("import_module", "__import__")
            and node.args
            and isinstance(node.args[0], ast.Constant)
        ):
            yield str(node.args[0].value).split(".")[0]


def modules(repository: Path, package: str) -> list[Path]:
    found = sorted((repository / package).rglob("*.py"))
    assert found, f"package {package} has no modules"
    return found


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_downwards(repository: Path, package: str) -> None:
    wrong = [
        f"{path.relative_to(repository)} imports {name}"
        for path in modules(repository, package)
        for name in imported_modules(path)
        if name in PACKAGES and name not in ALLOWED[package]
    ]
    assert not wrong


@pytest.mark.parametrize(("library", "home"), CONFINED.items())
def test_library_is_imported_in_its_package_only(repository: Path, library: str, home: str) -> None:
    users = {
        path.relative_to(repository)
        for package in PACKAGES
        for path in modules(repository, package)
        if library in imported_modules(path)
    }
    assert {path.parts[0] for path in users} <= {home}
    if library == "ray":
        assert {path.name for path in users} <= {"ray.py", "ray_cluster.py"}


def test_no_module_imports_what_is_kept_out(repository: Path) -> None:
    wrong = [
        (str(path.relative_to(repository)), name)
        for package in PACKAGES
        for path in modules(repository, package)
        for name in imported_modules(path)
        if name in KEPT_OUT
    ]
    assert not wrong


def test_the_reader_of_imports_sees_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        "import a.b, c\nfrom d.e import f\nfrom . import g\n"
        "def late():\n    import h\n    importlib.import_module('i.j')\n    __import__('k')\n"
    )
    assert sorted(imported_modules(path)) == ["a", "c", "d", "h", "i", "k"]


KIND = "KIND"
"""Stands for the folder of any kind of unit: kinds know what they implement, not one another."""

ORDER = {
    "compiler_core": (
        "compiler_core",
        "compiler_core.files",
        "compiler_core.memory",
        "compiler_core.plugins",
        "compiler_core.clock",
        "compiler_core.boards",
        "compiler_core.graph",
        "compiler_core.accuracy",
        "compiler_core.units",
        "compiler_core.quantize",
        "compiler_core.tensor",
        "compiler_core.units.facets",
        "compiler_core.targets",
        "compiler_core.units.KIND",
        "compiler_core.configuration",
        "compiler_core.executable",
        "compiler_core.system",
        "compiler_core.partition",
        "compiler_core.precision",
        "compiler_core.compile",
        "compiler_core.package",
    ),
    "search_spaces": ("search_spaces", "search_spaces.KIND"),
    "cost_models": ("cost_models", "cost_models.KIND"),
    "nest_tune": (
        "nest_tune",
        "nest_tune.study",
        "nest_tune.records",
        "nest_tune.runners",
        "nest_tune.stores",
        "nest_tune.scheme_search",
        "nest_tune.samplers",
        "nest_tune.tuning",
        "nest_tune.testing",
        "nest_tune.study.execution",
        "nest_tune.study.request",
        "nest_tune.study.proposals",
        "nest_tune.study.choice",
        "nest_tune.study.tuning",
        "nest_tune.study.store",
        "nest_tune.study.running",
        "nest_tune.study.views",
        "nest_tune.ci",
        "nest_tune.report",
        "nest_tune.api",
        "nest_tune.cli",
    ),
}
"""Folders of each package: one imports those before it. A new folder takes its place here."""

UPWARDS = {
    ("compiler_core.partition", "compiler_core.compile"),
    ("compiler_core.units.KIND", "compiler_core.executable"),
}
"""What does not hold yet; it only shrinks."""

HOMES = ("compiler_core.units", "search_spaces", "cost_models")
"""Folders whose folders are kinds of units, but those of their own."""


def place(module: str) -> str:
    """The folder of :data:`ORDER` that a module lies in."""
    folder = folder_of(module)
    names = {name for names in ORDER.values() for name in names}
    for home in HOMES:
        inner = folder.removeprefix(f"{home}.")
        if inner != folder and f"{home}.{inner.partition('.')[0]}" not in names:
            return f"{home}.{KIND}"
    while folder not in names and "." in folder:
        folder = folder.rpartition(".")[0]
    return folder


@pytest.mark.parametrize("package", PACKAGES)
def test_every_folder_has_a_place(package: str) -> None:
    """Folders right below a package, kinds of units aside, are named in the order."""
    own = {folder_of(name) for name in imports() if name.split(".")[0] == package}
    for folder in own - {package}:
        assert place(folder_module(folder)) != package, f"{folder} has no place in ORDER"


def folder_module(folder: str) -> str:
    """Any module of a folder."""
    return next(name for name in imports() if folder_of(name) == folder)


@pytest.mark.parametrize("package", PACKAGES)
def test_folders_import_only_those_before_them(package: str) -> None:
    order = ORDER[package]
    found = {}
    for module, others in imports().items():
        if module.endswith("__main__") or module.split(".")[0] != package:
            continue
        for other in others:
            here, there = place(module), place(other)
            if there.split(".")[0] == package and order.index(here) < order.index(there):
                found[here, there] = f"{module} imports {other}"
    expected = {pair for pair in UPWARDS if pair[0].split(".")[0] == package}
    assert {pair: why for pair, why in found.items() if pair not in expected} == {}
    assert expected <= found.keys(), "no longer so: take it out of UPWARDS"


@pytest.mark.parametrize(
    ("module", "folder"),
    [
        ("compiler_core.errors", "compiler_core"),
        ("compiler_core.graph.passes.simplify", "compiler_core.graph"),
        ("compiler_core.units.registry", "compiler_core.units"),
        ("compiler_core.units.vta.unit", "compiler_core.units.KIND"),
        ("compiler_core.units.vta.lower.layer", "compiler_core.units.KIND"),
        ("cost_models.vta.tiling", "cost_models.KIND"),
        ("nest_tune.study.store.storage", "nest_tune.study.store"),
        ("nest_tune.samplers.schedules.sampler", "nest_tune.samplers"),
    ],
)
def test_where_modules_lie(module: str, folder: str) -> None:
    assert place(module) == folder
