"""Sequences and optionals: their names, their types, their samples."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

from compiler_core.errors import InputError
from compiler_core.graph.containers import (
    container_name,
    container_proto,
    element_type,
    holds_sequence,
    is_container,
    is_objects,
    is_optional,
    objects,
)
from compiler_core.graph.importer import import_model
from tests.float_runs import run_float


@pytest.mark.parametrize(
    "name", ["float32", "sequence(int64)", "optional(string)", "optional(sequence(float16))"]
)
def test_names_and_protos_are_inverse(name: str) -> None:
    assert container_name(container_proto(name)) == name
    assert is_container(name) == ("(" in name)
    assert is_optional(name) == name.startswith("optional")
    assert holds_sequence(name) == ("sequence" in name)
    assert "(" not in element_type(name)


def test_maps_have_no_name() -> None:
    proto = onnx.TypeProto()
    proto.map_type.key_type = onnx.TensorProto.INT64
    assert container_name(proto) is None


def test_objects_keep_what_they_are_given() -> None:
    arrays = [np.zeros((2, 2)), np.zeros((2, 2))]
    found = objects(arrays)
    assert found.shape == (2,)
    assert found[0] is arrays[0]
    assert is_objects(found)
    assert is_objects(objects([None]))
    assert not is_objects(np.array(["a", "b"], object))


def test_a_sequence_goes_in_and_out() -> None:
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]>
        g (seq(float[2]) x) => (seq(float[2]) y, int64 n) {
            n = SequenceLength(x)  y = Identity(x)
        }"""
    )
    graph = import_model(model)
    assert graph.types["x"].dtype == "sequence(float32)"
    given = [np.ones(2, np.float32), np.zeros(2, np.float32)]
    result = run_float(graph, {"x": given})  # type: ignore[dict-item]
    assert int(result["n"]) == 2
    np.testing.assert_array_equal(result["y"], given)


def test_other_types_are_refused() -> None:
    value = onnx.ValueInfoProto(name="x")
    value.type.map_type.key_type = onnx.TensorProto.INT64
    out = onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    node = onnx.helper.make_node("Identity", ["x"], ["y"])
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [value], [out]))
    with pytest.raises(InputError, match="type map_type; tensors, sequences and optionals"):
        import_model(model)
