"""Sums of floats do not depend on the version of Python."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Iterable
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import nest_tune
from compiler_core.quantize.left_in_float import FloatPart, growing_sets
from compiler_core.sums import float_sum
from compiler_core.units.cpu.c.bundles.classes import InstructionMix

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


@given(st.lists(st.floats(-1e9, 1e9)))
def test_a_sum_is_one_addition_after_another(values: list[float]) -> None:
    assert float_sum(values) == reduce(add, values, 0)


def test_what_a_compensated_sum_would_give_is_another_number() -> None:
    """``sum`` gives 1.0 from Python 3.12 on."""
    assert float_sum([0.1] * 10) == 0.9999999999999999
    assert float_sum([]) == 0


@pytest.fixture
def added(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """Where the built-in adds floats from now on."""
    own = {"compiler_core", "nest_tune", "search_spaces", "cost_models"}
    plain, found = builtins.sum, set[str]()

    def spy(values: Iterable[Any], start: Any = 0) -> Any:
        kept = list(values)
        frame = sys._getframe(1)
        name = str(frame.f_globals.get("__name__"))
        if name.partition(".")[0] in own and any(
            isinstance(value, float) and not value.is_integer() for value in kept
        ):
            found.add(f"{name}:{frame.f_lineno}")
        return plain(kept, start)

    monkeypatch.setattr(builtins, "sum", spy)
    return found


def test_no_compile_adds_floats_otherwise(added: set[str], tmp_path: Path) -> None:
    """What ends in a package is not added by the built-in."""
    for target in ("vta", "vta-duo"):
        nest_tune.compile(
            DIGITS / "model.onnx",
            target=target,
            calibration=DIGITS / "calib.npz",
            output=tmp_path / target,
        )
    assert added == set()


def test_what_usual_compiles_do_not_reach_adds_none_either(added: set[str]) -> None:
    parts = [FloatPart((name,), damage) for name, damage in (("a", 0.1), ("b", 3.7), ("c", 0.2))]
    assert growing_sets(parts, {"a": 1, "b": 2, "c": 3})
    mix = InstructionMix("cortex-m7", {"load": 7, "other": 3, "divide": 1})
    assert mix.cycles_per_instruction == pytest.approx((7 + 3 * 0.6 + 7) / 11)
    assert added == set()
