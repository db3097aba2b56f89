"""What rounding by GPTQ will take, told from the float graph alone."""

from __future__ import annotations

from compiler_core.graph.ir import Graph
from compiler_core.quantize.cpu_integers import WEIGHTED
from compiler_core.quantize.reconstruction import (
    LARGEST_KERNEL,
    SOLVED,
    WINDOWS,
    WINDOWS_PER_WEIGHT,
)
from compiler_core.quantize.sensitivity import layer_macs

_RUNS = 50
"""Multiplications of one run of the model, about, that the runs of both networks count as beside
those of matrices: onnxruntime is quicker."""


def expected_work(graph: Graph) -> int:
    """Multiplications that :func:`~compiler_core.quantize.reconstruction.reconstruct` would spend
    with every layer on the NPU, about, before anything is quantized; 0 where none has weights."""
    work = 0
    for node in graph.nodes:
        weight = graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
        if node.op not in WEIGHTED or weight is None or weight.ndim < 2:
            continue
        groups = int(node.attributes.get("group", 1)) if node.op == "Conv" else 1
        outputs = len(weight)
        kernel = weight.size // max(1, outputs)
        if node.op != "Conv" and not node.attributes.get("transB"):
            kernel, outputs = int(weight.shape[-2]), int(weight.shape[-1])
        counted = kernel if kernel <= LARGEST_KERNEL else 1
        seen = 2 * max(WINDOWS, WINDOWS_PER_WEIGHT * kernel)
        work += groups * counted**2 * (seen + SOLVED * counted) + outputs * counted**2
    return work and work + _RUNS * sum(layer_macs(graph).values())
