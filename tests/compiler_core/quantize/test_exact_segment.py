"""Exact segments whose tensors have first axes of different sizes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from compiler_core.quantize.exact import exact_model
from compiler_core.quantize.exact_segment import ExactSegment
from compiler_core.quantize.ir import IntegerConv, QuantizedTensor


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
