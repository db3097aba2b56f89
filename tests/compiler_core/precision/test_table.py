"""Costs of pairs, whatever the clock said of them."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.precision.table import bounded
from compiler_core.sums import float_sum

PLACES = ("cpu", "cpu:u8")


@st.composite
def odd_measurements(draw: st.DrawFn):  # type: ignore[no-untyped-def]
    """Times of some operators, and of pairs that may take less than nothing beside them."""
    names = [f"n{number}" for number in range(draw(st.integers(2, 5)))]
    times = st.floats(0.0, 50.0)
    singles = {name: {place: draw(times) for place in PLACES} for name in names}
    every = [(a, b) for at, a in enumerate(names) for b in names[at + 1 :]]
    pairs = draw(st.lists(st.sampled_from(every), unique=True))
    together = {pair: {both: draw(times) for both in product(PLACES, PLACES)} for pair in pairs}
    borders = {
        (a, b): {(p, q): t - singles[a][p] - singles[b][q] for (p, q), t in costs.items()}
        for (a, b), costs in together.items()
    }
    return singles, borders


@settings(max_examples=200, deadline=None)
@given(odd_measurements())
def test_no_plan_takes_less_than_a_share_of_its_operators(found) -> None:  # type: ignore[no-untyped-def]
    singles, borders = found
    held = bounded(borders, singles)
    assert held.keys() == borders.keys()
    for pair, costs in held.items():
        assert all(cost >= borders[pair][both] for both, cost in costs.items())
    for places in product(PLACES, repeat=len(singles)):
        at = dict(zip(singles, places, strict=True))
        own = float_sum(singles[name][place] for name, place in at.items())
        total = own + float_sum(costs[at[a], at[b]] for (a, b), costs in held.items())
        assert total >= 0.05 * own - 1e-9


def test_a_chain_that_is_fused_whole_costs_what_it_was_measured_at() -> None:
    """Three equal operators as one kernel: each pair saves one of them, and a twentieth is held
    back."""
    singles = {name: {"cpu": 10.0} for name in "abc"}
    borders = {pair: {("cpu", "cpu"): -10.0} for pair in (("a", "b"), ("b", "c"))}
    assert bounded(borders, singles) == borders


def test_an_operator_is_saved_once() -> None:
    """A star of cheap kernels around one that every pair seems to save."""
    singles = {name: {"cpu": 8.0} for name in "abcde"}
    borders = {("a", other): {("cpu", "cpu"): -12.0} for other in "bcde"}
    total = 40.0 + sum(costs["cpu", "cpu"] for costs in bounded(borders, singles).values())
    assert borders[("a", "b")]["cpu", "cpu"] * 4 + 40.0 < 0.0 < total
