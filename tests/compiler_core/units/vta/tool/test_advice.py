"""Every class of error that a simulation can end with has its advice."""

from __future__ import annotations

import ast
from pathlib import Path

from compiler_core.units.vta.tool.advice import ADVICE
from compiler_core.units.vta.verify import FindingClass


def test_every_class_has_advice(repository: Path) -> None:
    named = {
        keyword.value.value
        for path in (repository / "compiler_core" / "units" / "vta").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        for keyword in node.keywords
        if keyword.arg == "error_class" and isinstance(keyword.value, ast.Constant)
    }
    assert "too_long" in named
    assert named | {member.value for member in FindingClass} | {"work_limit"} == ADVICE.keys()
