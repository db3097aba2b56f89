"""Tables of 256 entries: a chain of pointwise operators between two tensors of int8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.session import FloatSession

ENTRIES = 256
LOWEST = -128


def table_levels(
    graph: Graph, nodes: Sequence[Node], source: str, exponents: tuple[int, int]
) -> npt.NDArray[np.int8]:
    """What a chain makes of every integer: ``int8[256]``, entry ``i`` for the integer ``i - 128``.

    Args:
        graph: The nodes are of; their constants are single numbers.
        nodes: The chain, in topological order.
        source: The tensor that it reads.
        exponents: Of that tensor, and of what the last node writes.
    """
    levels = np.arange(LOWEST, LOWEST + ENTRIES, dtype=np.float32)
    real = levels * np.float32(2.0 ** -exponents[0])
    results = FloatSession(_alone(graph, nodes, source)).run({source: real})
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(results[nodes[-1].output].reshape(-1) * np.float32(2.0 ** exponents[1]))
    # NaN where the function has no value: no input of the model leads there.
    whole = np.clip(np.nan_to_num(scaled, nan=0.0), LOWEST, LOWEST + ENTRIES - 1)
    return np.asarray(whole, np.int8)


def _alone(graph: Graph, nodes: Sequence[Node], source: str) -> Graph:
    """The chain over a vector of all integers."""
    used = {name for node in nodes for name in node.inputs if name in graph.constants}
    constants = {name: graph.constants[name] for name in used}
    single = {
        name: np.reshape(v, ()) if v.dtype.kind == "f" else v for name, v in constants.items()
    }
    written = [name for node in nodes for name in node.outputs if name]
    types = dict.fromkeys((source, *written), TensorType("float32", (ENTRIES,)))
    types |= {name: TensorType(v.dtype.name, v.shape) for name, v in single.items()}
    return replace(
        graph,
        inputs=(source,),
        outputs=(nodes[-1].output,),
        nodes=tuple(nodes),
        constants=single,
        types=types,
        dynamic_batch=frozenset(),
        batch_dependent=frozenset(),
        sample_axes={},
        kept={},
    )
