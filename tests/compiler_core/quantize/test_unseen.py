"""What a scheme loses on samples that its ranges were not found on."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

import nest_tune
from compiler_core.compile.sources import load_model
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.ladder import FIRST, RUNGS
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.quantize.unseen import reason_unseen


@pytest.fixture
def dense(tmp_path):
    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["" : 13]>
        agraph (float[N,16] x) => (float[N,6] y) {
            hidden = Gemm (x, first)
            kept = Relu (hidden)
            y = Gemm (kept, second)
        }
    """)
    draw = np.random.default_rng(5)
    for name, shape in (("first", (16, 32)), ("second", (32, 6))):
        array = draw.standard_normal(shape).astype(np.float32) / 4
        model.graph.initializer.append(numpy_helper.from_array(array, name))
    onnx.save(model, tmp_path / "dense.onnx")
    return tmp_path / "dense.onnx"


def drawn(growth: float, count: int = 16):
    """Samples of which each is by ``growth`` larger than the one before."""
    rows = np.random.default_rng(6).standard_normal((count, 16))
    return (rows * growth ** np.arange(count)[:, None]).astype(np.float32)


def reason(path, samples, scheme: QuantizationScheme = RUNGS[FIRST]) -> str:
    graph = load_model(path).graph
    profile = profile_model(graph, {"x": samples})
    return reason_unseen(graph, default_assignment(graph), profile, scheme)


def test_samples_of_a_kind_say_what_others_lose(dense) -> None:
    assert reason(dense, drawn(1.0)) == ""


def test_ranges_that_grow_with_every_sample_are_too_narrow_for_others(dense) -> None:
    assert "output 'y' has SQNR" in reason(dense, drawn(1.5))


def test_one_sample_says_nothing(dense) -> None:
    assert reason(dense, drawn(1.5, count=1)) == ""


def test_a_compile_warns_where_its_samples_are_too_few(dense, tmp_path) -> None:
    grown, alike = (
        nest_tune.compile(dense, "vta", tmp_path / "out", calibration={"x": drawn(growth)})
        for growth in (1.5, 1.0)
    )
    assert any("16 calibration samples may be too few" in line for line in grown.warnings)
    assert not alike.warnings


@pytest.mark.parametrize("target", ["vta", "c99"])
def test_who_decides_the_scheme_is_warned_too(dense, tmp_path, target: str) -> None:
    """Schemes from a file, and packages of sources, which have one scheme alone."""
    config = tmp_path / "config.toml"
    config.write_text(
        'schema = "nest-tune/config/1"\n[scheme.decisions]\nactivation_range = "max"\n'
    )
    compile_ = {
        "vta": lambda data: nest_tune.compile(
            dense, "vta", tmp_path / "out", calibration=data, config=config
        ),
        "c99": lambda data: nest_tune.compile_bundle(
            dense, "c99", tmp_path / "sources", calibration=data
        ),
    }[target]
    given = drawn(1.5), np.tile(drawn(1.0, count=8), (2, 1))
    grown, alike = (compile_({"x": samples}).warnings for samples in given)
    assert any("16 calibration samples may be too few" in line for line in grown)
    assert not alike


def test_a_scheme_that_is_bad_on_all_samples_is_not_blamed_on_their_number(dense) -> None:
    flat = np.ones((16, 16), np.float32) + 1e-3 * drawn(1.0)
    assert reason(dense, flat) == ""
