"""What chance alone tells apart is told apart by agreement and noise."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compiler_core.accuracy.fidelity import added, fidelity_of, sums_of
from compiler_core.accuracy.judge import judges
from compiler_core.accuracy.score import counted, spliced
from compiler_core.accuracy.tally import Tally
from compiler_core.graph.ir import Graph, Node, TensorType
from nest_tune.study.choice.chance import preferred
from nest_tune.study.request.goals import parse_objective
from nest_tune.study.trial import Outcome, OuterTrial

GOALS = (parse_objective("latency_ms"), parse_objective("accuracy"))


def trial(number: int, right: int, agreement: float, sqnr: float, latency: float = 1.0):
    hits = counted([Tally(np.array([1] * right + [0] * (300 - right), np.int64))])
    return OuterTrial(
        number,
        (),
        tuned=True,
        outcome=Outcome.COMPLETE,
        metrics={"latency_ms": latency, "accuracy": hits.value, "accuracy_drop": 0.0},
        accuracy_samples=300,
        intervals={"accuracy": (hits.low or 0.0, hits.high or 1.0)},
        all_hits=hits.hits,
        fidelity={"agreement": agreement, "sqnr_db": sqnr},
    )


def test_the_more_faithful_of_equal_ones_is_taken() -> None:
    lucky, faithful = trial(1, 273, 0.95, 20.0), trial(2, 271, 0.98, 24.0)
    assert preferred(lucky, [lucky, faithful], GOALS) is faithful
    torn = trial(3, 271, 0.98, 19.0)
    assert preferred(lucky, [lucky, torn], GOALS) is lucky
    slower = trial(4, 272, 0.99, 30.0, latency=1.01)
    assert preferred(lucky, [lucky, slower], GOALS) is lucky
    worse = trial(5, 200, 0.99, 30.0)
    assert preferred(lucky, [lucky, worse], GOALS) is lucky
    broken = replace(faithful, outcome=Outcome.CONSTRAINTS)
    assert preferred(lucky, [lucky, broken], GOALS) is lucky
    assert preferred(replace(lucky, fidelity={}), [lucky, faithful], GOALS).number == 1
    better = trial(6, 272, 0.99, 25.0)
    assert preferred(lucky, [lucky, faithful, better], GOALS) is better


def test_sums_of_parts_are_those_of_all() -> None:
    types = {name: TensorType("float32", (1, 5)) for name in ("x", "y")}
    node = Node("soft", "Softmax", ("x",), ("y",))
    graph = Graph("g", ("x",), ("y",), (node,), {}, types, {"": 17}, (), frozenset(("x", "y")))
    generator = np.random.default_rng(0)
    theirs = {"y": generator.random((40, 5)).astype(np.float32)}
    ours = {"y": (theirs["y"] + 0.1 * generator.random((40, 5))).astype(np.float32)}
    judged = judges(graph)

    def sums(part: slice):
        cut = [{"y": side["y"][part]} for side in (ours, theirs)]
        return sums_of(judged, *cut, len(cut[0]["y"]), labelled=True)

    whole = fidelity_of(sums(slice(None)))
    both = fidelity_of(added(sums(slice(0, 15)), sums(slice(15, None))))
    assert both == pytest.approx(whole)
    same = (ours["y"].argmax(1) == theirs["y"].argmax(1)).mean()
    assert whole["agreement"] == pytest.approx(same)
    error = ((ours["y"] - theirs["y"]) ** 2).sum() / (theirs["y"] ** 2).sum()
    assert whole["sqnr_db"] == pytest.approx(-10 * np.log10(error), rel=1e-5)
    one, two = (counted([Tally(np.ones(n, np.int64))]) for n in (15, 25))
    one = replace(one, fidelity=sums(slice(0, 15)))
    two = replace(two, fidelity=sums(slice(15, None)))
    found = spliced(one, range(15), two, range(15, 40))
    assert fidelity_of(found.fidelity) == pytest.approx(whole)
    assert fidelity_of(()) == {}
