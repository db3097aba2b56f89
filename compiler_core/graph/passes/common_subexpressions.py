"""What several nodes compute alike is computed once."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter

_BY_CHANCE = frozenset(
    {
        "Bernoulli",
        "Dropout",
        "Multinomial",
        "RandomNormal",
        "RandomNormalLike",
        "RandomUniform",
        "RandomUniformLike",
    }
)
"""Operators whose results differ from node to node."""


@dataclass(frozen=True)
class CommonSubexpressions:
    """Remove nodes that compute what an earlier node has computed: the same operator, the same
    attributes, the same inputs or equal constants.

    Nodes of several outputs, with subgraphs or of other domains stay, as do two of which the caller
    of the model reads both.
    """

    name: ClassVar[str] = "common-subexpressions"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`GraphPass`."""
        work = Rewriter(graph)
        known: dict[Hashable, list[str]] = {}
        for node in work.nodes():
            if not _is_function(node):
                continue
            alike = known.setdefault(_key(work, node), [])
            any(_merged(work, first, node) for first in alike)
            # Where both names cannot go, the first one does.
            if work.producer(node.output) is not None:
                alike.append(node.output)
        return work.finish()


def _is_function(node: Node) -> bool:
    """Whether a node's only output follows from its inputs and attributes."""
    is_known = node.domain in ("", NEST_DOMAIN) and node.op not in _BY_CHANCE
    return is_known and not node.opaque and not any(node.outputs[1:])


def _merged(work: Rewriter, output: str, node: Node) -> bool:
    """Removes a node, if what computes ``output`` computes the same."""
    first = work.producer(output)
    if first is None or not _same_constants(work, first, node):
        return False
    return work.bypass(node, output)


def _key(work: Rewriter, node: Node) -> Hashable:
    """All of a node but its name, its output and the numbers of its constants."""
    inputs = tuple(
        (work.constants[name].dtype.str, work.constants[name].shape)
        if name in work.constants
        else name
        for name in node.inputs
    )
    attributes = tuple(sorted((name, _frozen(value)) for name, value in node.attributes.items()))
    return node.domain, node.op, node.clip, attributes, inputs


def _frozen(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype.str}{value.shape}{value.tobytes().hex()}"
    return repr(value)


def _same_constants(work: Rewriter, first: Node, second: Node) -> bool:
    """Whether constants at the same inputs have the same bits."""
    return all(
        a == b or a not in work.constants or _equal(work.constants[a], work.constants[b])
        for a, b in zip(first.inputs, second.inputs, strict=True)
    )


def _equal(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    if a.dtype == object or a.dtype.kind in "US":
        return bool(a.tolist() == b.tolist())
    return a.tobytes() == b.tobytes()
