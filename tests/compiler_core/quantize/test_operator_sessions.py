"""One operator at a time: in float what the graph computes, in integers its definition."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.quantize.apply import apply_profile
from compiler_core.quantize.assemble import assemble
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.ir import IntegerSegment
from compiler_core.quantize.operator_sessions import integer_session, real_session
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.scheme import QuantizationScheme
from tests.float_runs import run_float


def random(*shape, seed=1):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


@pytest.fixture
def network(plain):
    b = plain.GraphBuilder(x=(16, 6, 5))
    same = {"pads": (1, 1, 1, 1)}
    relu6 = (0.0, 6.0)
    bias = b.constant("b", random(16, seed=2))
    weight = b.constant("w", random(16, 8, 3, 3))
    b.add("Conv", ["x", weight, bias], "a", (16, 6, 5), clip=relu6, group=2, **same)
    b.add("Conv", ["a", b.constant("v", random(16, 16, 1, 1, seed=3))], "c", (16, 6, 5))
    b.add("Add", ["c", "x"], "s", (16, 6, 5), clip=(0.0, np.inf))
    pool = {"kernel_shape": (3, 3), "strides": (2, 1), **same}
    b.add("MaxPool", ["s"], "p", (16, 3, 5), clip=(0.5, 4.0), **pool)
    b.add("Conv", ["p", b.constant("u", random(16, 16, 1, 1, seed=4))], "q", (16, 3, 5))
    b.add("Concat", ["p", "q"], "k", (32, 3, 5), axis=1)
    b.add("GlobalAveragePool", ["k"], "y", (32, 1, 1))
    return b.build("y")


def test_steps_compute_what_the_graph_does(network):
    x = random(3, 16, 6, 5, seed=7)
    skeleton = assemble(network, default_assignment(network))
    names = [n for step in skeleton.steps for n in (*step.inputs, step.output) if n != "x"]
    values = run_float(network, {"x": x}, list(dict.fromkeys(names))) | {"x": x}
    kinds = set()
    for step in skeleton.steps:
        found = real_session(step).run({name: values[name] for name in step.inputs})
        np.testing.assert_allclose(found[step.output], values[step.output], rtol=1e-4, atol=1e-5)
        kinds.add(type(step).__name__)
    assert kinds == {"ConvStep", "PoolStep", "ConcatStep"}


def test_operators_compute_their_integers(network):
    x = random(3, 16, 6, 5, seed=7)
    profile = profile_model(network, {"x": x})
    units = default_assignment(network)
    quantized = apply_profile(network, units, profile, QuantizationScheme()).quantized
    run = ReferenceExecutor(quantized).run_integer({"x": x})
    (segment,) = (part for part in quantized.segments if isinstance(part, IntegerSegment))
    for operator in segment.operators:
        names = [name for name in quantized.tensors if name != operator.output]
        session = integer_session(operator, quantized.tensors)
        read = {entry.name for entry in session._session.get_inputs()}
        inputs = {n: run.tensors[n].astype(np.float32) for n in names if n in read}
        found = session.run(inputs)[operator.output]
        np.testing.assert_array_equal(found, run.tensors[operator.output])
