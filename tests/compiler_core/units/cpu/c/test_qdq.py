"""The QDQ form in onnxruntime: equal where its semantics allow, else one step apart at most."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest

from compiler_core.units.cpu.c.bundles.bundle import expected
from compiler_core.units.cpu.c.convert.qdq import to_onnx
from compiler_core.units.cpu.c.network import Network, Operator
from compiler_core.units.cpu.c.operators import moves, pointwise, real
from tests.compiler_core.units.cpu.c.cases import names, prepared, samples

EXACT = (moves.Copy, moves.Take, moves.View, pointwise.Table, pointwise.WideTable)
EXACT += (real.Quantize, real.Dequantize)
WITHOUT_FORM = {"division_is_real"}  # a dense layer in float32 follows
DEEP = {
    "attention": 4, "residual": 2, "squeeze_and_excite": 3, "branches": 2, "resize_linear": 2,
    "between_layers": 2,
}  # fmt: skip
"""Steps that results are apart where several operators follow each other; 1 elsewhere."""


def session(network: Network) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    model = to_onnx(network).SerializeToString()
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def is_exact(network: Network) -> bool:
    return all(
        isinstance(item, EXACT) or (isinstance(item, pointwise.Pool) and not item.mean)
        for item in network.operators
    )


def alone(network: Network, operator: Operator) -> Network:
    """An operator with its own numbers, in a network of its own."""
    read = tuple(dict.fromkeys(operator.inputs))
    values = {name: network.values[name] for name in (*read, operator.output)}
    constants = {name: network.constants[name] for name in read if name in network.constants}
    inputs = tuple(name for name in read if name not in constants)
    ports = (*inputs, operator.output)
    axes = {name: tuple(range(len(values[name].shape))) for name in ports}
    outputs = (operator.output,)
    return Network("alone", values, inputs, outputs, ports, axes, (operator,), constants)


@pytest.mark.parametrize("name", names())
def test_an_operator_alone_is_equal_or_one_step_apart(name: str) -> None:
    """Each on the integers that our own network gives it: steps do not add up here."""
    graph, bundle = prepared(name, "int8")
    network = bundle.network
    known = [
        network.run(dict(zip(network.inputs, expected(network, sample)[0], strict=True)))
        for sample in samples(graph, 4)
    ]
    for operator in network.operators:
        single = alone(network, operator)
        run = session(single)
        for values in known:
            (found,) = run.run(None, {name: values[name] for name in single.inputs})
            ours = values[operator.output]
            if ours.dtype == np.float32:
                np.testing.assert_allclose(ours, found, rtol=1e-5, atol=1e-6)
                continue
            apart = np.abs(ours.astype(np.float64) - found.astype(np.float64))
            assert apart.max() <= (0 if is_exact(single) else 1), operator.name


@pytest.mark.parametrize("name", [name for name in names() if name not in WITHOUT_FORM])
def test_equal_or_near(name: str) -> None:
    graph, bundle = prepared(name, "int8")
    network = bundle.network
    run = session(network)
    different = total = 0
    for sample in samples(graph, 4):
        inputs, outputs = expected(network, sample)
        found = run.run(None, dict(zip(network.inputs, inputs, strict=True)))
        for ours, theirs in zip(outputs, found, strict=True):
            apart = np.abs(ours.astype(np.float64) - theirs.astype(np.float64))
            if ours.dtype == np.float32:
                np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
                continue
            assert apart.max() <= (0 if is_exact(network) else DEEP.get(name, 1))
            different += int((apart > 0).sum())
            total += apart.size
    assert different <= 0.1 * total + 1


def test_some_are_exact() -> None:
    exact = {name for name in names() if is_exact(prepared(name, "int8")[1].network)}
    assert {"max_pool", "gelu_written_out", "slices", "transposes"} - exact <= {"transposes"}
    assert len(exact) > 20
