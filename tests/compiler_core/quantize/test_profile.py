"""Profiles: one pass equals a plain one, files read back, damaged ones are refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from compiler_core.errors import InputError
from compiler_core.files.npz import read_npz, write_npz
from compiler_core.quantize.magnitudes import NO_MAGNITUDES
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.profile_file import read_profile, write_profile
from compiler_core.quantize.range_methods import (
    clipped_magnitude,
    kl_divergence,
    percentile,
    squared_error,
)
from compiler_core.quantize.scheme import CalibrationSize, RangeMethod
from compiler_core.quantize.statistics import RunningStatistics
from tests.float_runs import run_float


def random(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def network(plain):
    b = plain.GraphBuilder(x=(9, 6))
    b.add("MatMul", ["x", b.constant("w", random(6, 8))], "h", (9, 8), clip=(0.0, np.inf))
    b.add("MatMul", ["h", b.constant("v", random(8, 5, seed=2))], "y", (9, 5))
    return b.build("y")


@pytest.mark.filterwarnings("error")
def test_sums_of_masks_do_not_overflow():
    """Masks of attention are near the least value of float32: sums of two leave its range."""
    running = RunningStatistics((1,))
    mask = np.zeros((2, 3, 8), np.float32)
    mask[:, 1] = np.finfo(np.float32).min
    running.add(mask)
    mean = running.snapshot().channels[1].mean
    assert mean == pytest.approx([0, np.finfo(np.float32).min, 0])


@pytest.mark.parametrize("shape", [(5, 4), (3, 7, 2), (2, 3, 4, 16), (2, 3, 40), (2, 5, 4, 4)])
def test_extremes_of_channels_are_the_same_however_they_are_found(shape):
    for axis in range(1, len(shape)):
        running = RunningStatistics((axis,))
        value = random(*shape, seed=axis)
        running.add(value)
        running.add(-value)
        found = running.snapshot().channels[axis]
        others = tuple(other for other in range(len(shape)) if other != axis)
        most = np.abs(value).max(axis=others)
        np.testing.assert_array_equal(found.low, -most)
        np.testing.assert_array_equal(found.high, most)


def test_statistics_of_every_size(network):
    x = random(21, 9, 6, seed=3)
    profile = profile_model(network, {"x": x}, [5])
    assert sorted(profile.sizes) == [1, 5, 11, 21]
    for size in (1, 5, 11, 21):
        values = run_float(network, {"x": x[:size]}, ["h", "y"]) | {"x": x[:size]}
        for name, value in values.items():
            known = profile.ranges(size)[name]
            assert known.low == pytest.approx(value.min(), abs=1e-5)
            assert known.high == pytest.approx(value.max(), abs=1e-5)
            for axis, others in ((1, (0, 2)), (2, (0, 1))):
                found = known.channels[axis]
                np.testing.assert_allclose(found.mean, value.mean(axis=others), atol=1e-5)
                np.testing.assert_allclose(found.low, value.min(axis=others), atol=1e-5)
                np.testing.assert_allclose(found.high, value.max(axis=others), atol=1e-5)
            assert known.positive.counts.sum() == (value > 0).sum()
            assert known.negative.counts.sum() == (value < 0).sum()
    assert profile.ranges(CalibrationSize.HALF) is profile.sizes[11]
    with pytest.raises(InputError, match="no statistics of 7 samples; it has those of 1, 5, 11"):
        profile.ranges(7)


def test_files_read_back(network, tmp_path):
    profile = profile_model(network, {"x": random(4, 9, 6)})
    write_profile(tmp_path / "profile", profile)
    found = read_profile(tmp_path / "profile")
    assert (found.model_digest, found.data_digest) == (profile.model_digest, profile.data_digest)
    for size, tensors in profile.sizes.items():
        for name, known in tensors.items():
            again = found.ranges(size)[name]
            assert (again.low, again.high) == (known.low, known.high)
            np.testing.assert_array_equal(again.positive.counts, known.positive.counts)
            assert again.negative.power == known.negative.power
            for axis, channels in known.channels.items():
                np.testing.assert_array_equal(again.channels[axis].mean, channels.mean)
    found.check_model(network)


def test_files_hold_no_empty_bins(network, tmp_path, monkeypatch):
    profile = profile_model(network, {"x": random(4, 9, 6)})
    write_profile(tmp_path / "profile", profile)
    arrays = read_npz(tmp_path / "profile")
    assert arrays["4.positive_counts"].min() > 0
    assert sum(array.nbytes for array in arrays.values()) < 3 * 3 * 2048 * 8
    # Nor may a small file become large histograms.
    monkeypatch.setattr("compiler_core.quantize.profile_file._HISTOGRAM_BYTES_MAX", 5 * 2048 * 8)
    with pytest.raises(InputError, match="histograms take more than 0 MiB"):
        read_profile(tmp_path / "profile")


def test_another_model_is_refused(network, plain):
    profile = profile_model(network, {"x": random(2, 9, 6)})
    b = plain.GraphBuilder(x=(4,))
    b.add("Relu", ["x"], "y", (4,))
    with pytest.raises(InputError, match="profile is of a model with digest"):
        profile.check_model(b.build("y"))


def _damage(arrays, what):
    if what == "manifest":
        return {key: value for key, value in arrays.items() if key != "manifest"}
    if what == "shape":
        return arrays | {"1.positive_used": arrays["1.positive_used"][:1]}
    if what == "bins":
        return arrays | {"1.positive_bins": arrays["1.positive_bins"][1:]}
    if what == "beyond":
        return arrays | {"1.positive_bins": arrays["1.positive_bins"] + np.uint16(2048)}
    if what == "used":
        return arrays | {"1.positive_used": -arrays["1.positive_used"]}
    if what == "nan":
        return arrays | {"1.low": np.full_like(arrays["1.low"], np.nan)}
    if what == "negative":
        return arrays | {"1.positive_counts": -arrays["1.positive_counts"] - 1}
    manifest = json.loads(arrays["manifest"].tobytes())
    manifest["channels"] = [[99, 1, 5]]
    return arrays | {"manifest": np.frombuffer(json.dumps(manifest).encode(), np.uint8)}


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("manifest", "not a profile"),
        ("shape", "'1.positive_used' is int64"),
        ("bins", "'1.positive_bins' is uint16"),
        ("beyond", "'1.positive_bins' holds impossible values"),
        ("used", "'1.positive_used' holds impossible values"),
        ("nan", "'1.low' holds impossible values"),
        ("negative", "'1.positive_counts' holds impossible values"),
        ("channels", "manifest of the profile is damaged"),
    ],
)
def test_damaged_files(network, tmp_path, what, message):
    path = tmp_path / "profile.npz"
    write_profile(path, profile_model(network, {"x": random(2, 9, 6)}))
    write_npz(path, _damage(read_npz(path), what))
    with pytest.raises(InputError, match=message):
        read_profile(path)


def test_range_methods_find_what_they_look_for():
    values = np.concatenate([random(20000), np.float32([40.0])])
    magnitudes = NO_MAGNITUDES.with_values(values)
    assert clipped_magnitude(magnitudes, 40.0, RangeMethod.MAX, 127) == 40.0
    assert clipped_magnitude(None, 40.0, RangeMethod.MSE, 127) == 40.0
    found = {
        method: clipped_magnitude(magnitudes, 40.0, method, 127)
        for method in (RangeMethod.PERCENTILE, RangeMethod.KL, RangeMethod.MSE)
    }
    assert 3.0 < found[RangeMethod.PERCENTILE] < 5.0
    assert 3.0 < found[RangeMethod.KL] < 10.0
    # A single outlier of this size costs more than the resolution that clipping it gains.
    assert 30.0 < found[RangeMethod.MSE] < 40.0
    best = squared_error(magnitudes, found[RangeMethod.MSE], 127)
    assert best < min(squared_error(magnitudes, value, 127) for value in (40.0, 20.0, 5.0))
    assert percentile(magnitudes, 0.5) == pytest.approx(np.median(np.abs(values)), abs=0.04)
    error = (np.minimum(np.rint(np.abs(values) / 0.05), 127) * 0.05 - np.abs(values)) ** 2
    assert squared_error(magnitudes, 127 * 0.05, 127) == pytest.approx(error.sum(), rel=0.02)
    assert 0 <= kl_divergence(magnitudes, 6.0, 127) < kl_divergence(magnitudes, 0.5, 127)


def test_statistics_of_too_many_channels_are_refused(network, monkeypatch):
    x = random(2, 9, 6)
    monkeypatch.setattr("compiler_core.quantize.calibration._CHANNELS_MAX", 20)
    with pytest.raises(InputError, match=r"channels, with those of the tensors before it; .* 20"):
        profile_model(network, {"x": x}, [2])


def test_the_steps_of_a_signal_are_no_channels(plain):
    """A signal's last axis is time; that of tokens is what products mix."""
    build, draw = plain.GraphBuilder(x=(2, 50)), np.random.default_rng(0)
    kernel, weight = (draw.standard_normal(s).astype("f4") for s in ((8, 2, 3), (8, 5)))
    build.add("Conv", ["x", build.constant("k", kernel)], "h", (8, 50), pads=(1, 1))
    build.add("Transpose", ["h"], "tokens", (50, 8), perm=(0, 2, 1))
    build.add("MatMul", ["tokens", build.constant("w", weight)], "y", (50, 5))
    graph = build.build("y")
    samples = {"x": draw.standard_normal((3, 2, 50)).astype("f4")}
    ranges = profile_model(graph, samples).ranges()
    assert {name: {*known.channels} for name, known in ranges.items()} == {
        "x": {1, 2},
        "h": {1},
        "tokens": {1, 2},
        "y": {1, 2},
    }
