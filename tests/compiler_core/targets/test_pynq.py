"""The target ``vta-pynq`` against layers that were measured on the board."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from compiler_core.targets.load import load_target

PATH = Path(__file__).parents[3] / "benchmarks" / "pynq.py"


def test_the_port_is_calibrated_to_the_board(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = importlib.util.spec_from_file_location("pynq", PATH)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "pynq", benchmark)
    spec.loader.exec_module(benchmark)
    found = benchmark.ratios(benchmark.LAYERS, load_target("vta-pynq").npu)
    # The target file states these errors.
    assert max(found) == pytest.approx(1.056, abs=0.001)
    assert min(found) == pytest.approx(0.949, abs=0.001)
    for layer, ratio in zip(benchmark.LAYERS, found, strict=True):
        law = benchmark.law_ms(layer, load_target("vta-pynq").npu)
        assert law == pytest.approx(layer.board_ms, rel=0.03)
        assert ratio * layer.board_ms == pytest.approx(law, rel=0.06)
    uncalibrated = benchmark.ratios(benchmark.LAYERS, load_target("vta").npu)
    assert min(uncalibrated) < 0.6
