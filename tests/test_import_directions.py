"""Which package may import which, and where the heavy libraries may be named."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGES = ("compiler_core", "search_spaces", "cost_models", "nest_tune")
ALLOWED = {
    "compiler_core": {"compiler_core"},
    "search_spaces": {"search_spaces", "compiler_core"},
    "cost_models": {"cost_models", "compiler_core"},
    "nest_tune": set(PACKAGES),
}
CONFINED = {"optuna": "nest_tune", "xgboost": "cost_models", "ray": "nest_tune"}
KEPT_OUT = {"torch", "pandas", "sklearn"}


def imported_modules(path: Path) -> Iterator[str]:
    """Top-level names of everything a module imports, but relative imports."""
    for node in ast.walk(ast.parse(path.read_text())):
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
        assert len(users) <= 1


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
