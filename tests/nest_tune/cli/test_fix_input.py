"""--fix-input: where --shape is taken, inputs can hold a value."""

from __future__ import annotations

import json

import numpy as np
import onnx
import pytest
import typer.main
from onnx import TensorProto, helper

from nest_tune.cli.app import app


@pytest.fixture
def model(tmp_path, monkeypatch):
    """A layer whose result is multiplied by an input, beside a calibration that holds it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))
    x, gain, y = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
        for name, shape in (("x", [1, 16]), ("gain", []), ("y", [1, 16]))
    )
    weight = np.random.default_rng(0).standard_normal((16, 16)).astype("f4")
    nodes = [
        helper.make_node(*n) for n in (("MatMul", ["x", "w"], ["h"]), ("Mul", ["h", "gain"], ["y"]))
    ]
    graph = helper.make_graph(
        nodes, "louder", [x, gain], [y], [onnx.numpy_helper.from_array(weight, "w")]
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    (tmp_path / "m.onnx").write_bytes(made.SerializeToString())
    data = np.random.default_rng(1).standard_normal((8, 16)).astype("f4")
    np.savez(tmp_path / "c.npz", x=data, gain=np.float32(2))
    return tmp_path


FIX = ("--fix-input", "gain=2")


def test_a_package_asks_for_what_is_not_fixed(run, model):
    options = ("--target", "vta", "--calibration", "c.npz", "-o", "p", *FIX, "--json")
    code, out, err = run("compile", "m.onnx", *options)
    assert code == 0, err
    assert json.loads(out)["macs_share_npu"] == 1
    np.savez(model / "e.npz", x=np.load(model / "c.npz")["x"])
    code, out, err = run("run", "p", "--inputs", "e.npz", "--outputs", "y.npz", "--check")
    assert code == 0, err
    code, out, err = run("evaluate", "p", "--data", "e.npz", "--against", "m.onnx", *FIX)
    assert code == 0, err
    written = list((model / "nest-tune-data").glob("model-*.onnx"))
    assert len(written) == 1


@pytest.mark.parametrize(
    "command",
    [
        ("plan", "show", "m.onnx", "--target", "vta"),
        ("task", "list", "m.onnx", "--target", "vta"),
        ("space", "show", "m.onnx", "--target", "vta"),
        ("quantize", "profile", "m.onnx", "--calibration", "c.npz", "-o", "x.profile"),
        ("bundle", "m.onnx", "--target", "c99", "--calibration", "c.npz", "-o", "c"),
        ("study", "start", "--model", "m.onnx", "--target", "vta", "--calibration", "c.npz",
         "--dry-run"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("model")
def test_verbs_take_it(run, command):
    code, _, err = run(*command, *FIX)
    assert code == 0, err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("gain", "--fix-input gain: NAME=VALUE is needed"),
        ("gains=2", "'gains' is fixed to a value, which is no input; inputs: x, gain"),
        ("gain=loud", "input 'gain' holds float32; 'loud' is text"),
        ("gain=1,2", "input 'gain' has shape []; 2 values are given"),
    ],
)
def test_what_no_input_takes_is_one_error(run, model, given, said):
    options = ("--target", "vta", "--calibration", "c.npz", "-o", "p", "--fix-input", given)
    code, _, err = run("compile", "m.onnx", *options)
    assert code == 2
    assert said in err
    assert not (model / "p").exists()


def test_every_verb_with_shapes_takes_it():
    def commands(group, words=()):
        for name in group.list_commands(None):
            found = group.get_command(None, name)
            if hasattr(found, "list_commands"):
                yield from commands(found, (*words, name))
            else:
                yield " ".join((*words, name)), {o for p in found.params for o in p.opts}

    options = dict(commands(typer.main.get_command(app)))
    shaped = {name for name, known in options.items() if "--shape" in known}
    assert {"compile", "study start", "plan best"} <= shaped
    assert {name for name in shaped if "--fix-input" not in options[name]} == set()


@pytest.mark.usefixtures("model")
def test_errors_name_the_model_that_was_given(run):
    options = ("--target", "vta", "--calibration", "c.npz", "-o", "p", "--shape", "x=1,2,3")
    code, _, err = run("compile", "m.onnx", *options, *FIX)
    assert code == 2
    assert "model m.onnx: " in err
    assert "nest-tune-data" not in err
