"""Softmax and normalizations: sums over an axis, real numbers in registers."""

from __future__ import annotations

from compiler_core.graph.ir import Graph, Node
from compiler_core.quantize.host_arithmetic import HostTrait
from compiler_core.units.cpu.integers.rule import Rule, computes


def _layer(_graph: Graph, node: Node) -> HostTrait | str:
    if any(node.outputs[1:]):
        return "its mean or deviation is read too"
    return HostTrait.COMPUTES


def _scores(_graph: Graph, _node: Node) -> HostTrait | str:
    return HostTrait.NORMALIZES


OPERATORS: dict[str, Rule] = {
    "InstanceNormalization": computes,
    **dict.fromkeys(("LogSoftmax", "Softmax"), _scores),
    "LayerNormalization": _layer,
}
