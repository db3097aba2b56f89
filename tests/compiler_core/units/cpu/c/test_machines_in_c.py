"""Support vector machines with probabilities: the same bits in C."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from compiler_core.graph.importer import import_model
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.spelled.spelled_out import spelled_out
from compiler_core.units.cpu.c.bundles.bundle import write_bundle
from compiler_core.units.cpu.c.convert.options import Options
from tests.compiler_core.graph.spelled.test_machines import ROWS, likely
from tests.compiler_core.units.cpu.c.made import make_bundle
from tests.compiler_core.units.cpu.c.test_random_networks import SANITIZERS


def test_same_bits_of_probabilities(tmp_path: Path, check_bundle: Callable[..., str]) -> None:
    flat = spelled_out(simplify(import_model(likely("RBF", [3, 5, 2]))))
    bundle = make_bundle(flat, {}, "machine", Options(precision="float32"))
    write_bundle(bundle, tmp_path, [{"x": row[None]} for row in ROWS[:4]])
    for command in (("gcc", "-O3"), ("clang", *SANITIZERS)):
        assert "4 of 4" in check_bundle(tmp_path, *command)
