"""Types of what classical learners give: as onnxruntime gives them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

import nest_tune
from compiler_core.graph.importer import import_model
from compiler_core.graph.learner_types import DOMAIN

FLOATS = [0.5, 1.5, -0.5, 1.0]
TREE = {
    "nodes_treeids": [0, 0, 0],
    "nodes_nodeids": [0, 1, 2],
    "nodes_featureids": [0, 0, 0],
    "nodes_values": [0.0, 0.0, 0.0],
    "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
    "nodes_truenodeids": [1, 0, 0],
    "nodes_falsenodeids": [2, 0, 0],
    "nodes_hitrates": [1.0, 1.0, 1.0],
    "nodes_missing_value_tracks_true": [0, 0, 0],
}
LEAVES = {"treeids": [0, 0], "nodeids": [1, 2], "ids": [0, 1], "weights": [1.0, 2.0]}
CLASSES = {f"class_{name}": value for name, value in LEAVES.items()}
TARGETS = {f"target_{name}": value for name, value in LEAVES.items()}
VECTORS = {
    "support_vectors": FLOATS * 2,
    "coefficients": [1.0, -1.0],
    "rho": [0.1],
    "kernel_params": [0.0] * 3,
}
LEARNERS = {
    "Scaler": {"offset": FLOATS, "scale": FLOATS},
    "Normalizer": {"norm": "L2"},
    "Imputer": {"imputed_value_floats": [0.0], "replaced_value_float": 7.0},
    "FeatureVectorizer": {"inputdimensions": [4]},
    "LinearRegressor": {"coefficients": FLOATS * 3, "intercepts": [0.0, 1.0, 2.0], "targets": 3},
    "LinearClassifier": {
        "coefficients": FLOATS * 2,
        "intercepts": [0.0, 1.0],
        "classlabels_strings": ["no", "yes"],
    },
    "TreeEnsembleRegressor": TREE | TARGETS | {"n_targets": 2},
    "TreeEnsembleClassifier": TREE | CLASSES | {"classlabels_int64s": [3, 5]},
    "SVMRegressor": VECTORS | {"kernel_type": "LINEAR", "n_supports": 2},
    "SVMClassifier": VECTORS
    | {
        "kernel_type": "LINEAR",
        "vectors_per_class": [1, 1],
        "classlabels_ints": [0, 1],
        "prob_a": [1.0],
        "prob_b": [0.0],
    },
}


def model_of(op: str, attributes: dict[str, object], *, zipped: bool = False) -> onnx.ModelProto:
    outputs = ["label", "scores"] if "Classifier" in op else ["scores"]
    nodes = [helper.make_node(op, ["x"], outputs, "learner", domain=DOMAIN, **attributes)]
    if zipped:
        classes = {"classlabels_strings": attributes["classlabels_strings"]}
        nodes += [helper.make_node("ZipMap", ["scores"], ["map"], domain=DOMAIN, **classes)]
        outputs[-1] = "map"
    kinds = {"label": TensorProto.STRING if "classlabels_strings" in attributes else 7}
    values = [
        helper.make_tensor_value_info(o, kinds.get(o, TensorProto.FLOAT), None) for o in outputs
    ]
    if zipped:
        kind = helper.make_map_type_proto(TensorProto.STRING, helper.make_tensor_type_proto(1, ()))
        values[-1].type.CopyFrom(helper.make_sequence_type_proto(kind))
    source = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])
    graph = helper.make_graph(nodes, "g", [source], values)
    opsets = [helper.make_opsetid(DOMAIN, 3), helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.mark.parametrize("op", LEARNERS)
def test_shapes_are_those_of_the_runtime(op: str) -> None:
    model = model_of(op, LEARNERS[op])
    session = onnxruntime.InferenceSession(model.SerializeToString())
    rows = np.random.default_rng(0).standard_normal((1, 4)).astype(np.float32)
    graph = import_model(model)
    for value, result in zip(session.get_outputs(), session.run(None, {"x": rows}), strict=True):
        assert graph.types[value.name].shape == result.shape
        assert (graph.types[value.name].dtype == "string") == (result.dtype == object)
    assert graph.dynamic_batch >= {"x", "scores"}


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize("form", ["vectors", "probabilities", "linear"])
def test_scores_of_support_vectors_are_those_of_the_runtime(classes: int, form: str) -> None:
    random, pairs = np.random.default_rng(classes), classes * (classes - 1) // 2
    attributes = {
        "classlabels_ints": list(range(classes)),
        "kernel_type": "LINEAR",
        "kernel_params": [0.1, 0.0, 3.0],
    }
    if form == "linear":
        attributes |= {"coefficients": FLOATS * classes, "rho": [0.1] * classes}
    else:
        attributes |= {
            "kernel_type": "RBF",
            "vectors_per_class": [2] * classes,
            "support_vectors": random.standard_normal(8 * classes).tolist(),
            "coefficients": random.standard_normal(2 * classes * (classes - 1)).tolist(),
            "rho": [0.1] * pairs,
        }
    if form == "probabilities":
        attributes |= {"prob_a": [-1.0] * pairs, "prob_b": [0.1] * pairs}
    model = model_of("SVMClassifier", attributes)
    rows = random.standard_normal((1, 4)).astype(np.float32)
    results = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": rows})
    types = import_model(model).types
    assert [types[name].shape for name in ("label", "scores")] == [r.shape for r in results]


@pytest.mark.parametrize(
    ("op", "element", "attributes"),
    [
        ("Imputer", TensorProto.INT64, {"imputed_value_int64s": [1], "replaced_value_int64": 7}),
        ("TreeEnsembleRegressor", TensorProto.DOUBLE, LEARNERS["TreeEnsembleRegressor"]),
        ("Scaler", TensorProto.INT32, LEARNERS["Scaler"]),
        ("Normalizer", TensorProto.DOUBLE, {"norm": "MAX"}),
    ],
)
def test_elements_are_those_of_the_runtime(op: str, element: int, attributes: dict) -> None:
    model = model_of(op, attributes)
    model.graph.input[0].type.tensor_type.elem_type = element
    if op == "Imputer":
        model.graph.output[0].type.tensor_type.elem_type = element
    rows = np.arange(4).reshape(1, 4).astype(helper.tensor_dtype_to_np_dtype(element))
    (result,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": rows})
    found = import_model(model).types["scores"]
    assert (found.dtype, found.shape) == (result.dtype.name, result.shape)


def test_columns_that_are_taken() -> None:
    text = """
    <ir_version: 8, opset_import: ["" : 17, "ai.onnx.ml" : 3]>
    m (float[N,5] x) => (float[N,4] y) <int64[1,4] chosen = {0, 2, 2, 1}> {
        taken = ai.onnx.ml.ArrayFeatureExtractor (x, chosen)
        y = Neg (taken)
    }
    """
    graph = import_model(onnx.parser.parse_model(text))
    assert graph.types["taken"].shape == (1, 4)
    assert "taken" in graph.dynamic_batch


def test_layers_behind_a_scaler_run_on_the_npu(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    model = model_of("Scaler", LEARNERS["Scaler"])
    weights = random.standard_normal((4, 48)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    model.graph.node.append(helper.make_node("MatMul", ["scores", "w"], ["y"], "layer"))
    model.graph.output[0].name = "y"
    onnx.save(model, tmp_path / "m.onnx")
    data = {"x": random.standard_normal((16, 4)).astype(np.float32)}
    made = nest_tune.compile(tmp_path / "m.onnx", "vta", tmp_path / "out", calibration=data)
    assert not made.unpriced
    assert "shape" not in made.cpu_reasons.get("layer", "")


def test_a_classifier_s_dictionaries_are_its_scores(tmp_path: Path) -> None:
    known = LEARNERS["LinearClassifier"]
    onnx.save(model_of("LinearClassifier", known, zipped=True), tmp_path / "m.onnx")
    rows = np.random.default_rng(2).standard_normal((6, 4)).astype(np.float32)
    nest_tune.compile(tmp_path / "m.onnx", "vta", tmp_path / "out", calibration={"x": rows})
    found = nest_tune.run(tmp_path / "out", {"x": rows}, check=True)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    labels, maps = session.run(None, {"x": rows})
    assert found.bit_exact
    assert list(found.outputs["label"]) == list(labels)
    columns = [[row[name] for name in known["classlabels_strings"]] for row in maps]
    np.testing.assert_allclose(found.outputs["map"], columns, rtol=1e-6)
