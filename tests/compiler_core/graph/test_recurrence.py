"""Recurrent operators whose inputs contradict one another, which inference does not see."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.recurrence import GATES

SIZE, INPUTS = 4, 3


def recurrent(
    operator: str,
    changed: Mapping[str, tuple[int, ...]],
    x: tuple[int | str, ...] = (2, 1, INPUTS),
    **attributes: object,
) -> onnx.ModelProto:
    """One recurrent node, with shapes of constants that are changed."""
    gates = GATES[operator] * SIZE
    shapes = {
        "w": (1, gates, INPUTS),
        "r": (1, gates, SIZE),
        "b": (1, 2 * gates),
        "h0": (1, 1, SIZE),
    }
    constants = [
        numpy_helper.from_array(np.ones(shape, np.float32), name)
        for name, shape in {**shapes, **changed}.items()
    ]
    node = helper.make_node(
        operator, ["x", "w", "r", "b", "", "h0"], ["s", "y"], hidden_size=SIZE, **attributes
    )
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [node],
        "recurrent",
        [value("x", onnx.TensorProto.FLOAT, x)],
        [value("y", onnx.TensorProto.FLOAT, None)],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("operator", GATES)
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"w": (INPUTS,)}, "W 'w' has shape [3]"),
        ({"w": ()}, "W 'w' has shape []"),
        ({"w": (2, 16, INPUTS)}, "W 'w' has shape [2, 16, 3]"),
        ({"r": (1, 16, 0)}, "R 'r' has shape [1, 16, 0]"),
        ({"r": (SIZE,)}, "R 'r' has shape [4]"),
        ({"b": (32,)}, "B 'b' has shape [32]"),
        ({"b": (0,)}, "B 'b' has shape [0]"),
        ({"b": (1, 33)}, "B 'b' has shape [1, 33]"),
        ({"h0": (SIZE,)}, "initial_h 'h0' has shape [4]; [1, 1, 4] is needed"),
    ],
)
@pytest.mark.parametrize("steps", [2, "t"])
def test_shapes_that_contradict_are_refused(
    operator: str, changed: Mapping[str, tuple[int, ...]], said: str, steps: int | str
) -> None:
    model = recurrent(operator, changed, (steps, 1, INPUTS))
    with pytest.raises(InputError) as told:
        import_model(model)
    assert f"({operator}): {said}" in told.value.message


@pytest.mark.parametrize("operator", GATES)
@pytest.mark.parametrize("x", [(0, 1, INPUTS), (INPUTS,), (2, 1, INPUTS + 1)])
def test_inputs_that_the_runtime_does_not_survive_are_refused(
    operator: str, x: tuple[int, ...]
) -> None:
    """onnxruntime ends the process where a GRU takes no step."""
    with pytest.raises(InputError, match=rf"\({operator}\)|incorrect|rank"):
        import_model(recurrent(operator, {}, x))


@pytest.mark.parametrize("operator", GATES)
def test_what_fits_is_taken(operator: str) -> None:
    gates = GATES[operator] * SIZE
    import_model(recurrent(operator, {}, ("t", 1, INPUTS)))
    both = {
        "w": (2, gates, INPUTS),
        "r": (2, gates, SIZE),
        "b": (2, 2 * gates),
        "h0": (2, 1, SIZE),
    }
    import_model(recurrent(operator, both, direction="bidirectional"))
    batch_first = {"h0": (5, 1, SIZE)}
    import_model(recurrent(operator, batch_first, (5, 2, INPUTS), layout=1))
