"""Kinds of units stay behind their seam: nothing outside a kind's own folders imports it or names
it, and nothing goes in circles.

A module that is named in a list and has no reason for it any more has to leave it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.import_graph import ROOT, circles, folder_imports, imports, modules, parsed

KINDS = sorted(path.parent.name for path in (ROOT / "compiler_core/units").glob("*/unit.py"))
HOMES = ("compiler_core.units", "search_spaces", "cost_models", "nest_tune.tuning")

OTHER_WORDS: dict[str, set[str]] = {
    "cpu": {
        "compiler_core.clock.machine",  # a field of a file
        "compiler_core.clock.pinning",  # a folder
        "compiler_core.graph.runtime",  # a device of onnxruntime
        "compiler_core.partition.picture",  # a class of a picture
        "compiler_core.units.aim.launches",  # who works, in the kind's own account
        "compiler_core.units.aim.lower.measure",  # who works, in the kind's own account
        "compiler_core.units.aim.schedule.schedule",  # who sums up, in the kind's own schedules
        "nest_tune.api.asked",  # a file
        "nest_tune.cli.profile_cpu",  # a file
        "nest_tune.cli.target",  # a key of documents
        "nest_tune.study.execution.worker_files",  # a table of target files
    },
}
"""Modules in which a kind's name stands for something else."""

NAME_TARGETS = {"compiler_core.targets.load", "nest_tune.cli.options"}
"""They name bundled target files, which are called like kinds."""

EXAMPLES = re.compile(r"(--target|target show|target check) [\w.-]+")
"""In texts: an example's target, which may be called like a kind."""

FILE_CIRCLES: set[tuple[str, ...]] = set()
FOLDER_CIRCLES: set[tuple[str, ...]] = set()


def is_own(module: str, kind: str) -> bool:
    """Whether a module lies in one of a kind's own folders."""
    return any(f"{module}.".startswith(f"{home}.{kind}.") for home in HOMES)


def importers(kind: str) -> set[str]:
    """Modules that import a kind without being its own."""
    return {
        module
        for module, others in imports().items()
        if not is_own(module, kind) and any(is_own(other, kind) for other in others)
    }


def namers(kind: str) -> set[str]:
    """Modules that name a kind in a literal without being its own."""
    return {
        module
        for module, path in modules().items()
        if not is_own(module, kind) and any(names(text, kind) for text in literals(path))
    } - NAME_TARGETS


def names(text: str, kind: str) -> bool:
    """Whether a literal names a kind, or something that is called after it."""
    found = rf"(?<![\w-]){kind}(?![a-z_])"
    return re.search(found, EXAMPLES.sub("", text)) is not None


@cache
def literals(path: Path) -> tuple[str, ...]:
    """Texts of a module that are not documentation."""
    return tuple(_literals(parsed(path)))


def _literals(module: ast.Module) -> Iterator[str]:
    told = {
        id(node.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in told:
            yield node.value


def test_there_are_kinds() -> None:
    assert len(KINDS) >= 2


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_else_imports_a_kind(kind: str) -> None:
    assert importers(kind) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_else_names_a_kind(kind: str) -> None:
    assert namers(kind) == OTHER_WORDS.get(kind, set())


def test_no_circles_of_files() -> None:
    assert set(circles(imports())) == FILE_CIRCLES


def test_no_circles_of_folders() -> None:
    assert set(circles(folder_imports())) == FOLDER_CIRCLES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("vta", True),
        ("vta0", True),
        ("vta-rows", True),
        ("on vta, say", True),
        ("nest-tune simulate a.npz --target vta --json", False),
        ("nest-tune target show vta lists all", False),
        ("pvta", False),
        ("vtable", False),
    ],
)
def test_what_names_a_kind(text: str, *, expected: bool) -> None:
    assert names(text, "vta") is expected


def test_circles_are_seen() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"d"}, "e": {"a"}}
    assert circles(graph) == [("a", "b", "c")]
