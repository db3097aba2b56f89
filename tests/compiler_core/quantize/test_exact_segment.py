"""Exact segments whose tensors have first axes of different sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.quantize.exact import exact_model
from compiler_core.quantize.exact_segment import ExactSegment
from compiler_core.quantize.ir import IntegerConv, QuantizedTensor
from compiler_core.quantize.shared_sessions import SharedSessions


def pointwise(name, source, output, channels):
    """Doubles every integer."""
    return IntegerConv(
        name=name,
        input=source,
        output=output,
        weight=(2 * np.eye(channels, dtype=np.int8)).reshape(channels, channels, 1, 1),
        bias=np.zeros(channels, np.int32),
        strides=(1, 1),
        pads=(0, 0, 0, 0),
        dilations=(1, 1),
        groups=1,
        shift=0,
        clip_min=-128,
        clip_max=127,
        sources=(name,),
    )


@settings(max_examples=20, deadline=None)
@given(rows=st.lists(st.integers(1, 20), min_size=2, max_size=4), runs=st.integers(1, 5))
def test_tensors_of_a_segment_have_as_many_rows_as_they_have(rows, runs):
    names = [f"t{number}" for number in range(len(rows))]
    operators = [pointwise(f"n{name}", name, f"{name}/out", 4) for name in names]
    tensors = {
        tensor: QuantizedTensor(tensor, (count, 4, 1, 1), 0)
        for name, count in zip(names, rows, strict=True)
        for tensor in (name, f"{name}/out")
    }
    outputs = [f"{name}/out" for name in names]
    feeds = {
        name: np.full((runs * count, 4, 1, 1), number + 1, np.float32)
        for number, (name, count) in enumerate(zip(names, rows, strict=True))
    }
    found = ExactSegment(operators, tensors, outputs).run(feeds)
    for name in names:
        np.testing.assert_array_equal(found[f"{name}/out"], 2 * feeds[name])
    declared = exact_model(operators, tensors, names, outputs).graph
    dims = {v.name: v.type.tensor_type.shape.dim[0].dim_param for v in declared.input}
    assert len(set(dims.values())) == len(set(rows))


def rows_doubled(steps, weights):
    """A chain of layers, one after another in segments of their own, over tensors of four
    channels."""
    names = [f"t{number}" for number in range(steps + 1)]
    operators = [
        replace(pointwise(f"n{number}", names[number], names[number + 1], 4), weight=weight)
        for number, weight in enumerate(weights)
    ]
    return operators, {name: QuantizedTensor(name, (1, 4, 1, 1), 0) for name in names}


def test_segments_that_differ_by_names_alone_share_a_session(monkeypatch):
    made = []
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(
        onnxruntime, "InferenceSession", lambda *a, **k: made.append(a) or session(*a, **k)
    )
    turn = np.roll(np.eye(4, dtype=np.int8), 1, axis=0).reshape(4, 4, 1, 1)
    double = (2 * np.eye(4, dtype=np.int8)).reshape(4, 4, 1, 1)
    operators, tensors = rows_doubled(4, [double, turn, double.copy(), turn.copy()])
    shared = SharedSessions()
    held = {"t0": np.arange(4, dtype=np.float32).reshape(1, 4, 1, 1)}
    for operator in operators:
        segment = ExactSegment([operator], tensors, [operator.output], sessions=shared)
        held |= segment.run(held)
    assert len(made) == 2
    assert held["t4"].ravel().tolist() == [8, 12, 0, 4]


@pytest.mark.parametrize(
    "changed",
    [{"shift": 1}, {"bias": np.ones(4, np.int32)}, {"clip_max": 5}, {"residual": "t0"}],
    ids=lambda changed: next(iter(changed)),
)
def test_segments_that_compute_otherwise_do_not_share_a_session(changed):
    tensors = {name: QuantizedTensor(name, (1, 4, 1, 1), 0) for name in ("t0", "a", "b")}
    one, other = pointwise("a", "t0", "a", 4), pointwise("b", "t0", "b", 4)
    shared = SharedSessions()
    feed = {"t0": np.full((1, 4, 1, 1), 5, np.float32)}
    first = ExactSegment([one], tensors, ["a"], sessions=shared).run(feed)["a"]
    second = ExactSegment([replace(other, **changed)], tensors, ["b"], sessions=shared).run(feed)
    assert (first == 10).all()
    assert (second["b"] != 10).all()
