"""The defaults of generated sources: the first that is good enough on the calibration data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import nest_tune
from nest_tune.api.bundle_packages import run_bundle

SCALES = np.array([1.0, 1e-3, 300.0, 0.05], np.float32)


def features(scales: np.ndarray) -> onnx.ModelProto:
    """Two layers and a Softmax, whose weights undo the scales of raw features."""
    random = np.random.default_rng(4)
    arrays = {
        "w": (random.normal(0, 1, (4, 6)) / scales[:, None]).astype(np.float32),
        "b": random.normal(0, 0.1, 6).astype(np.float32),
        "v": random.normal(0, 1, (6, 3)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Gemm", ["x", "w", "b"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "v"], ["s"]),
        helper.make_node("Softmax", ["s"], ["y"], axis=-1),
    ]
    graph = helper.make_graph(
        nodes,
        "features",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 3])],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


def rows(scales: np.ndarray, count: int = 64) -> np.ndarray:
    random = np.random.default_rng(8)
    return (random.normal(0, 1, (count, 4)) * scales).astype(np.float32)


def test_features_of_one_size_are_integers(tmp_path: Path) -> None:
    ones = np.ones(4, np.float32)
    made = nest_tune.compile_bundle(
        features(ones), "c99", tmp_path / "p", calibration={"x": rows(ones)}
    )
    assert made.ladder is not None
    assert made.ladder.taken == "int8"
    assert list(made.ladder.rungs) == ["int8"]
    assert made.first_flash_bytes is None
    assert made.warnings == ()


def test_raw_features_stay_real_up_to_the_first_weights(tmp_path: Path) -> None:
    x = {"x": rows(SCALES)}
    made = nest_tune.compile_bundle(features(SCALES), "c99", tmp_path / "p", calibration=x)
    assert made.ladder is not None
    assert made.ladder.taken == "float32 up to the first weights, then int8"
    assert made.ladder.good_enough
    assert "SQNR" in made.ladder.rungs["int8"].outcome
    assert made.quality is not None
    assert made.quality.sqnr_db > 25
    assert made.warnings == ()
    done = run_bundle(tmp_path / "p", x, check=True)
    assert done.bit_exact
    again = nest_tune.compile_bundle(
        features(SCALES), None, tmp_path / "again", config=tmp_path / "p" / "config.toml"
    )
    assert again.ladder is None
    for name in ("model.c", "weights.c"):
        assert (tmp_path / "again" / name).read_bytes() == (tmp_path / "p" / name).read_bytes()


@pytest.mark.parametrize("more", [{"precision": "int8"}, {"float_ports": True}])
def test_what_is_asked_for_is_not_left(tmp_path: Path, more: dict[str, object]) -> None:
    made = nest_tune.compile_bundle(
        features(SCALES), "c99", tmp_path / "p", calibration={"x": rows(SCALES)}, **more
    )
    assert made.ladder is None
    assert any("may be of no use" in text for text in made.warnings)


def test_a_rung_that_does_not_fit_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best of what fits is taken, and warned of."""
    from compiler_core.errors import InfeasibleError
    from compiler_core.units.cpu.c.bundles.facet import CBundles

    write = CBundles.write

    def limited(self: CBundles, request: object) -> object:
        if getattr(request, "float_layers", ()) or getattr(request, "precision", "") == "float32":
            raise InfeasibleError("it needs more flash than there is")
        return write(self, request)  # type: ignore[arg-type]

    monkeypatch.setattr(CBundles, "write", limited)
    made = nest_tune.compile_bundle(
        features(SCALES), "c99", tmp_path / "p", calibration={"x": rows(SCALES)}
    )
    assert made.ladder is not None
    assert not made.ladder.good_enough
    assert "more flash" in made.ladder.rungs["float32"].outcome
    assert "no rung is good enough" in made.ladder.rungs[made.ladder.taken].outcome
    assert any("may be of no use" in text for text in made.warnings)
