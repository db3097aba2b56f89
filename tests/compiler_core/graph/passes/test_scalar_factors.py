from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.dead_code import DeadCode
from compiler_core.graph.passes.dense import DenseForming
from compiler_core.graph.passes.scalar_factors import ScalarFactors
from tests.compiler_core.graph.passes.arrays import i64, ramp

Build = Callable[..., Graph]
Check = Callable[..., Graph]
Same = Callable[..., None]
PASSES = (DenseForming(), ScalarFactors(), DeadCode())


@pytest.mark.parametrize(("operator", "weight"), [("Mul(b, s)", -6.0), ("Div(b, s)", -1.5)])
def test_folds_through_views(
    graph_of: Build, rewritten: Check, operator: str, weight: float
) -> None:
    graph = graph_of(
        f"""(float[N,3,2] x) => (float y) {{
            a = MatMul(x, w)
            b = Transpose<perm=[0,2,1]>(a)
            y = {operator}
        }}""",
        w=ramp(2, 2),
        s=np.array([2], np.float32),
    )
    after = rewritten(
        graph,
        PASSES,
        f"""
        %a = nest.Dense(%x, {_text(weight)}:float32[2,2]) -> float32[N,3,2]
        %y = Transpose(%a) {{perm=(0, 2, 1)}} -> float32[N,2,3]
        """,
    )
    assert len(after.nodes) == 2


def _text(first: float) -> str:
    values = ramp(2, 2).reshape(-1) * (first / ramp(2, 2).reshape(-1)[0])
    return "(" + ", ".join(str(float(value)) for value in values) + ")"


def test_folds_through_a_product(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,2,2] x) => (float y) {
            a = MatMul(x, w)
            b = MatMul(x, a)
            y = Mul(s, b)
        }""",
        w=ramp(2, 2),
        s=np.array(0.5, np.float32),
    )
    after = rewritten(
        graph,
        PASSES,
        f"""
        %a = nest.Dense(%x, {_text(-1.5)}:float32[2,2]) -> float32[N,2,2]
        %y = MatMul(%x, %a) -> float32[N,2,2]
        """,
    )
    assert len(after.nodes) == 2


@pytest.mark.parametrize(
    ("axis", "perm", "folds"), [(1, (0, 2, 1), True), (2, (0, 1, 2), True), (1, (0, 1, 2), False)]
)
def test_folds_into_the_channels_that_a_split_takes(
    graph_of: Build, same_function: Same, axis: int, perm: tuple[int, ...], folds: bool
) -> None:
    graph = graph_of(
        f"""(float[2,4,6] x) => (float y, float z) {{
            a = MatMul(x, w)
            b = Transpose<perm=[{",".join(map(str, perm))}]>(a)
            c, d = Split<axis={axis}>(b, sizes)
            e = Transpose<perm=[0,2,1]>(d)
            y = Mul(e, s)
            z = Relu(c)
        }}""",
        w=ramp(6, 4),
        s=np.array(0.5, np.float32),
        sizes=i64(1, 3),
    )
    dense = DenseForming().apply(graph)
    after = ScalarFactors().apply(dense)
    same_function(graph, after)
    assert ("Mul" in [node.op for node in after.nodes]) != folds


@pytest.mark.parametrize("body", [
    "a = MatMul(x, w) b = Transpose(a) y = Mul(b, s) z = Relu(a)",
    "a = MatMul(x, w) b = Transpose(a) z = Relu(b) y = Mul(b, s)",
    "a = MatMul(x, w) b = Transpose(a) z = Mul(b, v) y = Relu(z)",
    "a = MatMul(x, w) b = Transpose(a) z = Div(s, b) y = Relu(z)",
])  # fmt: skip
def test_leaves_what_others_read_and_other_factors(graph_of: Build, body: str) -> None:
    lines = body.replace(") ", ")\n")
    graph = graph_of(
        f"(float[2,2] x) => (float y, float z) {{ {lines} }}",
        w=ramp(2, 2),
        s=np.array(2, np.float32),
        v=ramp(1, 2),
    )
    dense = DenseForming().apply(graph)
    assert ScalarFactors().apply(dense) is dense
