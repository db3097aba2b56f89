"""The same bits on other cores, which QEMU emulates; instructions are counted there."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler_core.errors import CheckError, InputError, MissingDependencyError
from compiler_core.units.cpu.c.bundles.bundle import write_bundle
from compiler_core.units.cpu.c.bundles.cores import (
    CORES,
    Core,
    build,
    check,
    core_of,
    count,
    missing,
)
from compiler_core.units.cpu.c.emit.extras import counter
from tests.compiler_core.units.cpu.c.cases import all_in_one, prepared, samples


def installed(name: str) -> Core:
    lacking = missing(CORES[name])
    if lacking:
        pytest.skip(f"{lacking[0]} is not installed")
    return CORES[name]


@pytest.mark.parametrize("precision", ["int8", "float32", "int16"])
@pytest.mark.parametrize("name", sorted(CORES))
def test_all_operators_have_the_same_bits(name: str, precision: str, tmp_path: Path) -> None:
    core = installed(name)
    graph, bundle = all_in_one(precision)
    write_bundle(bundle, tmp_path, samples(graph, 2))
    check(core, tmp_path, tmp_path / "program")


def test_a_wrong_bit_is_found(tmp_path: Path) -> None:
    core = installed("c99")
    graph, bundle = prepared("residual", "int8")
    write_bundle(bundle, tmp_path, samples(graph, 1))
    text = (tmp_path / "weights.c").read_text()
    head, brace, rest = text.partition("{\n  ")
    (tmp_path / "weights.c").write_text(head + brace + "111, " + rest.partition(", ")[2])
    with pytest.raises(CheckError, match="0 of 1 samples equal"):
        check(core, tmp_path, tmp_path / "program")


def test_instructions_are_counted_and_repeat(tmp_path: Path) -> None:
    core = installed("cortex-m4")
    graph, bundle = prepared("residual", "int8")
    write_bundle(bundle, tmp_path, samples(graph, 1))
    steps = len(bundle.sources.steps)
    text = counter(bundle.network, bundle.name, steps)
    (tmp_path / "count.c").write_text(text)
    first = count(core, tmp_path, tmp_path / "program", steps)
    assert first == count(core, tmp_path, tmp_path / "program", steps)
    macs = 6 * 6 * 4 * 4 * 9
    assert macs < first[0] < 30 * macs


def test_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cortex-m9") as unknown:
        core_of("cortex-m9")
    assert "cortex-m4" in str(unknown.value)
    absent = Core("none", "no-such-compiler-at-all", package="nothing")
    with pytest.raises(MissingDependencyError, match="no-such-compiler-at-all"):
        build(absent, tmp_path, tmp_path / "program", main="selftest.c")
    with pytest.raises(InputError, match="nothing counts"):
        count(CORES["c99"], tmp_path, tmp_path / "program", 1)
