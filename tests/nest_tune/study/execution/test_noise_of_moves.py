"""Noise of candidates, and of what they would be with operators elsewhere."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from compiler_core.accuracy.float_model import float_outputs
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.scheme import QuantizationScheme, WeightRounding, scheme_document
from nest_tune.study.execution.candidates import Bench
from nest_tune.study.execution.noise_of_moves import NoiseMeter, with_weights_of
from nest_tune.study.execution.subjects import Subjects

PLAIN = QuantizationScheme(granularity=Granularity.CHANNEL, bias_correction=True)
ROUNDED = replace(PLAIN, weight_rounding=WeightRounding.GPTQ)


@pytest.fixture(scope="module")
def bench(repository: Path) -> Bench:
    digits = repository / "examples" / "digits"
    paths = (str(digits / name) for name in ("model.onnx", "calib.npz", "eval.npz"))
    model, calibration, evaluation = paths
    return Bench(Subjects(model, "vta", calibration=calibration, evaluation=evaluation))


def decisions(scheme: QuantizationScheme, *on_cpu: str) -> dict[str, object]:
    return {"quantization": scheme_document(scheme), "partition": dict.fromkeys(on_cpu, "cpu")}


def test_noise_is_a_share_of_what_the_float_model_says(bench: Bench) -> None:
    meter = NoiseMeter(bench, 40)
    rows = meter.rows
    assert len(rows) == 40
    assert (np.diff(rows) > 0).all()
    found = meter.noise(decisions(PLAIN))
    inputs = {name: array[rows] for name, array in bench.data.inputs.items()}
    ours = ReferenceExecutor(bench.quantized(decisions(PLAIN)).quantized).run(inputs)
    theirs = float_outputs(bench.model.graph, inputs)
    (name,) = bench.exam.judges
    expected = ((ours[name] - theirs[name]) ** 2).sum() / (theirs[name] ** 2).sum()
    assert found == pytest.approx(float(expected), rel=1e-4)
    assert len(NoiseMeter(bench, 10**6).rows) == bench.samples


@pytest.mark.parametrize("scheme", [PLAIN, ROUNDED])
def test_a_move_keeps_everything_else(bench: Bench, scheme: QuantizationScheme) -> None:
    meter = NoiseMeter(bench, 40)
    base = decisions(scheme)
    noise = meter.noise(base)
    assert meter.moved(base, base) == noise
    names = [node.name for node in bench.model.graph.nodes]
    assert meter.moved(base, decisions(scheme, *names)) < 1e-9 < noise
    # Weights that calibration samples decided stay where the grid is the same.
    kept = bench.quantized(base).quantized
    changed = bench.quantized(decisions(PLAIN, names[-1])).quantized
    taken = with_weights_of(changed, kept)
    mine = {op.name: op for part in kept.segments for op in getattr(part, "operators", ())}
    same = [
        np.array_equal(op.weight, mine[op.name].weight)
        for part in taken.segments
        for op in getattr(part, "operators", ())
        if hasattr(op, "weight") and op.name in mine
    ]
    assert same
    assert all(same)
