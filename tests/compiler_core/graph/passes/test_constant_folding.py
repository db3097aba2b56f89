from __future__ import annotations

from collections.abc import Callable

import onnx.parser
import pytest

from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.constant_folding import Allowance, ConstantFolding
from compiler_core.graph.passes.simplify import run_passes, simplify
from tests.compiler_core.graph.passes.arrays import ramp

Build = Callable[..., Graph]
Check = Callable[..., Graph]


def test_computes_constants_but_no_batch(graph_of: Build, rewritten: Check) -> None:
    graph = graph_of(
        """(float[N,4] x) => (float y, float z) {
            a = Shape(p)
            b = ConstantOfShape(a)
            d = Sub(p, b)
            y = Add(x, d)
            s = Shape(x)
            t = Expand(p, s)
            z = Mul(t, x)
        }""",
        p=ramp(4),
    )
    rewritten(
        graph,
        (ConstantFolding(),),
        """
        %y = Add(%x, (-3.0, 2.0, 0.0, -2.0):float32[4]) -> float32[N,4]
        %s = Shape(%x) -> int64[2]
        %t = Expand((-3.0, 2.0, 0.0, -2.0):float32[4], %s) -> float32[N,4]
        %z = Mul(%t, %x) -> float32[N,4]
        """,
    )


def test_results_that_grow_again_and_again_end_at_what_a_model_may_hold(graph_of: Build) -> None:
    grown = "\n".join(f"c{n + 1} = Concat <axis = 0> (c{n}, c{n})" for n in range(16))
    graph = graph_of(
        f"""(float[1] x) => (float y) {{
            {grown}
            r = ReduceMax <keepdims = 0> (c16)
            y = Add(x, r)
        }}""",
        c0=ramp(4),
    )
    allowance = Allowance(1 << 16)
    folding = ConstantFolding(tensor_bytes=1 << 12, allowance=allowance)
    found = run_passes(graph, (folding,))
    assert max(array.nbytes for array in found.constants.values()) <= 1 << 16
    assert any(node.op == "Concat" for node in found.nodes)


def test_operations_are_those_of_all_applications(graph_of: Build) -> None:
    graph = graph_of(
        """(float[4,4] x) => (float y) {
            a = MatMul(w, w)
            b = MatMul(a, w)
            c = MatMul(b, w)
            y = Add(x, c)
        }""",
        w=ramp(16).reshape(4, 4),
    )
    found = run_passes(graph, (ConstantFolding(allowance=Allowance(1 << 20, operations=130)),))
    assert [node.op for node in found.nodes] == ["MatMul", "Add"]


def test_loops_that_double_what_they_carry_are_refused_before_they_are_computed() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 17]>
        g (float[1,16] x) => (float[1,16] y)
        <int64 times = {30}, bool go = {1}, float[1] one = {1.0}> {
            v = Loop <body = body (int64 i, bool c, float[n] a) => (bool d, float[m] b) {
                d = Identity(c)
                b = Concat <axis = 0> (a, a)
            }> (times, go, one)
            r = ReduceMax <keepdims = 0> (v)
            y = Add(x, r)
        }"""
    )
    with pytest.raises(InputError, match="at most"):
        simplify(import_model(model))
