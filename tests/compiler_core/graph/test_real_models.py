"""Given models and well-known topologies: simplified, exported, compared with stock onnxruntime."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from compiler_core.graph.importer import import_model, import_onnx
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.session import FloatSession
from compiler_core.graph.text import graph_digest

TOPOLOGIES = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"

INVENTORY = {
    "dscnn_kws": {"Conv+clip": 9, "GlobalAveragePool": 1, "Reshape": 1, "Dense": 1},
    "kwt1_kws": {
        "Dense": 74, "Pad": 1, "Add": 49, "Transpose": 12, "MatMul": 24, "Mul": 48, "Softmax": 12,
        "LayerNormalization": 24, "Pow": 12, "Tanh": 12, "Slice": 1, "Reshape": 1,
    },
    "mnist_cntk": {"Conv+clip": 2, "MaxPool": 2, "Reshape": 1, "Dense": 1},
    "mobilenet_v1_025_224": {"Conv+clip": 27, "GlobalAveragePool": 1, "Conv": 1, "Reshape": 1},
    "resnet20_cifar10": {
        "Conv+clip": 10, "Conv": 9, "Add+clip": 9, "Slice": 2, "Pad": 2, "GlobalAveragePool": 1,
        "Reshape": 1, "Dense": 1,
    },
    "resnet8_cifar10": {
        "Conv+clip": 4, "Conv": 5, "Add+clip": 3, "GlobalAveragePool": 1, "Reshape": 1, "Dense": 1,
    },
    "squeezenet_v1_1": {
        "Conv+clip": 26, "MaxPool": 3, "Concat": 8, "GlobalAveragePool": 1, "Reshape": 1,
    },
    "ultraface_rfb320": {
        "Conv+clip": 36, "Conv": 16, "Concat": 5, "Add+clip": 1, "Transpose": 8, "Reshape": 8,
        "Softmax": 1, "Slice": 4, "Mul": 4, "Add": 2, "Exp": 1, "Div": 1, "Sub": 1,
    },
}  # fmt: skip
"""Operators of each simplified model: what a target has to run."""

TOPOLOGY = {
    "inception_v1": {"Conv+clip": 57, "MaxPool": 13, "AveragePool": 1, "Dense": 1},
    "inception_v2": {"Conv+clip": 69, "MaxPool": 5, "AveragePool": 7, "Dense": 1},
    "resnet50": {"Conv+clip": 33, "Conv": 20, "Add+clip": 16, "MaxPool": 1, "Dense": 1},
    "shufflenet": {"Conv+clip": 20, "Conv": 29, "Concat": 3, "Transpose": 16, "Add+clip": 13},
    "squeezenet": {"Conv+clip": 26, "MaxPool": 3, "Concat": 8},
    "densenet121": {"Conv+clip": 121, "Conv": 62, "Concat": 58, "AveragePool": 3},
}


def inventory(graph: Graph) -> Counter[str]:
    return Counter(node.op + "+clip" * (node.clip is not None) for node in graph.nodes)


def stock(model: bytes, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    results: list[np.ndarray] = session.run(None, feeds)
    return results


@pytest.mark.parametrize("name", INVENTORY)
def test_given_models(name: str, shared_data: Path) -> None:
    path = shared_data / "models" / f"{name}.onnx"
    graph = import_onnx(path)
    simple = simplify(graph)
    assert inventory(simple) == INVENTORY[name]
    batch = 3 if graph.dynamic_batch else 1
    shape = graph.types[graph.inputs[0]].shape or ()
    x = np.random.default_rng(1).standard_normal((batch, *(dim or 1 for dim in shape[1:])))
    feeds = {graph.inputs[0]: x.astype(np.float32)}
    want = stock(path.read_bytes(), feeds)
    got = FloatSession(simple).run(feeds)
    for output, array in zip(graph.outputs, want, strict=True):
        assert np.std(array) > 0
        np.testing.assert_allclose(got[output], array, atol=1e-4, rtol=1e-4)
    assert graph_digest(simplify(simple)) == graph_digest(simple), "simplify ends in a fixed point"


@pytest.mark.parametrize("name", TOPOLOGY)
def test_topologies(name: str) -> None:
    path = TOPOLOGIES / f"light_{name}.onnx"
    if not path.exists():
        pytest.skip("the onnx package has no test data here")
    model = randomized(onnx.load(path))
    graph = import_model(model)
    simple = simplify(graph)
    found = inventory(simple)
    assert {op: found[op] for op in TOPOLOGY[name]} == TOPOLOGY[name]
    assert not set(found) & {"BatchNormalization", "Relu", "Sum", "ConstantOfShape", "Dropout"}
    shape = tuple(dim or 1 for dim in graph.types[graph.inputs[0]].shape or ())
    x = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    want = stock(model.SerializeToString(), {graph.inputs[0]: x})[0]
    assert np.std(want) > 1e-4 * np.abs(want).max()
    got = FloatSession(simple).run({graph.inputs[0]: x})[graph.outputs[0]]
    np.testing.assert_allclose(got, want, atol=1e-4 * float(np.abs(want).max()))


def randomized(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replace the ConstantOfShape weights by seeded random ones that keep activations bounded.

    The softmax at the end goes, too: it would flatten differences.
    """
    graph = model.graph
    values = {item.name: onnx.numpy_helper.to_array(item) for item in graph.initializer}
    role = {name: (node.op_type, i) for node in graph.node for i, name in enumerate(node.input)}
    rng = np.random.default_rng(11)
    kept = []
    for node in graph.node:
        if node.op_type == "ConstantOfShape" and node.input[0] in values:
            shape = tuple(values[node.input[0]].tolist())
            operator, position = role.get(node.output[0], ("", 0))
            array = rng.standard_normal(shape) * 0.1
            if operator == "BatchNormalization" and position in (1, 4):
                array = rng.uniform(0.5, 1.5, shape)
            elif len(shape) > 1:
                array = rng.standard_normal(shape) * np.sqrt(2 / np.prod(shape[1:]))
            tensor = onnx.numpy_helper.from_array(array.astype(np.float32), node.output[0])
            graph.initializer.append(tensor)
        elif node.op_type == "Softmax":
            graph.output[0].name = node.input[0]
        else:
            kept.append(onnx.NodeProto.FromString(node.SerializeToString()))
    del graph.node[:]
    graph.node.extend(kept)
    model.ir_version = 8
    return model
