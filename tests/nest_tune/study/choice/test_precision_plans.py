"""Plans of precision by layer against all plans that there are."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nest_tune.study.choice.precision_plans import PrecisionCosts, next_plan, plans

numbers = st.integers(0, 40).map(float)


@st.composite
def tables(draw: st.DrawFn) -> PrecisionCosts:
    layers, precisions = draw(st.integers(1, 4)), draw(st.integers(1, 3))

    def table() -> np.ndarray:
        rows = draw(st.lists(numbers, min_size=layers * precisions, max_size=layers * precisions))
        return np.array(rows).reshape(layers, precisions)

    use = table()
    limit = draw(st.integers(0, 160))
    return PrecisionCosts(table(), table(), (use,), (float(limit),))


@settings(max_examples=60, deadline=None)
@given(tables())
def test_plans_are_the_best_of_all(table: PrecisionCosts) -> None:
    layers, precisions = table.cost.shape
    rows = np.arange(layers)
    every = []
    for block in product(range(precisions), repeat=layers):
        at = rows, np.array(block)
        if table.uses[0][at].sum() <= table.limits[0]:
            every.append((table.cost[at].sum(), table.damage[at].sum(), block))
    found = plans(table)
    assert bool(found) == bool(every)
    if not every:
        return
    assert found[-1].cost == pytest.approx(min(cost for cost, _, _ in every))
    assert found[0].damage == pytest.approx(min(damage for _, damage, _ in every))
    for plan in found:
        at = rows, np.array(plan.block)
        assert (plan.cost, plan.damage) == (table.cost[at].sum(), table.damage[at].sum())
        assert table.uses[0][at].sum() <= table.limits[0]
        assert plan.cost == pytest.approx(
            min(cost for cost, damage, _ in every if damage <= plan.damage + 1e-9)
        )
    assert all(a.damage < b.damage and a.cost > b.cost for a, b in pairwise(found))


def test_the_level_is_found_by_bisection() -> None:
    damages = np.array([[0.0, float(2**layer)] for layer in range(6)])
    costs = np.array([[float(2**layer), 0.0] for layer in range(6)])
    known = plans(PrecisionCosts(costs, damages))
    assert len(known) > 10
    most = known[len(known) // 3].damage
    good: dict[tuple[int, ...], bool] = {}
    while (plan := next_plan(known, good, set(good))) is not None:
        good[plan.block] = plan.damage <= most
        assert len(good) <= 7
    best = max(damage for p in known if good.get(p.block) for damage in [p.damage])
    assert best == most
