"""A class name stands for one thing: two public classes of one name are one thing of two kinds."""

from __future__ import annotations

import ast

from tests.import_graph import modules, parsed

OF_EACH_KIND = {
    "Finding",
    "FindingClass",
    "Opcode",
    "ProgramFile",
    "SimulationResult",
    "TimingResult",
    "TimingSection",
}
"""What several kinds of units have; they lie in the folders of their kinds."""

KINDS = "compiler_core.units."


def homes() -> dict[str, list[str]]:
    """Modules by the name of each public class that they define."""
    found: dict[str, list[str]] = {}
    for module, path in modules().items():
        for node in parsed(path).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                found.setdefault(node.name, []).append(module)
    return found


def test_names_stand_for_one_thing() -> None:
    several = {name for name, where in homes().items() if len(where) > 1}
    assert several - OF_EACH_KIND == set(), "one keeps the name, the others get qualified ones"
    assert OF_EACH_KIND - several == set(), "no longer of several kinds: take them out of the list"


def test_what_each_kind_has_lies_with_it() -> None:
    for name in OF_EACH_KIND:
        kinds = [where.removeprefix(KINDS).split(".")[0] for where in homes()[name]]
        assert all(where.startswith(KINDS) for where in homes()[name])
        assert len(set(kinds)) == len(kinds), name
