"""Where a compile without a plan has left the NPU because the CPU is faster, it says so."""

from __future__ import annotations

from pathlib import Path

import nest_tune
from compiler_core.compile.cpu_causes import FASTEST, PLANNED

DIGITS = Path(__file__).parents[3] / "examples" / "digits"


def test_what_is_faster_on_the_cpu_has_that_reason(tmp_path: Path) -> None:
    told: list[str] = []
    model, data, folder = DIGITS / "model.onnx", DIGITS / "calib.npz", tmp_path / "out"
    made = nest_tune.compile(
        model, "vta-duo", folder, calibration=data, launches="apart", progress=told.append
    )
    assert made.macs_share_npu < 0.9
    assert {cause.reason for cause in made.cpu_causes if cause.macs_share} == {FASTEST}
    assert any("no plan: the fastest without a loss of bits takes" in line for line in told)
    again = nest_tune.compile(model, "vta-duo", folder, calibration=data, config=made.configuration)
    assert {cause.reason for cause in again.cpu_causes if cause.macs_share} == {PLANNED}
