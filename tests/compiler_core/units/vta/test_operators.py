"""What the VTA runs and what it leaves, with the reason that a user reads."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node, TensorType
from compiler_core.units.vta.operators import RULES, unsupported


def node_in_graph(op, shapes, result, *, constants=(), clip=None, dtype="float32", **attributes):
    """A graph of one node; ``shapes`` are those of its activations, batch 1 and dynamic."""
    types = {f"x{i}": TensorType(dtype, shape) for i, shape in enumerate(shapes)}
    inputs = list(types)
    values = {}
    for i, value in enumerate(constants):
        values[f"k{i}"] = np.asarray(value)
        types[f"k{i}"] = TensorType(str(values[f"k{i}"].dtype), values[f"k{i}"].shape)
        inputs.append(f"k{i}")
    types["y"] = TensorType(dtype, result)
    domain = NEST_DOMAIN if op == "Dense" else ""
    node = Node("node", op, tuple(inputs), ("y",), attributes, domain, clip)
    activations = frozenset(types) - frozenset(values)
    data = tuple(name for name in inputs if name not in values)
    graph = Graph("g", data, ("y",), (node,), values, types, {"": 17}, (), activations)
    return graph, node


def weight(*shape):
    return np.ones(shape, np.float32)


IMAGE = (1, 16, 8, 8)

SUPPORTED = {
    "conv": ("Conv", [IMAGE], (1, 4, 3, 3), [weight(4, 16, 3, 3)], {"strides": (2, 2)}),
    "conv 1d": ("Conv", [(1, 4, 9)], (1, 2, 7), [weight(2, 4, 3)], {}),
    "dilated": ("Conv", [IMAGE], (1, 4, 4, 4), [weight(4, 16, 3, 3)], {"dilations": (2, 2)}),
    "same": ("Conv", [IMAGE], (1, 4, 8, 8), [weight(4, 16, 4, 4)], {"auto_pad": "SAME_LOWER"}),
    "dense": ("Dense", [(1, 9, 5)], (1, 9, 3), [weight(5, 3), weight(3)], {}),
    "gemm": ("Gemm", [(1, 5)], (1, 3), [weight(3, 5), weight(1, 3)], {"transB": 1, "beta": 2.0}),
    "add": ("Add", [IMAGE, IMAGE], IMAGE, [], {}),
    "max pool": (
        "MaxPool",
        [IMAGE],
        (1, 16, 4, 4),
        [],
        {"kernel_shape": (3, 3), "strides": (2, 2), "ceil_mode": 1},
    ),
    "average": ("AveragePool", [IMAGE], (1, 16, 4, 4), [], {"kernel_shape": (5, 5)}),
    "global": ("GlobalAveragePool", [IMAGE], (1, 16, 1, 1), [], {}),
    "concat": ("Concat", [IMAGE, (1, 3, 8, 8)], (1, 19, 8, 8), [], {"axis": -3}),
    "clip": ("Clip", [IMAGE], IMAGE, [np.float32(0), np.float32(6)], {}),
    "slice": ("Slice", [IMAGE], (1, 16, 4, 8), [[1], [9], [2], [2]], {}),
    "pad": ("Pad", [IMAGE], (1, 20, 8, 9), [[0, 2, 0, 1, 0, 2, 0, 0]], {}),
    "view": ("Transpose", [IMAGE], (1, 8, 8, 16), [], {"perm": (0, 2, 3, 1)}),
}


@pytest.mark.parametrize("case", SUPPORTED.values(), ids=SUPPORTED)
def test_supported(case):
    op, shapes, result, constants, attributes = case
    graph, node = node_in_graph(op, shapes, result, constants=constants, **attributes)
    assert unsupported(graph, node) is None


POOL = {"kernel_shape": (3, 3), "strides": (2, 2)}
NAN = np.full((4, 16, 1, 1), np.nan, np.float32)
OTHER = (1, 4, 8, 8)

UNSUPPORTED = {
    "operator": ("Sigmoid", [IMAGE], IMAGE, [], {}, "Sigmoid is not an operator of the VTA"),
    "weights": ("Conv", [IMAGE, OTHER], OTHER, [], {}, "'x1' is computed at run time"),
    "nan": ("Conv", [IMAGE], OTHER, [NAN], {}, "'k0' holds NaN or infinity"),
    "3d": (
        "Conv",
        [(1, 1, 2, 2, 2)],
        (1, 1, 2, 2, 2),
        [weight(1, 1, 1, 1, 1)],
        {},
        "more than two spatial",
    ),
    "unknown": ("Conv", [(1, 16, None, 8)], OTHER, [weight(4, 16, 1, 1)], {}, "for fixed sizes"),
    "shape": ("Conv", [IMAGE], OTHER, [weight(4, 16, 3, 3)], {}, "does not give"),
    "broadcast": ("Add", [(1, 16, 8, 1), (1, 16, 1, 8)], IMAGE, [], {}, "cannot add others"),
    "constant": ("Add", [IMAGE], IMAGE, [weight(*IMAGE)], {}, "'k0' is constant"),
    "matrix": ("MatMul", [(1, 2, 3)], (1, 2, 4), [weight(1, 3, 4)], {}, "two dimensions"),
    "run time": ("MatMul", [(1, 2, 2, 3), (1, 1, 3, 4)], (1, 2, 2, 4), [], {}, "cannot broadcast"),
    "terms": ("MatMul", [(1, 2, 70000), (1, 70000, 4)], (1, 2, 4), [], {}, "70000 terms"),
    "gemm": ("Gemm", [(1, 3)], (1, 4), [weight(1, 4)], {"transA": 1}, "transA = 1"),
    "bias": ("Gemm", [(1, 3)], (1, 4), [weight(3, 4), weight(4, 1)], {}, "one bias per output"),
    "average": (
        "AveragePool",
        [IMAGE],
        (1, 16, 4, 4),
        [],
        {**POOL, "pads": (1, 1, 1, 1)},
        "not counted",
    ),
    "in padding": (
        "MaxPool",
        [(1, 1, 2, 2)],
        (1, 1, 3, 3),
        [],
        {"kernel_shape": (1, 1), "pads": (1, 1, 0, 0)},
        "padding alone",
    ),
    "concat": ("Concat", [OTHER, OTHER], (1, 8, 8, 8), [], {"axis": 1}, "'x0' has 4 channels"),
    "axis": ("Concat", [IMAGE, IMAGE], (1, 16, 8, 16), [], {"axis": 3}, "axis 3 of 4"),
    "limits": ("Clip", [IMAGE], IMAGE, [np.float32(1), np.float32(0)], {}, "limits (1.0, 0.0)"),
    "slice": ("Slice", [IMAGE], (1, 8, 8, 4), [[0, 0], [8, 4], [1, 3]], {}, "another slice"),
    "pad": ("Pad", [IMAGE], (1, 16, 9, 8), [[0, 0, 1, 0] + [0] * 4, np.float32(1)], {}, "zeros"),
    "perm": ("Transpose", [(1, 4, 1)], (1, 4, 1), [], {"perm": (2, 1, 0)}, "perm (2, 1, 0)"),
    "batch": ("Reshape", [(1, 4, 3)], (4, 3), [[4, 3]], {}, "along the batch axis"),
}


@pytest.mark.parametrize("case", UNSUPPORTED.values(), ids=UNSUPPORTED)
def test_unsupported(case):
    op, shapes, result, constants, attributes, message = case
    graph, node = node_in_graph(op, shapes, result, constants=constants, **attributes)
    reason = unsupported(graph, node)
    assert reason is not None
    assert message in reason


def test_other_types_and_clamps():
    graph, node = node_in_graph("Relu", [IMAGE], IMAGE, dtype="float16")
    assert "'x0' is float16" in (unsupported(graph, node) or "")
    graph, node = node_in_graph("Relu", [IMAGE], IMAGE, clip=(1.0, 0.0))
    assert "clamp to (1.0, 0.0)" in (unsupported(graph, node) or "")


def test_every_rule_is_a_sentence():
    for rules in RULES.values():
        for rule in rules:
            assert (rule.__doc__ or "").strip().endswith(".")
