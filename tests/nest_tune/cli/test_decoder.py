"""The example's decoder: one token is decoded, its caches are states, products have formats."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

ROOT = Path(__file__).resolve().parents[3]
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def example() -> ModuleType:
    """The example's program."""
    spec = spec_from_file_location("decoder_example", ROOT / "examples/decoder/make.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def folder(example: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small one."""
    made: Path = tmp_path_factory.mktemp("decoder")
    sizes = ["--layers", "1", "--width", "64", "--vocabulary", "128", "--texts", "600"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["make.py", str(made), *sizes])
        example.main()
    return made


def states(folder: Path) -> list[str]:
    return (folder / "states.txt").read_text().split()


def test_the_model_predicts_its_grammar_and_needs_its_cache(
    example: ModuleType, folder: Path
) -> None:
    data = np.load(folder / "eval.npz")
    shape = example.Shape(128, 64, 1, 2, 170)
    model = onnx.load(folder / "decoder.onnx")
    assert "head" in {node.name for node in model.graph.node}
    assert set(shape.states) < {output.name for output in model.graph.output}
    tokens, following = data["token"].reshape(-1), data["y"].reshape(-1)
    head = next(t for t in model.graph.initializer if t.name == "head.weight")
    own = example.features_of(example.Builder(shape, 0).model(), tokens, shape)
    right = (own @ onnx.numpy_helper.to_array(head)).argmax(axis=1) == following
    assert right.mean() > 0.3  # chance is 0.008
    alone = example.features_of(example.Builder(shape, 0).model(), tokens[-1:], shape)
    assert not np.allclose(alone[-1], own[-1], atol=1e-3)  # the history is seen


def test_products_take_formats_of_their_own_and_are_judged_by_divergence(
    run: Run, folder: Path, tmp_path: Path
) -> None:
    config, out = tmp_path / "w4.toml", tmp_path / "out"
    config.write_text(
        'schema = "nest-tune/config/1"\n[plan]\n"layers.0.down" = "cpu:w4b32l4"\n'
        'head = "cpu:w8b32l4"\n'
    )
    model, fed = folder / "decoder.onnx", states(folder)
    calibration = ("--calibration", folder / "calib.npz", *fed)
    code, _, err = run(
        "compile", model, "--target", "host", "--config", config, *calibration, "-o", out
    )
    assert code == 0, err
    code, text, _ = run("profile", out, "--json")
    kernels = {layer["name"]: layer["operator"] for layer in json.loads(text)["layers"]}
    assert "MatMulNBits" in kernels.values()
    data = ("--data", folder / "eval.npz", "--against", model, "--judged-output", "head")
    found = {}
    for metric in ("kl", "agreement"):
        code, text, err = run("evaluate", out, *data, "--metric", metric, *fed, "--json")
        assert code == 0, err
        document = json.loads(text)
        found[metric] = document["value"]
    assert -0.5 < found["kl"] < 0
    assert 0.8 < found["agreement"] <= 1
    # States are not judged: the one output that is none need not be named.
    code, text, err = run("evaluate", out, *data[:4], "--metric", "kl", *fed, "--json")
    assert code == 0, err
    assert json.loads(text)["value"] == found["kl"]
