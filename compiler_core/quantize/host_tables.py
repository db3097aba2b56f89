"""Tables of 256 entries: a chain of pointwise operators between two tensors of int8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from compiler_core.graph.exporter import export_onnx
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.session import FloatSession
from compiler_core.recent import Recent

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
    alone = _alone(graph, nodes, source)
    key = export_onnx(alone).SerializeToString(deterministic=True), exponents
    found = _KNOWN.get(key)
    if found is None:
        found = _levels(FloatSession(alone), exponents)
        found.setflags(write=False)
        _KNOWN.keep(key, found)
    return found


_KNOWN: Recent[npt.NDArray[np.int8]] = Recent(1 << 12)
"""Of chains that are alike but for names: a network's activations are one function many times, and
schemes that are tried one after the other leave most scales as they are."""


def _levels(chain: FloatSession, exponents: tuple[int, int]) -> npt.NDArray[np.int8]:
    levels = np.arange(LOWEST, LOWEST + ENTRIES, dtype=np.float32)
    real = levels * np.float32(2.0 ** -exponents[0])
    (result,) = chain.run({_SOURCE: real}).values()
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.rint(result.reshape(-1) * np.float32(2.0 ** exponents[1]))
    # NaN where the function has no value: no input of the model leads there.
    whole = np.clip(np.nan_to_num(scaled, nan=0.0), LOWEST, LOWEST + ENTRIES - 1)
    return np.asarray(whole, np.int8)


_SOURCE = "source"


def _alone(graph: Graph, nodes: Sequence[Node], source: str) -> Graph:
    """The chain over a vector of all integers, whatever its tensors and nodes were called."""
    used = [name for node in nodes for name in (*node.inputs, *node.outputs) if name]
    others = dict.fromkeys(name for name in used if name != source)
    names = {"": "", source: _SOURCE, **{name: f"t{place}" for place, name in enumerate(others)}}
    plain = tuple(
        replace(
            node,
            name=f"n{place}",
            inputs=tuple(names[name] for name in node.inputs),
            outputs=tuple(names[name] for name in node.outputs),
        )
        for place, node in enumerate(nodes)
    )
    constants = {names[n]: graph.constants[n] for n in others if n in graph.constants}
    single = {
        name: np.reshape(v, ()) if v.dtype.kind == "f" else v for name, v in constants.items()
    }
    written = [name for node in plain for name in node.outputs if name]
    types = dict.fromkeys((_SOURCE, *written), TensorType("float32", (ENTRIES,)))
    types |= {name: TensorType(v.dtype.name, v.shape) for name, v in single.items()}
    return replace(
        graph,
        name="chain",
        inputs=(_SOURCE,),
        outputs=(plain[-1].output,),
        nodes=plain,
        constants=single,
        types=types,
        dynamic_batch=frozenset(),
        batch_dependent=frozenset(),
        sample_axes={},
        kept={},
    )
