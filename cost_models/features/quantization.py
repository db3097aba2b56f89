"""Features of a model and a scheme: the knobs, and what kind of network they are turned on.

Source of the network features: Lee et al., Quantune, 2022: general (depth, parameters, operators)
and architectural (counts of layer kinds, skip connections, activations).
"""

from __future__ import annotations

from collections.abc import Mapping
from math import log2

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.apply import float_layers, weighted_layers
from compiler_core.quantize.assemble import CPU
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.scheme import (
    CalibrationSize,
    CpuPrecision,
    QuantizationScheme,
    RangeMethod,
    Scales,
)
from compiler_core.quantize.sensitivity import layer_macs

_COUNTED = ("Conv", "Dense", "MatMul", "Gemm", "Add", "Mul", "Concat", "MaxPool")
_POOLS = ("AveragePool", "GlobalAveragePool")
_NORMS = ("LayerNormalization", "BatchNormalization", "InstanceNormalization")

_KNOBS = (
    *(f"scales={item.value}" for item in Scales),
    *(f"activation_range={item.value}" for item in RangeMethod),
    "weights_mse",
    "per_channel",
    *(f"calibration={item.value}" for item in CalibrationSize),
    "bias_correction",
    "equalization",
    "rescaling",
    "split_inputs",
    "gptq",
    *(f"cpu={item.value}" for item in CpuPrecision),
    "first_last_float",
    "float_layers",
    "float_macs_share",
    "npu_macs_share",
)
_NETWORK = (
    "layers",
    "log2_macs",
    "log2_parameters",
    "depthwise",
    "pointwise",
    "strided",
    "largest_kernel",
    *(f"count_{name}" for name in _COUNTED),
    "average_pools",
    "normalizations",
    "relus",
    "relu6s",
    "softmaxes",
    "smallest_channel_ratio",
    "median_channel_ratio",
)

NAMES: tuple[str, ...] = (*_KNOBS, *_NETWORK)
"""Name per feature."""


def scheme_features(
    graph: Graph, assignment: Mapping[str, str], scheme: QuantizationScheme
) -> npt.NDArray[np.float64]:
    """``float64[len(NAMES)]``.

    Args:
        graph: The float graph, simplified.
        assignment: Unit per node.
        scheme: The decisions.

    Raises:
        InputError: The scheme names unknown layers.
    """
    knobs = [
        *(float(scheme.scales is item) for item in Scales),
        *(float(scheme.activation_range is item) for item in RangeMethod),
        float(scheme.weight_range is RangeMethod.MSE),
        float(scheme.granularity is Granularity.CHANNEL),
        *(float(scheme.calibration is item) for item in CalibrationSize),
        float(scheme.bias_correction),
        float(scheme.equalization),
        float(scheme.rescaling),
        float(scheme.split_inputs),
        float(scheme.needs_samples),
        *(float(scheme.cpu_precision is item) for item in CpuPrecision),
        float(scheme.first_last_float),
        *_shares(graph, assignment, scheme),
    ]
    return np.array([*knobs, *network_features(graph)])


def _shares(
    graph: Graph, assignment: Mapping[str, str], scheme: QuantizationScheme
) -> tuple[float, float, float]:
    macs = layer_macs(graph)
    floats = float_layers(graph, scheme) & set(macs)
    total = max(1, sum(macs.values()))
    kept = sum(macs[name] for name in floats)
    on_npu = sum(
        count
        for name, count in macs.items()
        if assignment.get(name, CPU) != CPU and name not in floats
    )
    if scheme.scales is not Scales.POWER_OF_TWO:
        on_npu = 0
    return float(len(floats)), kept / total, on_npu / total


def network_features(graph: Graph) -> list[float]:
    """Features of the network alone, in the order of the second part of :data:`NAMES`."""
    weighted = set(weighted_layers(graph))
    layers = [node for node in graph.nodes if node.name in weighted]
    convs = [node for node in layers if node.op == "Conv"]
    kernels = [graph.constants[node.inputs[1]].shape[2:] for node in convs]
    ratios = [ratio for node in layers if (ratio := _channel_ratio(graph, node)) is not None]
    parameters = sum(graph.constants[node.inputs[1]].size for node in layers)
    clips = [node.clip for node in graph.nodes if node.clip is not None]
    return [
        float(len(layers)),
        log2(1 + sum(layer_macs(graph).values())),
        log2(1 + parameters),
        float(sum(int(node.attributes.get("group", 1)) > 1 for node in convs)),
        float(sum(all(size == 1 for size in kernel) for kernel in kernels)),
        float(sum(max(node.attributes.get("strides") or (1,)) > 1 for node in convs)),
        float(max((max(kernel, default=1) for kernel in kernels), default=0)),
        *(float(sum(node.op == name for node in graph.nodes)) for name in _COUNTED),
        float(sum(node.op in _POOLS for node in graph.nodes)),
        float(sum(node.op in _NORMS for node in graph.nodes)),
        float(sum(clip == (0.0, float("inf")) for clip in clips)),
        float(sum(clip == (0.0, 6.0) for clip in clips)),
        float(sum(node.op == "Softmax" for node in graph.nodes)),
        min(ratios, default=0.0),
        float(np.median(ratios)) if ratios else 0.0,
    ]


def _channel_ratio(graph: Graph, node: Node) -> float | None:
    """log2 of the median channel's largest weight over that of all: how much one scale wastes."""
    weight = np.abs(np.asarray(graph.constants[node.inputs[1]], np.float64))
    if node.op != "Conv" and not node.attributes.get("transB"):
        weight = weight.T
    largest = weight.reshape(len(weight), -1).max(axis=1, initial=0)
    largest = largest[largest > 0]
    return float(np.log2(np.median(largest) / largest.max())) if largest.size else None
