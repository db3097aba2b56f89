"""Models as C in one step, with the usual kernels."""

from __future__ import annotations

from collections.abc import Mapping

from compiler_core.graph.ir import Graph
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.cpu.c.bundles.bundle import Bundle, scheduled_bundle
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.convert.options import Options
from compiler_core.units.cpu.c.schedules.schedule import choices_in


def make_bundle(
    graph: Graph,
    ranges: Mapping[str, TensorRange],
    name: str,
    options: Options | None = None,
    core: str = "c99",
) -> Bundle:
    """A model as C, with the default kernels of a core.

    Args:
        graph: Simplified.
        ranges: Statistics of its activations.
        name: C name of the model: see :func:`~compiler_core.units.cpu.c.emit.text.identifier`.
        options: Decisions.
        core: Name of the core.

    Raises:
        InputError: A node cannot be written as C, or the name is none.
    """
    network = to_network(graph, ranges, options)
    schedules = {item.output: choices_in(network, item, core)[0] for item in network.operators}
    return scheduled_bundle(network, name, schedules)
