"""Defaults for a model, from the cheapest on, for whoever looks for one that is good enough.

Raw features of different sizes, as tables of numbers are, share one scale in integers: what is left
of the small ones is nothing. In float32 up to the first layer with weights, each has its own.
"""

from __future__ import annotations

from compiler_core.graph.ir import Graph
from compiler_core.units.cpu.c.convert.sources import WEIGHTED_OPS
from compiler_core.units.facets.bundles import BundleRung


def rungs(graph: Graph) -> tuple[BundleRung, ...]:
    """int8 throughout; float32 up to the first layers with weights; activations of 16 bits in
    layers with weights; float32 throughout."""
    weighted = _with_weights(graph)
    first = _up_to_weights(graph)
    found = [BundleRung("int8")]
    if first and len(first) < len(graph.nodes):
        name = "float32 up to the first weights, then int8"
        found.append(BundleRung(name, float_layers=first, float_ports=True))
    if weighted:
        found.append(BundleRung("activations of 16 bits", int16_layers=weighted))
    return (*found, BundleRung("float32", precision="float32"))


def _with_weights(graph: Graph) -> tuple[str, ...]:
    return tuple(
        node.name
        for node in graph.nodes
        if node.op in WEIGHTED_OPS and node.inputs[1] in graph.constants
    )


def _up_to_weights(graph: Graph) -> tuple[str, ...]:
    """Nodes between the inputs and the first layers with weights, these included."""
    raw, weighted = set(graph.inputs), set(_with_weights(graph))
    found = []
    for node in graph.nodes:
        if raw.intersection(node.inputs):
            found.append(node.name)
            if node.name not in weighted:
                raw.update(node.outputs)
    return tuple(found)
