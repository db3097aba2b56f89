"""Which module imports which, by the syntax alone: for tests that hold the structure."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache, lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("compiler_core", "search_spaces", "cost_models", "nest_tune")


@lru_cache(maxsize=1)
def modules() -> dict[str, Path]:
    """Path by dotted name, of every module of the packages."""
    found = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def parsed(path: Path) -> ast.Module:
    """Syntax tree of a file, parsed once a session."""
    return ast.parse(path.read_text())


@lru_cache(maxsize=1)
def imports() -> dict[str, frozenset[str]]:
    """Modules that each module imports, anywhere in it; without those for type checkers alone."""
    return {
        name: frozenset(_resolved(_imported(parsed(path))) - {name})
        for name, path in modules().items()
    }


def _imported(tree: ast.AST) -> Iterator[tuple[str, tuple[str, ...]]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from _imported(other)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module, tuple(alias.name for alias in node.names)
        else:
            yield from _imported(node)


def _resolved(found: Iterator[tuple[str, tuple[str, ...]]]) -> set[str]:
    known, result = modules(), set()
    for module, names in found:
        inner = {f"{module}.{name}" for name in names if f"{module}.{name}" in known}
        result |= inner or ({module} & set(known))
    return result


def folder_of(module: str) -> str:
    """The folder that a module lies in, dotted."""
    return ".".join(modules()[module].relative_to(ROOT).parent.parts)


def folder_imports() -> dict[str, set[str]]:
    """Folders that each folder imports; what a program starts with is in none."""
    found: dict[str, set[str]] = {}
    for module, others in imports().items():
        if module.endswith("__main__"):
            continue
        here = found.setdefault(folder_of(module), set())
        here |= {folder_of(other) for other in others} - {folder_of(module)}
    return found


def circles(graph: Mapping[str, frozenset[str] | set[str]]) -> list[tuple[str, ...]]:
    """Strongly connected components of more than one node, sorted (Tarjan's algorithm)."""
    numbers: dict[str, int] = {}
    lowest: dict[str, int] = {}
    stack: list[str] = []
    found: list[tuple[str, ...]] = []

    def visit(node: str) -> None:
        numbers[node] = lowest[node] = len(numbers)
        stack.append(node)
        for other in sorted(graph.get(node, ())):
            if other not in numbers:
                visit(other)
            if other in stack:
                lowest[node] = min(lowest[node], lowest[other])
        if lowest[node] == numbers[node]:
            part = []
            while not part or part[-1] != node:
                part.append(stack.pop())
            if len(part) > 1:
                found.append(tuple(sorted(part)))

    for node in sorted(graph):
        if node not in numbers:
            visit(node)
    return sorted(found)
