"""How often a loop runs whose end is counted, and what is not followed."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from compiler_core.graph.passes.counted_ends import counted_times


def body(links: int, kind: int) -> onnx.GraphProto:
    """Goes on while the number of the time, through so many nodes, is less than a limit."""
    nodes = [helper.make_node("Cast", ["time"], ["n0"], to=kind)]
    nodes += [helper.make_node("Identity", [f"n{at}"], [f"n{at + 1}"]) for at in range(links)]
    nodes.append(helper.make_node("Less", [f"n{links}", "limit"], ["more"]))
    known = [
        helper.make_tensor_value_info("time", TensorProto.INT64, []),
        helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
    ]
    end = helper.make_tensor_value_info("more", TensorProto.BOOL, [])
    return helper.make_graph(nodes, "body", known, [end])


@pytest.mark.parametrize(
    ("links", "kind", "times"),
    [
        (0, TensorProto.INT32, 6),
        (50, TensorProto.FLOAT, 6),
        (5000, TensorProto.INT32, None),  # work that a hostile model would multiply by its times
        (0, TensorProto.STRING, None),
        (0, 999, None),
    ],
)
def test_ends_of_few_numbers_are_counted(links: int, kind: int, times: int | None) -> None:
    assert counted_times(body(links, kind), {}, {"limit": np.array(5)}, None) == times
