from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, TensorProto, helper

from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.session import FloatSession
from compiler_core.graph.spelled.spelled_out import spelled_out

COLUMNS = 5


def ensemble(seed: int, kind: str, targets: int, **more: Any) -> dict[str, Any]:
    """Attributes of random trees whose nodes are numbered at random.

    Args:
        seed: Of the trees.
        kind: Prefix of what leaves add: ``class`` or ``target``.
        targets: How many there are.
        more: Further attributes; ``test``, ``low``, ``only``: test of the nodes, least vote, the
            one target that has votes.
    """
    random = np.random.default_rng(seed)
    nodes: dict[str, list[Any]] = {name: [] for name in _NODES}
    votes: dict[str, list[Any]] = {name: [] for name in ("treeids", "nodeids", "ids", "weights")}
    test, low = more.pop("test", "BRANCH_LEQ"), more.pop("low", -1.0)
    only = more.pop("only", None)
    for tree in range(4):
        waiting, numbers = [(0, 0)], [0]
        while waiting:
            number, depth = waiting.pop(int(random.integers(len(waiting))))
            is_leaf = depth == 4 or (depth > 0 and random.random() < 0.2)
            children = (0, 0) if is_leaf else (len(numbers), len(numbers) + 1)
            if not is_leaf:
                numbers += children
                waiting += [(child, depth + 1) for child in children]
            value = float(np.float32(random.normal()))
            row = (
                tree,
                number,
                int(random.integers(COLUMNS)),
                value,
                *children,
                int(random.integers(2)),
            )
            for name, item in zip(_NODES, (*row, "LEAF" if is_leaf else test), strict=True):
                nodes[name].append(item)
            if is_leaf:
                some = random.permutation(targets)[: random.integers(1, targets + 1)]
                chosen = some if only is None else [only]
                for target in chosen:
                    vote = (tree, number, int(target), float(random.uniform(low, 1)))
                    for name, item in zip(votes, vote, strict=True):
                        votes[name].append(item)
    known = {f"nodes_{name}": values for name, values in nodes.items()}
    return known | {f"{kind}_{name}": values for name, values in votes.items()} | more


_NODES = (
    *("treeids", "nodeids", "featureids", "values", "truenodeids", "falsenodeids"),
    *("missing_value_tracks_true", "modes"),
)


def classifier(seed: int, classes: int, **more: Any) -> ModelProto:
    """Trees that vote for classes."""
    labels = {"classlabels_int64s": [7, 3, 9, 4][:classes]}
    known = ensemble(seed, "class", classes, **{**labels, **more})
    return _model("TreeEnsembleClassifier", ["label", "scores"], known)


def regressor(seed: int, targets: int, **more: Any) -> ModelProto:
    """Trees that add."""
    known = ensemble(seed, "target", targets, n_targets=targets, **more)
    return _model("TreeEnsembleRegressor", ["y"], known)


def _model(op: str, outputs: list[str], attributes: dict[str, Any]) -> ModelProto:
    node = helper.make_node(op, ["x"], outputs, name="trees", domain="ai.onnx.ml", **attributes)
    kinds = {"label": TensorProto.INT64}
    ports = [
        helper.make_tensor_value_info(n, kinds.get(n, TensorProto.FLOAT), None) for n in outputs
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [3, COLUMNS])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    graph = helper.make_graph([node], "trees", [x], ports)
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def scores_of(model: ModelProto) -> ModelProto:
    """Without the label."""
    del model.graph.output[0]
    return model


MODELS = {
    "first": lambda seed: classifier(seed, 2, only=0),
    "first_logistic": lambda seed: classifier(seed, 2, only=0, post_transform="LOGISTIC"),
    "first_softmax": lambda seed: classifier(seed, 2, only=0, post_transform="SOFTMAX"),
    "first_positive": lambda seed: classifier(seed, 2, only=0, low=0.0),
    "first_base": lambda seed: classifier(
        seed, 2, only=0, base_values=[0.3], post_transform="LOGISTIC"
    ),
    "second": lambda seed: classifier(seed, 2, only=1, post_transform="LOGISTIC"),
    "both": lambda seed: scores_of(classifier(seed, 2)),
    "both_logistic": lambda seed: scores_of(classifier(seed, 2, post_transform="LOGISTIC")),
    "both_softmax": lambda seed: scores_of(classifier(seed, 2, post_transform="SOFTMAX")),
    "three": lambda seed: classifier(seed, 3, low=0.0),
    "three_softmax": lambda seed: classifier(seed, 3, post_transform="SOFTMAX"),
    "four_base": lambda seed: classifier(
        seed, 4, base_values=[0.1, -0.2, 0.3, 0.0], post_transform="LOGISTIC"
    ),
    "less": lambda seed: regressor(seed, 1, test="BRANCH_LT"),
    "greater": lambda seed: regressor(seed, 2, test="BRANCH_GT", base_values=[0.5, -0.5]),
    "mean": lambda seed: regressor(seed, 1, aggregate_function="AVERAGE", base_values=[0.5]),
    "logistic": lambda seed: regressor(seed, 3, post_transform="LOGISTIC"),
}


def rows_of(seed: int) -> np.ndarray[Any, Any]:
    """Three rows, one with a number that is missing."""
    rows = np.random.default_rng(seed).normal(size=(3, COLUMNS)).astype(np.float32)
    rows[1, seed % COLUMNS] = np.nan
    return rows


def graphs(name: str, seed: int) -> tuple[Graph, Graph]:
    """A model as it is, and spelled out."""
    graph = import_model(MODELS[name](seed))
    return graph, spelled_out(graph)


@pytest.mark.parametrize("name", MODELS)
def test_labels_and_scores_are_those_of_the_runtime(name: str) -> None:
    for seed in range(4):
        graph, spelled = graphs(name, seed)
        assert "TreeEnsembleClassifier" not in {node.op for node in spelled.nodes}
        feeds = {"x": rows_of(seed)}
        wanted, found = FloatSession(graph).run(feeds), FloatSession(spelled).run(feeds)
        for tensor, array in wanted.items():
            np.testing.assert_allclose(found[tensor], array, rtol=1e-5, atol=1e-6, err_msg=tensor)
