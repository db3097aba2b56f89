"""What several nodes compute alike is computed once."""

from __future__ import annotations

import hashlib
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
        groups: dict[Hashable, _Group] = {}
        for node in work.nodes():
            if not _is_function(node):
                continue
            group = groups.setdefault(_key(work, node), _Group())
            first = group.first(work, node)
            if first is None:
                group.add(work, node)
            # Where the first one's name cannot stay, it has the name of this one.
            elif work.bypass(node, first) and work.producer(first) is None:
                group.rename(work, node)
        return work.finish()


def _is_function(node: Node) -> bool:
    """Whether a node's only output follows from its inputs and attributes."""
    is_known = node.domain in ("", NEST_DOMAIN) and node.op not in _BY_CHANCE
    return is_known and not node.opaque and not any(node.outputs[1:])


class _Group:
    """Nodes that are alike but for the numbers of their constants, which are looked at from the
    second one on."""

    def __init__(self) -> None:
        self._alone: str | None = None
        self._firsts: dict[Hashable, str] = {}

    def first(self, work: Rewriter, node: Node) -> str | None:
        """The output of the first node that computes the same, if there is one."""
        if self._alone is not None:
            earlier = work.producer(self._alone)
            self._alone = None
            if earlier is not None:
                self._firsts[_numbers(work, earlier)] = earlier.output
        return self._firsts.get(_numbers(work, node)) if self._firsts else None

    def add(self, work: Rewriter, node: Node) -> None:
        """Takes a node as the first one of its numbers."""
        if not self._firsts:
            self._alone = node.output
        else:
            self._firsts[_numbers(work, node)] = node.output

    def rename(self, work: Rewriter, node: Node) -> None:
        """Takes note that the first one of a node's numbers has its name now."""
        self._firsts[_numbers(work, node)] = node.output


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


def _numbers(work: Rewriter, node: Node) -> Hashable:
    """What the constants among a node's inputs hold, bit by bit."""
    return tuple(_content(work.constants[name]) for name in node.inputs if name in work.constants)


def _content(array: np.ndarray[Any, Any]) -> Hashable:
    if array.dtype == object or array.dtype.kind in "US":
        return repr(array.tolist())
    return hashlib.sha256(array.tobytes()).digest()
