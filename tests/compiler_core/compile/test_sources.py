"""From a scheme to a configuration file and back: the same integers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from compiler_core.compile.compile import compile_model
from compiler_core.compile.sources import load_model, quantize_model
from compiler_core.configuration.configuration import (
    Configuration,
    Scheme,
    configuration_text,
    parse_configuration,
)
from compiler_core.errors import InputError
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.scheme import (
    CalibrationSize,
    CpuPrecision,
    QuantizationScheme,
    RangeMethod,
    Scales,
    WeightRounding,
)
from compiler_core.quantize.text import quantized_digest
from compiler_core.targets.load import load_target

FREE = {
    "default": QuantizationScheme(),
    "channel": QuantizationScheme(granularity=Granularity.CHANNEL),
    "max": QuantizationScheme(activation_range=RangeMethod.MAX, weight_range=RangeMethod.MAX),
    "kl": QuantizationScheme(activation_range=RangeMethod.KL, calibration=CalibrationSize.HALF),
    "float": QuantizationScheme(first_last_float=True, float_layers=("depthwise",)),
}
"""Schemes that exponents alone bring back."""
BOUND = {
    "bias": QuantizationScheme(bias_correction=True),
    "equalization": QuantizationScheme(equalization=True),
    "rescaling": QuantizationScheme(rescaling=True),
    "split": QuantizationScheme(split_inputs=True),
    "gptq": QuantizationScheme(
        granularity=Granularity.CHANNEL, weight_rounding=WeightRounding.GPTQ
    ),
    "number": QuantizationScheme(bias_correction=True, calibration=7),
    "cpu": QuantizationScheme(float_layers=("last",), cpu_precision=CpuPrecision.INT8),
    "cpu16": QuantizationScheme(
        Scales.ASYMMETRIC,
        Granularity.CHANNEL,
        cpu_precision=CpuPrecision.INT8_ACTIVATIONS_16,
    ),
    "all": QuantizationScheme(
        granularity=Granularity.CHANNEL,
        bias_correction=True,
        equalization=True,
        rescaling=True,
        split_inputs=True,
    ),
}
"""Schemes that take the statistics again."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    random = np.random.default_rng(0)
    weights = {"w": (8, 3, 3, 3), "v": (8, 1, 3, 3), "u": (6, 8, 1, 1), "m": (96, 5)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "first", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], "relu"),
        helper.make_node("Conv", ["b", "v"], ["c"], "depthwise", group=8),
        helper.make_node("Relu", ["c"], ["d"], "relu2"),
        helper.make_node("Conv", ["d", "u"], ["e"], "pointwise"),
        helper.make_node("Flatten", ["e"], ["f"], "flatten"),
        helper.make_node("MatMul", ["f", "m"], ["y"], "last"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 5])],
        [
            numpy_helper.from_array(random.standard_normal(shape).astype(np.float32), name)
            for name, shape in weights.items()
        ],
    )
    path = tmp_path_factory.mktemp("frontend") / "small.onnx"
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return load_model(path)


@pytest.fixture(scope="module")
def samples():
    return {"x": np.random.default_rng(1).gamma(2.0, 10.0, (16, 3, 6, 6)).astype(np.float32)}


def asked(scheme):
    return Configuration(Scheme.of({}, scheme))


def programs(quantized):
    compiled = compile_model(quantized, load_target("vta"))
    parts = list(compiled.executable.npu_segments)
    return configuration_text(compiled.configuration), len(parts), compiled.metrics


@pytest.mark.parametrize("name", [*FREE, *BOUND])
def test_a_configuration_leads_to_the_same_integers(model, samples, name):
    scheme = (FREE | BOUND)[name]
    first = quantize_model(model, asked(scheme), samples)
    text = configuration_text(first.configuration)
    locked = parse_configuration(text.encode(), "config.toml")
    assert locked.scheme.quantization() == scheme
    profile = profile_model(model.graph, samples, [7])
    for known in (samples, profile, *([None] if name in FREE else [])):
        again = quantize_model(model, locked, known)
        assert quantized_digest(again.quantized) == quantized_digest(first.quantized)
        assert configuration_text(again.configuration) == text
        assert again.cpu_reasons == first.cpu_reasons
    assert programs(again) == programs(first)


def test_decisions_change_the_integers(model, samples):
    found = {
        name: quantized_digest(quantize_model(model, asked(scheme), samples).quantized)
        for name, scheme in (BOUND | {"default": FREE["default"], "float": FREE["float"]}).items()
    }
    assert len(set(found.values())) == len(found)


def test_what_takes_the_data_again(model, samples):
    found = quantize_model(model, asked(BOUND["all"]), samples).configuration
    with pytest.raises(InputError, match="takes the calibration data again"):
        quantize_model(model, found, None)
    with pytest.raises(InputError, match="these calibration data give"):
        quantize_model(model, found, {"x": samples["x"] * 40})
    with pytest.raises(InputError, match="there are no calibration data"):
        quantize_model(model, Configuration(), None)
    profile = profile_model(model.graph, samples)
    with pytest.raises(InputError, match="no statistics of 7 samples"):
        quantize_model(model, asked(BOUND["number"]), profile)
    foreign = replace(profile, model_digest="0" * 64)
    with pytest.raises(InputError, match="the profile is of a model"):
        quantize_model(model, Configuration(), foreign)


def test_exponents_have_to_fit(model, samples):
    found = quantize_model(model, asked(FREE["channel"]), samples).configuration
    exponents = dict(found.scheme.exponents)
    name = next(iter(exponents))
    wrong = replace(found.scheme, exponents=exponents | {f"{name}1": 3})
    with pytest.raises(InputError, match=f"the nearest is '{name}'"):
        quantize_model(model, replace(found, scheme=wrong), None)
    del exponents[name]
    with pytest.raises(InputError, match="has no exponent"):
        quantize_model(
            model, replace(found, scheme=replace(found.scheme, exponents=exponents)), None
        )


def _with_type(path, op, tensor, element):
    kinds = {"words": TensorProto.FLOAT, "scores": TensorProto.FLOAT, tensor: element}
    values = [helper.make_tensor_value_info(tensor, kind, [2]) for tensor, kind in kinds.items()]
    if op == "Cast":
        node = helper.make_node("Cast", ["words"], ["scores"], to=element)
    else:
        node = helper.make_node("Custom", ["words"], ["scores"], domain="example")
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("example", 1)]
    graph = helper.make_graph([node], "text", values[:1], values[1:])
    onnx.save(helper.make_model(graph, opset_imports=opsets), path)
    return path


@pytest.mark.parametrize(
    ("op", "tensor", "element"),
    [
        ("Custom", "words", TensorProto.STRING),
        ("Custom", "words", TensorProto.BFLOAT16),
        ("Cast", "scores", TensorProto.STRING),
        ("Cast", "scores", TensorProto.BFLOAT16),
    ],
)
def test_text_and_narrow_numbers_are_read(tmp_path, op, tensor, element):
    graph = load_model(_with_type(tmp_path / "text.onnx", op, tensor, element)).graph
    assert {"words", "scores"} <= {*graph.inputs, *graph.outputs}


def test_complex_numbers_are_refused(tmp_path):
    path = _with_type(tmp_path / "text.onnx", "Custom", "words", TensorProto.COMPLEX64)
    with pytest.raises(InputError, match="input 'words' has element type complex64; allowed"):
        load_model(path)
