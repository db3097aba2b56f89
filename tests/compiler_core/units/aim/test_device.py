"""Products and caches that stay in the banks, against onnxruntime and NumPy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import onnxruntime
import pytest

from compiler_core.compile.sources import load_model
from compiler_core.errors import InfeasibleError, InputError
from compiler_core.units.aim.device.cache import KeyValueCache, score_workload, sum_workload
from compiler_core.units.aim.device.device import Device, ResidentProduct
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.operators.products import ModelProduct, products
from compiler_core.units.aim.schedule.default import default_schedule
from compiler_core.units.aim.schedule.schedule import Order, ProductSchedule
from compiler_core.units.aim.schedule.workload import Activation, MatrixVector

MACHINE = AimMachine()
RNG = np.random.default_rng(7)


def _normal(*shape: int) -> Any:
    return RNG.normal(size=shape, scale=0.3).astype(np.float32)


def _model(path: Path, node: Any, inputs: dict[str, Any], outputs: int, **constants: Any) -> Path:
    graph = oh.make_graph(
        [node],
        "g",
        [oh.make_tensor_value_info(k, 1, v.shape) for k, v in inputs.items()],
        [oh.make_tensor_value_info(name, 1, None) for name in node.output[:outputs]],
        [onnx.numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    model = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def _resident(device: Device, product: ModelProduct) -> ResidentProduct:
    schedule = default_schedule(product.workload, device.machine)
    assert isinstance(schedule, ProductSchedule)
    return ResidentProduct(device, product.workload, schedule, product.matrix, product.bias)


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def test_lstm(tmp_path: Path) -> None:
    size, inputs, steps = 24, 20, 5
    x = _normal(steps, 1, inputs)
    constants = {"w": _normal(1, 4 * size, inputs), "r": _normal(1, 4 * size, size)}
    constants["b"] = _normal(1, 8 * size)
    node = oh.make_node("LSTM", ["x", "w", "r", "b"], ["y"], "cell", hidden_size=size)
    path = _model(tmp_path / "m.onnx", node, {"x": x}, 1, **constants)
    (want,) = onnxruntime.InferenceSession(str(path)).run(None, {"x": x})
    (gates,), refused = products(load_model(path).graph)
    assert refused == ()
    assert gates.count == steps
    assert gates.workload == MatrixVector(
        4 * size, inputs + size, bias=True,
        activations=(Activation.SIGMOID, Activation.SIGMOID, Activation.SIGMOID, Activation.TANH),
        is_step=True,
    )  # fmt: skip
    device = Device(MACHINE)
    cell = _resident(device, gates)
    state = carry = np.zeros(size, np.float32)
    for step in range(steps):
        before = device.cycles
        i, o, f, c = np.split(cell.run(np.concatenate([x[step, 0], state])[None, None])[0, 0], 4)
        carry = f * carry + i * c
        state = o * np.tanh(carry)
        assert device.cycles > before
        assert np.abs(state - want[step, 0, 0]).max() < 0.02


@pytest.mark.parametrize("after_reset", [0, 1])
def test_gru(after_reset: int, tmp_path: Path) -> None:
    size, inputs, steps = 20, 18, 4
    x = _normal(steps, 1, inputs)
    constants = {"w": _normal(1, 3 * size, inputs), "r": _normal(1, 3 * size, size)}
    constants["b"] = _normal(1, 6 * size)
    node = oh.make_node(
        "GRU", ["x", "w", "r", "b"], ["y"], "cell", hidden_size=size,
        linear_before_reset=after_reset,
    )  # fmt: skip
    path = _model(tmp_path / "m.onnx", node, {"x": x}, 1, **constants)
    (want,) = onnxruntime.InferenceSession(str(path)).run(None, {"x": x})
    found, refused = products(load_model(path).graph)
    assert refused == ()
    device = Device(MACHINE)
    cells = {product.part: _resident(device, product) for product in found}
    state = np.zeros(size, np.float32)

    def run(part: str, *vectors: Any) -> Any:
        return cells[part].run(np.concatenate(vectors)[None, None])[0, 0]

    for step in range(steps):
        now = x[step, 0]
        update, reset = np.split(run("gates", now, state), 2)
        if after_reset:
            hidden = np.tanh(run("input", now) + reset * run("state", state))
        else:
            hidden = run("hidden", now, reset * state)
        state = (1 - update) * hidden + update * state
        assert np.abs(state - want[step, 0, 0]).max() < 0.02


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_dense(op: str, tmp_path: Path) -> None:
    x, w, b = _normal(3, 40), _normal(40, 50), _normal(50)
    names = ["x", "w", "b"] if op == "Gemm" else ["x", "w"]
    node = oh.make_node(op, names, ["y"], "dense")
    constants = {"w": w, "b": b} if op == "Gemm" else {"w": w}
    path = _model(tmp_path / "m.onnx", node, {"x": x}, 1, **constants)
    (product,), _ = products(load_model(path).graph)
    assert (product.workload.outputs, product.workload.inputs, product.workload.vectors) == (
        50, 40, 3,
    )  # fmt: skip
    found = _resident(Device(MACHINE), product).run(x[:, None])[:, 0]
    want = x @ w + (b if op == "Gemm" else 0)
    assert np.abs(found - want).max() < 0.02


def test_refused(tmp_path: Path) -> None:
    x, w = _normal(3, 40), _normal(40, 50)
    node = oh.make_node("MatMul", ["x", "w"], ["y"], "dense")
    path = _model(tmp_path / "m.onnx", node, {"x": x, "w": w}, 1)
    found, (refused,) = products(load_model(path).graph)
    assert found == ()
    assert "no bank" in refused.reason
    path = _model(tmp_path / "n.onnx", node, {"x": _normal(300, 40)}, 1, w=w)
    _, (refused,) = products(load_model(path).graph)
    assert "300 rows" in refused.reason


SCHEDULES = [
    (None, None),
    (ProductSchedule(1, 2, heads=2, packed=4), ProductSchedule(2, 1, heads=2)),
    (ProductSchedule(2, 3, heads=1), ProductSchedule(1, 1, heads=3, order=Order.INPUT)),
]


@pytest.mark.parametrize("number", range(len(SCHEDULES)))
def test_attention_over_a_cache(number: int) -> None:
    heads, size, tokens = 3, 24, 40
    scores, sums = SCHEDULES[number]
    device = Device(MACHINE)
    cache = KeyValueCache(device, heads, size, tokens, scores=scores, sums=sums)
    keys, values = _normal(tokens, heads, size), _normal(tokens, heads, size)
    for token in range(tokens):
        cache.append(keys[token], values[token])
        if token % 9 == 8 or token == 0:
            query = _normal(heads, size) * 3
            found = cache.attend(query)
            logits = np.einsum("hs,ths->ht", query, keys[: token + 1]) / np.sqrt(size)
            weights = np.exp(logits)
            weights /= weights.sum(axis=1, keepdims=True)
            want = np.einsum("ht,ths->hs", weights, values[: token + 1])
            assert np.abs(found - want).max() < 0.02
    with pytest.raises(InfeasibleError, match="full"):
        cache.append(keys[0], values[0])


def test_caches_and_matrices_lie_apart() -> None:
    device = Device(AimMachine(rows=4))
    first = device.reserve(score_workload(2, 64, 512), ProductSchedule(1, 16, heads=2))
    second = device.reserve(sum_workload(2, 64, 512), ProductSchedule(1, 4, heads=2))
    assert second.first_row == first.first_row + first.mapping.rows
    with pytest.raises(InfeasibleError, match="rows"):
        device.reserve(MatrixVector(4096, 4096), ProductSchedule(1, 32))


def test_wrong_shapes() -> None:
    device = Device(MACHINE)
    product = ResidentProduct(device, MatrixVector(4, 4), ProductSchedule(1, 1), np.eye(4)[None])
    with pytest.raises(InputError, match="is needed"):
        product.run(np.zeros((1, 1, 5)))
    with pytest.raises(InputError, match="empty"):
        KeyValueCache(device, 1, 16, 16).attend(np.zeros((1, 16)))
