"""Values that are made up for a part's inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph, TensorType
from compiler_core.precision.parts import part_inputs, run_values


def graph_of(text: str) -> Graph:
    return import_model(onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]> {text}'))


def test_every_type_has_values() -> None:
    graph = graph_of(
        "g (float[1,4] f, int8[2] b, bool[3] t, string[2] s)"
        " => (float[1,4] w, int8[2] x, bool[3] y, string[2] z)"
        "{ w = Relu(f) x = Identity(b) y = Not(t) z = Identity(s) }"
    )
    found = part_inputs(graph)
    assert {name: (array.shape, array.dtype.kind) for name, array in found.items()} == {
        "f": ((1, 4), "f"),
        "b": ((2,), "i"),
        "t": ((3,), "b"),
        "s": ((2,), "O"),
    }
    assert np.array_equal(found["f"], part_inputs(graph)["f"])


@pytest.mark.parametrize("known", [TensorType("sequence(float32)", None), None])
def test_inputs_of_no_array_are_refused(known: TensorType | None) -> None:
    graph = graph_of("g (float[1,4] x) => (float[1,4] y) { y = Relu(x) }")
    types = {name: kind for name, kind in graph.types.items() if name != "x"}
    graph = replace(graph, types=types if known is None else {**types, "x": known})
    with pytest.raises(InputError, match=r"input 'x' is .*: no values can be made up for it"):
        part_inputs(graph)


def test_values_of_a_run_are_taken_where_they_fit() -> None:
    graph = graph_of(
        "g (seq(float[2]) s, int64 i, float[2] f) => (float[2] y)"
        "{ a = SequenceAt(s, i) b = Add(a, f) y = Relu(b) }"
    )
    given = [np.full(2, 3, np.float32), np.full(2, -5, np.float32)]
    feeds = {"s": given, "i": np.array(1), "f": np.ones(2, np.float32)}
    values = run_values(graph, feeds)
    assert values["s"] is given
    assert values["a"].tolist() == [-5, -5]
    assert values["b"].tolist() == [-4, -4]
    assert values["y"].tolist() == [0, 0]
    assert part_inputs(graph, values)["s"] is given
    relu = replace(graph, inputs=("b",))
    assert part_inputs(relu, values)["b"].tolist() == [-4, -4]
    other = {**values, "b": np.ones(3, np.float32)}
    shaped = replace(relu, types={**relu.types, "b": TensorType("float32", (2,))})
    assert part_inputs(shaped, values)["b"].tolist() == [-4, -4]
    assert part_inputs(shaped, other)["b"].shape == (2,)
    with pytest.raises(InputError, match="no values can be made up"):
        part_inputs(graph, {})


def test_values_are_of_types_that_numpy_has() -> None:
    """It has no bfloat16: such a tensor cannot be handed out."""
    graph = graph_of("g (float[1,4] x) => (float[1,4] y){ n = Cast<to=16>(x) y = Cast<to=1>(n) }")
    assert set(run_values(graph, {"x": np.ones((1, 4), np.float32)})) == {"x", "y"}
