"""Values that are made up for a part's inputs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest

from compiler_core.errors import InputError
from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph, TensorType
from compiler_core.precision.parts import part_inputs


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
