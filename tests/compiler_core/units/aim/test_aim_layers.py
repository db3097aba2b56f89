"""Layers of quantized segments: matrices over few rows, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.quantize.ir import IntegerConv, IntegerMaxPool, IntegerSegment, QuantizedTensor
from compiler_core.units.aim.arithmetic import ARITHMETICS
from compiler_core.units.aim.layers import LAYERS
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.schedule.default import default_schedule
from compiler_core.units.aim.schedule.workload import ElementProduct, MatrixVector

Shape = tuple[int, int, int, int]
MACHINE = AimMachine()


def _conv(
    weight: Shape, *, groups: int = 1, pads: Shape = (0, 0, 0, 0), bias: int = 0
) -> IntegerConv:
    return IntegerConv(
        "n", "x", "y", np.ones(weight, np.int8), np.full(weight[0], bias, np.int32),
        (1, 1), pads, (1, 1), groups, 0, -128, 127,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("weight", "groups", "x", "y", "expected"),
    [
        ((40, 30, 1, 1), 1, (2, 30, 1, 1), (2, 40, 1, 1), MatrixVector(40, 30, 2)),
        ((40, 30, 1, 1), 1, (1, 30, 4, 5), (1, 40, 4, 5), MatrixVector(40, 30, 20)),
        ((40, 3, 5, 6), 1, (1, 3, 5, 6), (1, 40, 1, 1), MatrixVector(40, 90, 1)),
        ((40, 15, 1, 1), 2, (1, 30, 1, 1), (1, 40, 1, 1), MatrixVector(20, 15, 1, 2)),
        ((40, 30, 1, 1), 1, (1, 30, 9, 9), (1, 40, 9, 9), None),
        ((40, 30, 3, 3), 1, (1, 30, 4, 4), (1, 40, 2, 2), None),
        ((30, 1, 1, 1), 30, (1, 30, 1, 1), (1, 30, 1, 1), None),
    ],
)
def test_layers(
    weight: Shape, groups: int, x: Shape, y: Shape, expected: MatrixVector | None
) -> None:
    tensors = {"x": QuantizedTensor("x", x, 0), "y": QuantizedTensor("y", y, 0)}
    segment = IntegerSegment("s", "aim", (_conv(weight, groups=groups),), ("x",), ("y",))
    found = LAYERS.layers(segment, tensors, (), MACHINE)
    assert [layer.task.workload for layer in found.layers] == ([expected] if expected else [])


def test_others_are_left_out() -> None:
    tensors = {
        "x": QuantizedTensor("x", (1, 4, 2, 2), 0),
        "y": QuantizedTensor("y", (1, 4, 1, 1), 0),
    }
    pool = IntegerMaxPool("p", "x", "y", (2, 2), (1, 1), (0, 0, 0, 0))
    assert (
        LAYERS.layers(
            IntegerSegment("s", "aim", (pool,), ("x",), ("y",)), tensors, (), MACHINE
        ).layers
        == ()
    )


def test_bytes_of_inputs() -> None:
    machine = AimMachine()
    for work, size in ((MatrixVector(16, 17, 3, 2), 3 * 2 * 2 * 32), (ElementProduct(20), 128)):
        assert LAYERS.input_bytes(work, default_schedule(work, machine), machine) == size
        assert not LAYERS.layout_varies(work)


def test_operators_that_are_products() -> None:
    rng = np.random.default_rng(0)

    def graph(op: str, rows: int, **weights: object) -> Graph:
        node = Node("n", op, ("x", *weights), ("y",))
        constants = {name: np.asarray(value, np.float32) for name, value in weights.items()}
        types = {
            "x": TensorType("float32", (1, rows, 40)),
            "y": TensorType("float32", (1, rows, 8)),
        }
        types |= {name: TensorType("float32", v.shape) for name, v in constants.items()}
        return Graph("g", ("x",), ("y",), (node,), constants, types, {"": 17})

    known = ARITHMETICS.of(AimMachine())
    matrix = rng.normal(size=(40, 8))
    for op, rows, expected in (("MatMul", 5, None), ("MatMul", 65, "65 rows"), ("Sin", 5, "Sin")):
        made = graph(op, rows, w=matrix)
        reason = known.unsupported(made, made.nodes[0])
        assert reason is None if expected is None else expected in (reason or "")
    assert known.kind == "aim"
    assert known.general == known
