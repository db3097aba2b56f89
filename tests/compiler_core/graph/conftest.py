"""Graphs from ONNX text, and the check that a rewriting keeps the function."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from compiler_core.graph.importer import import_model
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.rewriter import GraphPass
from compiler_core.graph.session import FloatSession
from compiler_core.graph.text import graph_text

Build = Callable[..., Graph]


def _model(text: str, opset: int = 17, **weights: npt.NDArray[Any]) -> onnx.ModelProto:
    model = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]> g {text}')
    for name, array in weights.items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


@pytest.fixture(scope="session")
def onnx_model() -> Callable[..., onnx.ModelProto]:
    """``onnx_model(text, opset=17, **weights)``: an ONNX model from its text syntax."""
    return _model


@pytest.fixture(scope="session")
def graph_of() -> Build:
    """The imported graph of ``onnx_model``."""

    def build(text: str, opset: int = 17, **weights: npt.NDArray[Any]) -> Graph:
        return import_model(_model(text, opset, **weights))

    return build


@pytest.fixture(scope="session")
def same_function() -> Callable[..., None]:
    """Checks that two graphs give the same outputs for the same random inputs."""

    def check(before: Graph, after: Graph, *, atol: float = 1e-5) -> None:
        batch = 3 if before.dynamic_batch else 1
        rng = np.random.default_rng(7)
        feeds = {}
        for name in before.inputs:
            shape = list(before.types[name].shape or ())
            if name in before.dynamic_batch:
                shape[0] = batch
            feeds[name] = rng.standard_normal(shape).astype(before.types[name].dtype)
        want = FloatSession(before, optimize=False).run(feeds)
        got = FloatSession(after, optimize=False).run(feeds)
        assert list(got) == list(want)
        for name, array in want.items():
            assert np.std(array) > 0, "the check needs outputs that vary"
            np.testing.assert_allclose(got[name], array, atol=atol, rtol=1e-5)

    return check


@pytest.fixture(scope="session")
def rewritten(same_function: Callable[..., None]) -> Callable[..., Graph]:
    """Apply passes, check that the function stays, compare the nodes' text.

    ``rewritten(graph, passes, expected)``: the expected lines are those of :func:`graph_text`
    without header, inputs and outputs; digests of constants are left out.
    """

    def check(graph: Graph, passes: tuple[GraphPass, ...], expected: str) -> Graph:
        after = graph
        for step in passes:
            after = step.apply(after)
        same_function(graph, after)
        assert node_text(after) == textwrap.dedent(expected).strip()
        return after

    return check


def node_text(graph: Graph) -> str:
    lines = [line.strip() for line in graph_text(graph).splitlines()[1:]]
    nodes = [line for line in lines if not line.startswith(("input ", "output "))]
    return re.sub(r"#[0-9a-f]{8}", "", "\n".join(nodes))
