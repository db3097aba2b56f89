"""What a branch reads of the graph around it stays there, whatever a scheme rewrites."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nest_tune


def model(path: Path) -> None:
    """Convolutions with a Sigmoid between, and a dense layer in a branch of If: its weights lie
    outside, and so do two tensors that it reads."""
    random = np.random.default_rng(5)

    def constant(name: str, *shape: int) -> onnx.TensorProto:
        return numpy_helper.from_array(random.normal(size=shape).astype(np.float32) / 4, name)

    def value(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    then = helper.make_graph(
        [
            helper.make_node("Gemm", ["hidden", "inner", "inner_bias"], ["more"]),
            helper.make_node("Add", ["more", "pooled"], ["taken"]),
        ],
        "then",
        [],
        [value("taken", 1, 32)],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["hidden"], ["left"])], "else", [], [value("left", 1, 32)]
    )
    nodes = [
        helper.make_node("Conv", ["x", "outer", "outer_bias"], ["wide"], name="first"),
        helper.make_node("Sigmoid", ["wide"], ["gated"], name="sigmoid"),
        helper.make_node("Conv", ["gated", "middle"], ["deep"], name="second"),
        helper.make_node("GlobalAveragePool", ["deep"], ["average"], name="average"),
        helper.make_node("Flatten", ["average"], ["pooled"], name="flatten"),
        helper.make_node("Relu", ["pooled"], ["hidden"], name="relu"),
        helper.make_node("ReduceMax", ["hidden"], ["largest"], keepdims=0, name="max"),
        helper.make_node("Greater", ["largest", "limit"], ["is_large"], name="greater"),
        helper.make_node(
            "If", ["is_large"], ["chosen"], then_branch=then, else_branch=other, name="if"
        ),
        helper.make_node("Gemm", ["chosen", "last", "last_bias"], ["y"], name="third"),
    ]
    constants = [
        constant("outer", 16, 3, 3, 3),
        constant("outer_bias", 16),
        constant("middle", 32, 16, 3, 3),
        constant("inner", 32, 32),
        constant("inner_bias", 32),
        constant("last", 32, 16),
        constant("last_bias", 16),
        numpy_helper.from_array(np.float32(0.2), "limit"),
    ]
    graph = helper.make_graph(
        nodes, "scopes", [value("x", 1, 3, 8, 8)], [value("y", 1, 16)], constants
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(made, full_check=True)
    onnx.save(made, path)


@pytest.mark.parametrize(
    "decisions",
    [
        "",
        'granularity = "channel"\nequalization = "true"\nrescaling = "true"',
        'split_inputs = "true"\nbias_correction = "true"',
        'weight_rounding = "gptq"\ngranularity = "channel"\nsplit_inputs = "true"',
    ],
)
@pytest.mark.parametrize("target", ["vta", "vta-duo"])
def test_branches_read_what_lies_outside(decisions: str, target: str, tmp_path: Path) -> None:
    model(tmp_path / "m.onnx")
    x = np.random.default_rng(1).normal(size=(24, 3, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "c.npz", x=x)
    plan = '[plan]\nfirst = "vta"\nsecond = "vta"\nthird = "vta"\n'
    text = f'schema = "nest-tune/config/1"\n\n{plan}\n[scheme.decisions]\n{decisions}\n'
    (tmp_path / "c.toml").write_text(text)
    nest_tune.compile(
        tmp_path / "m.onnx",
        target,
        tmp_path / "p",
        config=tmp_path / "c.toml",
        calibration=tmp_path / "c.npz",
    )
    nest_tune.run(tmp_path / "p", tmp_path / "c.npz", check=True)
    found = nest_tune.evaluate(
        tmp_path / "p", tmp_path / "c.npz", against=tmp_path / "m.onnx", metric="sqnr_db"
    )
    assert found.value > 15
