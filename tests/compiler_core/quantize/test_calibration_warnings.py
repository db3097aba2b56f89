"""Calibration data that leave ranges unknown."""

from __future__ import annotations

import numpy as np

from compiler_core.quantize.calibration_warnings import calibration_warnings
from compiler_core.quantize.profile import profile_model


def warned(plain, samples):
    build = plain.GraphBuilder(x=(2, 4, 4))
    weight = np.random.default_rng(0).standard_normal((3, 2, 1, 1)).astype("f4")
    build.add("Conv", ["x", build.constant("w", weight)], "c", (3, 4, 4))
    build.add("Relu", ["c"], "y", (3, 4, 4))
    graph = build.build("y")
    return calibration_warnings(graph, profile_model(graph, {"x": samples.astype("f4")}))


def test_good_samples_are_no_reason_to_warn(plain) -> None:
    assert not warned(plain, np.random.default_rng(0).standard_normal((5, 2, 4, 4)))


def test_zeros_alone_are_told(plain) -> None:
    (first, *_) = warned(plain, np.zeros((5, 2, 4, 4)))
    assert first.startswith("input 'x' is 0 throughout all 5 calibration samples")


def test_a_constant_is_told(plain) -> None:
    lines = warned(plain, np.full((5, 2, 4, 4), 0.5))
    assert "input 'x' is 0.5 throughout" in lines[0]


def test_one_sample_and_equal_samples_are_told(plain) -> None:
    sample = np.random.default_rng(0).standard_normal((1, 2, 4, 4))
    assert "one calibration sample" in warned(plain, sample)[-1]
    assert "are equal" in warned(plain, np.repeat(sample, 4, axis=0))[-1]


def test_tensors_that_are_zero_are_told(plain) -> None:
    """One by its name, several by their number and the first name."""
    for silent in (1, 2):
        build = plain.GraphBuilder(x=(2, 4))
        build.add("Abs", ["x"], "a", (2, 4))
        last = "a"
        for number in range(silent):
            build.add(
                "Mul", [last, build.constant(f"z{number}", np.zeros(1, "f4"))], f"m{number}", (2, 4)
            )
            last = f"m{number}"
        build.add("Add", [last, "a"], "y", (2, 4))
        graph = build.build("y")
        samples = np.random.default_rng(0).standard_normal((5, 2, 4)).astype("f4")
        (line,) = calibration_warnings(graph, profile_model(graph, {"x": samples}))
        if silent == 1:
            assert line.startswith("tensor 'm0' is 0 throughout all 5 calibration samples: its")
        else:
            assert line.startswith(
                "2 of 5 tensors are 0 throughout all 5 calibration samples, first"
            )
