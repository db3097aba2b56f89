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
from compiler_core.sums import float_sum

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits"


@given(st.lists(st.floats(-1e9, 1e9)))
def test_a_sum_is_one_addition_after_another(values: list[float]) -> None:
    assert float_sum(values) == reduce(add, values, 0)


def test_what_a_compensated_sum_would_give_is_another_number() -> None:
    """``sum`` gives 1.0 from Python 3.12 on."""
    assert float_sum([0.1] * 10) == 0.9999999999999999
    assert float_sum([]) == 0


def test_no_compile_adds_floats_otherwise(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What ends in a package is not added by the built-in."""
    own = {"compiler_core", "nest_tune", "search_spaces", "cost_models"}
    plain, found = builtins.sum, set()

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
    for target in ("vta", "vta-duo"):
        nest_tune.compile(
            DIGITS / "model.onnx",
            target=target,
            calibration=DIGITS / "calib.npz",
            output=tmp_path / target,
        )
    assert found == set()
