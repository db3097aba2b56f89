"""The quantized graph as text that diffs well, one line per operator, and its digest."""

from __future__ import annotations

import hashlib

import numpy as np

from compiler_core.graph.text import graph_digest
from compiler_core.quantize.ir import (
    FloatSegment,
    IntegerConcat,
    IntegerConv,
    IntegerOperator,
    IntegerProduct,
    IntegerTranspose,
    QuantizedGraph,
    TensorView,
    integers_read,
)
from compiler_core.units.names import CPU


def quantized_text(quantized: QuantizedGraph) -> str:
    """Segments in execution order, one line per operator.

    A tensor reads ``name:[N,C,H,W]@exponent``; large numbers stand behind a digest of their bytes.
    """
    lines = []
    for segment in quantized.segments:
        if isinstance(segment, FloatSegment):
            lines.append(f"segment {segment.name} {CPU} float")
            lines += [
                f"  {node.op} {node.name} {', '.join(filter(None, node.inputs))}"
                f" -> {', '.join(filter(None, node.outputs))}"
                for node in segment.graph.nodes
            ]
            continue
        lines.append(f"segment {segment.name} {segment.kind} int8")
        lines.append(f"  in  {', '.join(_tensor(quantized, name) for name in segment.inputs)}")
        lines += [f"  {_operator(quantized, operator)}" for operator in segment.operators]
        lines.append(f"  out {', '.join(_tensor(quantized, name) for name in segment.outputs)}")
    for name, view in sorted(quantized.views.items()):
        lines.append(f"view {name} {_view(view)}")
    return "\n".join(lines) + "\n"


def _view(view: TensorView) -> str:
    padded = f" padded={list(view.padded)}" if view.padded else ""
    return f"split={list(view.split)} permutation={list(view.permutation)}{padded}"


def quantized_digest(quantized: QuantizedGraph) -> str:
    """SHA-256 of everything that the outputs depend on, in hexadecimal."""
    digest = hashlib.sha256(quantized_text(quantized).encode())
    for segment in quantized.segments:
        if isinstance(segment, FloatSegment):
            digest.update(graph_digest(segment.graph).encode())
            continue
        for operator in segment.operators:
            if isinstance(operator, IntegerConv):
                digest.update(np.ascontiguousarray(operator.weight).tobytes())
                digest.update(np.ascontiguousarray(operator.bias).tobytes())
    source = quantized.source
    digest.update(repr((source.inputs, source.outputs)).encode())
    return digest.hexdigest()


def _tensor(quantized: QuantizedGraph, name: str) -> str:
    tensor = quantized.tensors[name]
    return f"{name}:[{','.join(map(str, tensor.shape))}]@{tensor.exponent}"


def _operator(quantized: QuantizedGraph, operator: IntegerOperator) -> str:
    output = _tensor(quantized, operator.output)
    if isinstance(operator, IntegerConcat):
        inputs = ", ".join(_tensor(quantized, name) for name in operator.inputs)
        return f"concat {operator.name} {inputs} -> {output}"
    if isinstance(operator, IntegerProduct | IntegerTranspose):
        return _product(quantized, operator)
    parts = [_tensor(quantized, operator.input), "->", output]
    if isinstance(operator, IntegerConv):
        parts += [f"weight={list(operator.weight.shape)}#{_short(operator.weight.tobytes())}"]
        parts += [f"bias=#{_short(operator.bias.tobytes())}", f"groups={operator.groups}"]
        shifts = operator.channel_shifts
        parts += [f"shift={operator.shift if shifts is None else shifts.tolist()}"]
        if operator.interleave > 1:
            parts += [f"interleave={operator.interleave}"]
        if operator.residual is not None:
            residual = _tensor(quantized, operator.residual)
            parts += [f"residual={residual}<<{operator.residual_shift}"]
    else:
        parts += [f"kernel={list(operator.kernel)}"]
    parts += [
        f"strides={list(operator.strides)}",
        f"pads={list(operator.pads)}",
        f"dilations={list(operator.dilations)}",
        f"clip=[{operator.clip_min},{operator.clip_max}]",
        f"sources={'+'.join(operator.sources)}",
    ]
    kind = "conv" if isinstance(operator, IntegerConv) else "max_pool"
    return f"{kind} {operator.name} {' '.join(parts)}"


def _product(quantized: QuantizedGraph, operator: IntegerProduct | IntegerTranspose) -> str:
    read = ", ".join(_tensor(quantized, name) for name in integers_read(operator))
    kind = "transpose"
    text = f"{read} -> {_tensor(quantized, operator.output)} groups={operator.groups}"
    if isinstance(operator, IntegerProduct):
        kind = "product"
        text += f" shift={operator.shift} clip=[{operator.clip_min},{operator.clip_max}]"
    return f"{kind} {operator.name} {text} sources={'+'.join(operator.sources)}"


def _short(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
