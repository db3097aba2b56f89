"""What several nodes compute alike is computed once."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from compiler_core.graph.chance import draws
from compiler_core.graph.ir import NEST_DOMAIN, Graph, Node
from compiler_core.graph.passes.rewriter import Rewriter


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
            first = group.take(work, node)
            # Where the first one's name cannot stay, it has the name of this one.
            if first is not None and work.bypass(node, first) and work.producer(first) is None:
                group.rename(node.output)
        return work.finish()


def _is_function(node: Node) -> bool:
    """Whether a node's only output follows from its inputs and attributes."""
    is_known = node.domain in ("", NEST_DOMAIN) and not draws(node)
    return is_known and not node.opaque and not any(node.outputs[1:])


class _Group:
    """Nodes that are alike but for the numbers of their constants, which are looked at from the
    second one on."""

    def __init__(self) -> None:
        self._alone: str | None = None
        self._firsts: dict[Hashable, str] = {}
        self._latest: Hashable = None

    def take(self, work: Rewriter, node: Node) -> str | None:
        """The output of the first node that computes the same; ``None`` where this is the first."""
        if self._alone is None and not self._firsts:
            self._alone = node.output
            return None
        earlier = None if self._alone is None else work.producer(self._alone)
        if earlier is not None:
            self._firsts[_numbers(work, earlier)] = earlier.output
        self._alone, self._latest = None, _numbers(work, node)
        first = self._firsts.setdefault(self._latest, node.output)
        return None if first == node.output else first

    def rename(self, output: str) -> None:
        """Takes note that the first one of what was taken last has another name now."""
        self._firsts[self._latest] = output


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
    return tuple(content(work.constants[name]) for name in node.inputs if name in work.constants)


def content(array: np.ndarray[Any, Any]) -> Hashable:
    """What an array holds, bit by bit."""
    if array.dtype == object or array.dtype.kind in "US":
        return repr(array.tolist())
    return hashlib.sha256(array.tobytes()).digest()
