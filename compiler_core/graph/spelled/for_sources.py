"""Graphs as generated code has kernels for them."""

from __future__ import annotations

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.double_precision import DoublesToFloat
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.passes.unrolled_recurrence import unrolled
from compiler_core.graph.passes.wide_ports import WidePorts
from compiler_core.graph.spelled.spelled_out import spelled_out


def graph_for_sources(graph: Graph) -> Graph:
    """A graph as sources are written for it: ports of float16 are float32, as is all that is
    float64, recurrent operators step by step, and others that have no kernel as those that have
    one."""
    wide = WidePorts().apply(DoublesToFloat().apply(graph))
    found = spelled_out(unrolled(graph if wide is graph else simplify(wide)))
    flat = DoublesToFloat().apply(found)  # what loops held back
    return found if flat is found else spelled_out(simplify(flat))
