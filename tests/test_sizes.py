"""Modules and functions stay small: one idea a file, one screen a function."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from tests.import_graph import modules, parsed

MOST_LINES = 450
"""Of a module."""

MOST_STATEMENTS = 80
"""Lines of a function below its documentation."""

LONG_MODULES: set[str] = set()
"""What does not hold yet; it only shrinks."""

LONG_FUNCTIONS: set[str] = set()
"""Likewise."""


def is_kernel(tree: ast.Module) -> bool:
    """Whether a module holds a function that Numba compiles: such a loop is one piece."""
    return any(isinstance(node, ast.FunctionDef) and compiled(node) for node in ast.walk(tree))


def compiled(function: ast.FunctionDef) -> bool:
    """Whether Numba compiles a function."""
    return any("njit" in ast.unparse(decorator) for decorator in function.decorator_list)


def statements(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines from a function's first statement to its end; its documentation is none."""
    body = function.body
    told = isinstance(body[0], ast.Expr) and isinstance(body[0].value, ast.Constant)
    first = body[1:] if told and len(body) > 1 else body
    assert function.end_lineno is not None
    return function.end_lineno - first[0].lineno + 1


def long_modules() -> Iterator[str]:
    for name, path in modules().items():
        text = path.read_text()
        if text.count("\n") > MOST_LINES and not is_kernel(parsed(path)):
            yield name


def long_functions() -> Iterator[str]:
    for name, path in modules().items():
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                kernel = isinstance(node, ast.FunctionDef) and compiled(node)
                if statements(node) > MOST_STATEMENTS and not kernel:
                    yield f"{name}.{node.name}"


def test_no_module_is_long() -> None:
    found = set(long_modules())
    assert found - LONG_MODULES == set(), f"more than {MOST_LINES} lines: two ideas"
    assert LONG_MODULES - found == set(), "no longer long: take them out of the list"


def test_no_function_is_long() -> None:
    found = set(long_functions())
    assert found - LONG_FUNCTIONS == set(), f"more than {MOST_STATEMENTS} lines of statements"
    assert LONG_FUNCTIONS - found == set(), "no longer long: take them out of the list"


def test_most_modules_are_short() -> None:
    lines = sorted(path.read_text().count("\n") for path in modules().values())
    assert lines[len(lines) // 2] <= 160


def test_what_counts() -> None:
    tree = ast.parse(
        'def f(\n    a,\n    b,\n):\n    """Says\n    it."""\n    c = a\n    return c\n'
    )
    (function,) = tree.body
    assert isinstance(function, ast.FunctionDef)
    assert statements(function) == 2
    assert not is_kernel(tree)
    assert is_kernel(ast.parse("@numba.njit(cache=True)\ndef f():\n    pass\n"))
