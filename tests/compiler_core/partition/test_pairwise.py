"""Exact choices under pairwise costs, against all choices tried one by one."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.partition.pairwise import Exclusion, PairwiseProblem, best_pairwise


def reference(
    problem: PairwiseProblem, room: float | None, excluded: list[Exclusion]
) -> float | None:
    costs = []
    for choice in product(*(range(len(row)) for row in problem.costs)):
        apart = all(
            sum(a != b for a, b in zip(choice, known.choice, strict=True)) >= known.distance
            for known in excluded
        )
        if apart and (room is None or problem.damage(choice) <= room * (1 + 1e-9)):
            costs.append(problem.cost(choice))
    return min(costs, default=None)


@st.composite
def problems(draw: st.DrawFn) -> PairwiseProblem:
    random = np.random.default_rng(draw(st.integers(0, 10**6)))
    sizes = [int(random.integers(1, 4)) for _ in range(draw(st.integers(1, 5)))]
    pairs = {
        (i, j): tuple(tuple(random.integers(-5, 9, sizes[j]).tolist()) for _ in range(sizes[i]))
        for i in range(len(sizes))
        for j in range(i + 1, len(sizes))
        if random.random() < 0.6
    }
    costs = tuple(tuple(random.integers(1, 20, size).tolist()) for size in sizes)
    damages = tuple((0, *random.integers(0, 6, size - 1).tolist()) for size in sizes)
    return PairwiseProblem(costs, damages, pairs)


@given(problems(), st.one_of(st.none(), st.integers(0, 8)), st.booleans())
def test_the_optimum_is_that_of_all_choices(
    problem: PairwiseProblem, room: int | None, again: bool
) -> None:
    excluded: list[Exclusion] = []
    for _ in range(2 if again else 1):
        expected = reference(problem, room, excluded)
        found = best_pairwise(problem, room, excluded)
        if expected is None:
            assert found is None
            return
        assert found is not None
        assert found.cost == pytest.approx(expected, rel=1e-3, abs=1e-3)
        assert found.cost == problem.cost(found.choice)
        assert found.bound <= found.cost + 1e-9
        assert found.gap <= 1e-3 or found.cost < 1
        assert room is None or problem.damage(found.choice) <= room + 1e-6
        excluded.append(Exclusion(found.choice))


def test_nothing_to_choose_and_what_is_no_number() -> None:
    found = best_pairwise(PairwiseProblem((), (), {}))
    assert found is not None
    assert (found.choice, found.cost, found.gap) == ((), 0.0, 0.0)
    with pytest.raises(InputError, match="not finite"):
        best_pairwise(PairwiseProblem(((float("nan"),),), ((0.0,),), {}))
