"""One block of a decoder with its cache of keys and values: any placement takes what its plan
promised, and the best one takes the layers that pay."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx
import pytest

from compiler_core.compile.sources import FloatModel, load_model, noise_samples
from compiler_core.executable.backends import Simulator
from compiler_core.executable.check import run_checked
from compiler_core.partition.best import prepare
from compiler_core.targets.load import load_target
from tests.compiler_core.partition.agreement import compiled, require_agreement

EXAMPLE = Path(__file__).resolve().parents[4] / "examples" / "decoder" / "make.py"


def example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("decoder_example", EXAMPLE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # A frozen dataclass looks its module up by name.
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def decoder(folder: Path, width: int, vocabulary: int, heads: int, window: int) -> FloatModel:
    """A block, and scores of all words."""
    make = example()
    shape = make.Shape(vocabulary, width, 1, heads, 2 * width, window)
    head = np.random.default_rng(0).normal(size=(width, vocabulary), scale=width**-0.5)
    onnx.save(make.Builder(shape, 0).model(head.astype(np.float32)), folder / "m.onnx")
    return load_model(folder / "m.onnx")


@pytest.mark.parametrize("seed", range(3))
def test_any_placement_takes_what_its_plan_promised(seed: int, tmp_path: Path) -> None:
    model, target = decoder(tmp_path, 48, 40, 3, 5), load_target("vta-aim")
    evaluator = prepare(model.graph, target, packaged=True)
    random = np.random.default_rng(seed)
    placement = tuple(int(random.choice(own)) for own in evaluator.choices)
    built = compiled(model, evaluator, placement, target)
    require_agreement(built, evaluator, evaluator.evaluate(placement), str(placement))
    data = noise_samples(model.graph, 2)
    assert run_checked(built.executable, Simulator(built.executable), data)[1] is None
