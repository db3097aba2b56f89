"""Rounding that minds the sums: against one column at a time, written plainly, and brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.quantize import gptq
from compiler_core.quantize.gptq import compensated_levels, fitted_weights, moments_of


def windows(groups, size, count, seed):
    random = np.random.default_rng(seed)
    mix = random.standard_normal((groups, size, size))
    return mix @ random.standard_normal((groups, size, count))


def plain_levels(row, hessian, largest=127):
    """One output of one group, as the paper derives it: the rest is solved anew each time."""
    size = len(row)
    damped = hessian + np.eye(size) * 0.01 * np.diag(hessian).mean()
    order = sorted(range(size), key=lambda i: (-np.diag(hessian)[i], i))
    row, levels = row.copy(), np.zeros(size)
    for number, index in enumerate(order):
        left = order[number:]
        inverse = np.linalg.inv(damped[np.ix_(left, left)])
        levels[index] = np.clip(np.rint(row[index]), -largest, largest)
        lost = (row[index] - levels[index]) / inverse[0, 0]
        row[left] -= lost * inverse[0]
    return levels


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 7), st.integers(0, 99))
def test_levels_follow_the_definition(groups, outputs, size, seed):
    random = np.random.default_rng(seed)
    q = windows(groups, size, 4 * size + 3, seed)
    hessian = q @ q.transpose(0, 2, 1) / q.shape[2]
    scaled = random.standard_normal((groups, outputs, size)) * 60
    found = compensated_levels(scaled, hessian)
    for group, output in product(range(groups), range(outputs)):
        expected = plain_levels(scaled[group, output], hessian[group])
        np.testing.assert_array_equal(found[group, output], expected)


@pytest.mark.parametrize("seed", range(5))
def test_levels_of_fewer_bits_stay_within_them(seed):
    random = np.random.default_rng(seed)
    q = windows(1, 6, 30, seed)
    hessian = q @ q.transpose(0, 2, 1) / q.shape[2]
    scaled = random.standard_normal((1, 4, 6)) * 5
    found = compensated_levels(scaled, hessian, 7)
    assert np.abs(found).max() == 7
    for output in range(4):
        expected = plain_levels(scaled[0, output], hessian[0], 7)
        np.testing.assert_array_equal(found[0, output], expected)


@pytest.mark.parametrize("size", [1, 63, 64, 65, 150])
def test_levels_of_wide_kernels_are_those_of_one_column_after_the_other(size, monkeypatch):
    q = windows(2, size, 3 * size, 5)
    hessian = q @ q.transpose(0, 2, 1) / q.shape[2]
    scaled = np.random.default_rng(6).standard_normal((2, 3, size)) * 60
    found = compensated_levels(scaled, hessian)
    monkeypatch.setattr(gptq, "_BLOCK", size)
    np.testing.assert_array_equal(found, compensated_levels(scaled, hessian))


@pytest.mark.parametrize("shift", [0.0, 0.01])
@pytest.mark.parametrize("still", ["all", "one channel", "none but one"])
def test_inputs_that_never_change_leave_the_weights(still, shift):
    random = np.random.default_rng(8)
    q = np.repeat(random.standard_normal((1, 30, 1)), 200, axis=2)
    moving = {"all": [], "one channel": range(1, 30), "none but one": [3]}[still]
    q[:, list(moving)] = random.standard_normal((1, len(moving), 200))
    folds = [moments_of(1.1 * q[:, :, i::2] + shift, q[:, :, i::2]) for i in (0, 1)]
    weight = random.standard_normal((1, 5, 30))
    found = fitted_weights(weight, folds)
    dead = [channel for channel in range(30) if channel not in moving]
    np.testing.assert_allclose(found[:, :, dead], weight[:, :, dead], atol=1e-12)
    levels = compensated_levels(found * 30, folds[0].plus(folds[1]).covariances()[0])
    np.testing.assert_array_equal(levels[:, :, dead], np.rint(weight * 30)[:, :, dead])
    assert np.isfinite(levels).all()


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 6), st.integers(0, 99))
def test_ridges_follow_the_definition(groups, outputs, size, seed):
    q = windows(groups, size, 5 * size + 3, seed)
    x = q + 0.1 * windows(groups, size, 5 * size + 3, seed + 1)
    weight = np.random.default_rng(seed).standard_normal((groups, outputs, size))
    found = gptq._ridged(weight, moments_of(x, q))
    for group in range(groups):
        near, far = (a - a.mean(axis=1, keepdims=True) for a in (q[group], x[group]))
        h, c = near @ near.T / near.shape[1], far @ near.T / near.shape[1]
        for ridge, fitted in zip(gptq._RIDGES, found, strict=True):
            inverse = np.linalg.inv(h + ridge * np.trace(h) / size * np.eye(size))
            expected = weight[group] @ (np.eye(size) + (c - h) @ inverse)
            np.testing.assert_allclose(fitted[group], expected, rtol=1e-7, atol=1e-9)


def test_sums_err_less_than_with_the_nearest_integers():
    q = windows(2, 12, 500, 3)
    hessian = q @ q.transpose(0, 2, 1) / q.shape[2]
    scaled = np.random.default_rng(4).standard_normal((2, 20, 12)) * 5

    def error(levels):
        return (((levels - scaled) @ q) ** 2).sum()

    assert error(compensated_levels(scaled, hessian)) < 0.5 * error(np.rint(scaled))


def test_diagonal_hessians_and_dead_inputs_round_to_nearest():
    scaled = np.random.default_rng(5).standard_normal((1, 6, 4)) * 80
    nearest = np.clip(np.rint(scaled), -127, 127)
    for diagonal in ([1.0, 2.0, 3.0, 4.0], [1.0, 0.0, 0.0, 2.0], [0.0, 0.0, 0.0, 0.0]):
        np.testing.assert_array_equal(compensated_levels(scaled, np.diag(diagonal)[None]), nearest)


def test_fitted_weights_undo_a_distortion_of_the_input():
    x = windows(1, 5, 4000, 6)
    weight = np.random.default_rng(7).standard_normal((1, 3, 5))
    q = 0.8 * x + 0.05 * np.random.default_rng(8).standard_normal(x.shape)
    folds = [moments_of(x[:, :, start::2], q[:, :, start::2]) for start in (0, 1)]
    found = fitted_weights(weight, folds)
    centred = (q - q.mean(axis=2, keepdims=True))[0].T
    aim = (x - x.mean(axis=2, keepdims=True))[0].T @ weight[0].T
    mean = (centred**2).mean()
    plain = []
    for ridge in gptq._RIDGES:
        # Least squares, with rows that pull the weights back.
        pull = np.sqrt(ridge * mean * len(centred)) * np.eye(5)
        rows, wanted = np.vstack([centred, pull]), np.vstack([aim, pull @ weight[0].T])
        plain.append(np.linalg.lstsq(rows, wanted, rcond=None)[0].T)
    errors = [((centred @ v.T - aim) ** 2).sum() for v in (weight[0], *plain)]
    assert min(errors[1:]) < 0.8 * errors[0]
    np.testing.assert_allclose(found[0], plain[int(np.argmin(errors[1:]))], rtol=1e-6)


@pytest.mark.parametrize("count", [2, 8])
def test_weights_stay_where_halves_of_the_samples_disagree(count):
    random = np.random.default_rng(9)
    x, weight = random.standard_normal((1, 30, count)), random.standard_normal((1, 2, 30))
    q = x + 0.3 * random.standard_normal(x.shape)
    folds = [moments_of(x[:, :, start::2], q[:, :, start::2]) for start in (0, 1)]
    np.testing.assert_array_equal(fitted_weights(weight, folds), weight)


def test_ties_do_not_depend_on_the_noise_of_sums():
    """Weights of few bits lie in the middle of two integers; machines differ in the last bits."""
    random = np.random.default_rng(3)
    scaled = random.integers(-200, 200, (1, 6, 24)) / 2
    hessian = np.diag(random.integers(1, 9, 24).astype(float))[None]
    expected = compensated_levels(scaled, hessian)
    for _ in range(5):
        noise = 1e-13 * random.standard_normal(hessian.shape)
        noisy = hessian + (noise + noise.transpose(0, 2, 1)) * (hessian == 0)
        np.testing.assert_array_equal(compensated_levels(scaled, noisy), expected)
