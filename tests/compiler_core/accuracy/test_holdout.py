"""What chooses and what reports share no sample."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.accuracy.holdout import reported_runs, split, usual_share
from compiler_core.accuracy.samples import EvaluationData
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, Node, TensorType


def graph(batch: int) -> Graph:
    types = {name: TensorType("float32", (batch, 3)) for name in ("x", "y")}
    node = Node("relu", "Relu", ("x",), ("y",))
    free = frozenset(("x", "y")) if batch == 1 else frozenset()
    return Graph("g", ("x",), ("y",), (node,), {}, types, {"": 17}, (), free)


def data(samples: int) -> EvaluationData:
    numbers = np.arange(samples)
    inputs = {"x": np.repeat(numbers[:, None], 3, axis=1).astype(np.float32)}
    return EvaluationData("e.npz", inputs, numbers, samples)


@given(st.integers(2, 600), st.floats(0.01, 0.99), st.sampled_from([1, 2, 4]))
def test_both_parts_together_are_all_samples_once(runs: int, share: float, batch: int) -> None:
    whole = data(runs * batch)
    wanted = round(share * runs)
    if not 0 < wanted < runs:
        with pytest.raises(InputError, match="leaves nothing"):
            split(whole, graph(batch), share)
        return
    parts = split(whole, graph(batch), share)
    assert parts.reporting is not None
    assert parts.reporting.samples == wanted * batch
    seen = []
    for part in (parts.choosing, parts.reporting):
        assert part.labels is not None
        np.testing.assert_array_equal(part.inputs["x"][:, 0], part.labels)
        assert part.samples == len(part.labels)
        assert (part.labels.reshape(-1, batch)[:, 0] % batch == 0).all()
        seen += part.labels.tolist()
    assert sorted(seen) == list(range(runs * batch))
    np.testing.assert_array_equal(reported_runs(runs, share), reported_runs(runs, share))


def test_a_quarter_of_enough_labelled_samples_reports() -> None:
    assert usual_share(data(400)) == 0.25
    assert usual_share(data(399)) == 0.0
    assert usual_share(replace(data(5000), labels=None)) == 0.0
    whole = data(10)
    parts = split(whole, graph(1), 0.0)
    assert parts.choosing is whole
    assert parts.reporting is None
