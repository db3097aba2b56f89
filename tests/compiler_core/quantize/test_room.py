"""Room for what few calibration samples have not shown."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from compiler_core.compile.sources import load_model
from compiler_core.quantize import folds as folds_module
from compiler_core.quantize.apply import apply_profile, method_exponents
from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.folds import FOLDS, folds
from compiler_core.quantize.ladder import FIRST, ROOM, climb
from compiler_core.quantize.profile import activations, profile_model
from compiler_core.quantize.quality import QualityMeter
from compiler_core.quantize.scheme import (
    QuantizationScheme,
    RangeMethod,
    read_scheme,
    scheme_document,
)
from compiler_core.quantize.statistics import TensorRange
from compiler_core.quantize.unseen import margin_of


@pytest.fixture
def graph(tmp_path):
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 13]>
        agraph (float[N,24] x) => (float[N,6] y) {
            hidden = Gemm (x, first)
            kept = Relu (hidden)
            y = Gemm (kept, second)
        }
    """)
    draw = np.random.default_rng(5)
    for name, shape in (("first", (24, 32)), ("second", (32, 6))):
        array = draw.standard_normal(shape).astype(np.float32) / 5
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(model, tmp_path / "dense.onnx")
    return load_model(tmp_path / "dense.onnx").graph


def drawn(count: int, largest: float = 1.0, seed: int = 6):
    """Samples of which the last is the largest."""
    rows = np.random.default_rng(seed).uniform(-1, 1, (count, 24))
    rows[-1] *= largest / np.abs(rows[-1]).max()
    return {"x": rows.astype(np.float32)}


def climbed(graph, samples):
    return climb(graph, default_assignment(graph), profile_model(graph, samples))


def test_few_samples_get_room_and_many_do_not(graph) -> None:
    few, many = climbed(graph, drawn(8)), climbed(graph, drawn(16))
    assert few.ladder.taken == many.ladder.taken == FIRST
    assert few.scheme == QuantizationScheme(activation_range=RangeMethod.ROOMY)
    assert few.ladder.rungs[ROOM].outcome == "taken"
    assert many.scheme == QuantizationScheme()
    assert ROOM not in many.ladder.rungs


def test_what_is_a_little_larger_than_all_samples_is_kept_with_room(graph) -> None:
    profile = profile_model(graph, drawn(8, 0.97))
    meter = QualityMeter(graph, {"x": 1.2 * drawn(32, 1.0, seed=7)["x"]})

    def noise(method: RangeMethod) -> float:
        scheme = QuantizationScheme(activation_range=method)
        quantized = apply_profile(graph, default_assignment(graph), profile, scheme).quantized
        return meter.measure(quantized)[0].sqnr_db

    assert noise(RangeMethod.ROOMY) > noise(RangeMethod.MSE) + 6


def test_room_is_a_quarter(graph) -> None:
    def exponent(largest: float, method: RangeMethod) -> int:
        samples = {"x": np.linspace(-largest, largest, 8 * 24, dtype=np.float32).reshape(8, 24)}
        ranges = profile_model(graph, samples).ranges()
        skeleton = assemble(graph, default_assignment(graph))
        return method_exponents(skeleton, ranges, method)["x"]

    assert exponent(0.75, RangeMethod.ROOMY) == exponent(0.75, RangeMethod.MSE) == 7
    assert exponent(0.9, RangeMethod.MSE) == 7
    assert exponent(0.9, RangeMethod.ROOMY) == 6


def test_a_scheme_with_room_is_written_and_read() -> None:
    scheme = QuantizationScheme(activation_range=RangeMethod.ROOMY, rescaling=True)
    assert read_scheme(scheme_document(scheme), "here") == scheme


@pytest.mark.parametrize("count", [2, 3, 9])
def test_ranges_of_parts_are_those_of_all_other_samples(graph, count: int) -> None:
    samples = drawn(count, 3.0)
    profile = profile_model(graph, samples)
    parts = folds(graph, profile)
    assert len(parts) == min(FOLDS, count)
    assert [run for part in parts for run in part.runs] == list(range(count))
    for part in parts:
        others = [run for run in range(count) if run not in part.runs]
        assert (part.samples["x"] == samples["x"][others]).all()
        wanted = profile_model(graph, {"x": samples["x"][others]}).ranges()
        assert set(part.ranges) == set(activations(graph))
        for name, known in wanted.items():
            same(part.ranges[name], known)


def same(found: TensorRange, wanted: TensorRange) -> None:
    assert (found.low, found.high) == (wanted.low, wanted.high)
    assert found.magnitudes.power == wanted.magnitudes.power
    assert (found.magnitudes.counts == wanted.magnitudes.counts).all()
    for axis, channels in wanted.channels.items():
        assert (found.channels[axis].low == channels.low).all()
        assert (found.channels[axis].high == channels.high).all()
        assert found.channels[axis].mean == pytest.approx(channels.mean, abs=1e-6)


def test_of_one_sample_nothing_is_held_out_and_of_many_the_second_half(graph) -> None:
    assert folds(graph, profile_model(graph, drawn(1))) == []
    (half,) = folds(graph, profile_model(graph, drawn(40)))
    assert half.runs == range(20, 40)


def test_large_networks_are_tried_on_half_with_a_wider_margin(graph, monkeypatch) -> None:
    profile = profile_model(graph, drawn(8))
    assert margin_of(folds(graph, profile)) == 3.0
    monkeypatch.setattr(folds_module, "_MOST_WORK", 1)
    parts = folds(graph, profile)
    assert [part.runs for part in parts] == [range(4, 8)]
    assert margin_of(parts) == 6.0
