"""What is good enough, output by output."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compiler_core.quantize.good_enough import is_ruin, reason_against, shortfall, worst
from compiler_core.quantize.quality import OutputQuality, _varying_power

FINE = OutputQuality("y", 30.0, 25.0, 0.99, 100, exact=False, samples=100)


@pytest.mark.parametrize(
    ("changed", "enough"),
    [
        ({}, True),
        ({"agreement": 0.9}, True),  # a high SQNR makes up for it
        ({"sqnr_db": 17.0}, True),  # agreement makes up for it
        ({"sqnr_db": 17.0, "agreement": 0.9}, False),
        ({"agreement": 0.5}, False),
        ({"varying_db": 3.0}, False),  # a large constant hides the noise
        ({"varying_db": None}, True),
        ({"agreement": None}, True),
        ({"agreement": None, "sqnr_db": 17.0}, False),
        ({"agreement": 0.0, "positions": 1}, True),  # one position says nothing
        ({"exact": True, "sqnr_db": -200.0}, True),  # integers are equal or not
        ({"exact": True, "agreement": 0.9}, False),
    ],
)
def test_an_output_is_good_enough_or_not(changed: dict[str, object], enough: bool) -> None:
    found = replace(FINE, **changed)  # type: ignore[arg-type]
    assert (shortfall(found) == 0) is enough
    assert bool(reason_against([FINE, found])) is not enough


def test_the_worst_output_is_the_one_that_falls_short_most() -> None:
    bad = replace(FINE, output="boxes", sqnr_db=12.345, varying_db=11.0, agreement=None)
    found = worst([FINE, bad, replace(FINE, output="z", sqnr_db=5.0, agreement=1.0)])
    assert found is not None
    assert (found.output, found.sqnr_db, found.agreement) == ("boxes", 12.35, None) or (
        found.output == "boxes" and found.sqnr_db in (12.34, 12.35)
    )
    assert worst([]) is None


@pytest.mark.parametrize(("differs", "counts"), [(1e-4, False), (1e-2, True)])
def test_what_no_8_bits_tell_apart_does_not_differ_between_samples(
    differs: float, counts: bool
) -> None:
    outputs = np.ones((8, 50)) + differs * np.random.default_rng(0).normal(size=(8, 50))
    power = _varying_power(outputs, 8, "y")
    assert (power is not None) == counts
    if power is not None:
        assert power == pytest.approx(((outputs - outputs.mean(axis=0)) ** 2).sum())


@pytest.mark.parametrize(
    ("changed", "ruin"),
    [
        ({}, False),
        ({"sqnr_db": 2.0, "agreement": 0.3, "varying_db": 1.0}, True),
        ({"sqnr_db": 30.0, "varying_db": -12.0}, True),  # a 128th of the output, and lost
        ({"sqnr_db": 38.0, "varying_db": -12.0}, False),  # a 316th: no 8 bits tell it apart
    ],
)
def test_what_no_8_bits_tell_apart_makes_no_ruin(changed: dict[str, float], ruin: bool) -> None:
    found = replace(FINE, **changed)
    assert is_ruin([FINE, found]) == ruin
    assert is_ruin([replace(found, before=(found,))]) == ruin
