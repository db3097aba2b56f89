"""The nodes of a cluster: which can be used, what they hold, and what no node can hold."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from compiler_core.errors import InputError, MissingDependencyError
from nest_tune.runners.runner import Needs

_LOG = logging.getLogger(__name__)

Node = Mapping[str, Any]
"""As Ray describes it: ``NodeID``, ``Alive`` and ``Resources`` are read."""


class Nodes:
    """What is known of a cluster's nodes.

    Attributes:
        refused: Reason by node id; never used again.
    """

    def __init__(self) -> None:
        self._alive: list[Node] = []
        self._told_empty = False
        self.refused: dict[str, str] = {}

    def look(self, nodes: Sequence[Node]) -> None:
        """Takes the cluster's present list."""
        self._alive = [node for node in nodes if node["Alive"]]

    def refuse(self, node: str, host: str, reason: str) -> None:
        """Leaves a node alone from now on, and says so once."""
        if node not in self.refused:
            _LOG.warning("node %s (%s) is not used: %s", node[:8], host, reason)
        self.refused[node] = reason

    @property
    def usable(self) -> list[Node]:
        """Nodes that calls may run on."""
        return [n for n in self._alive if _cpus(n) and n["NodeID"] not in self.refused]

    @property
    def cpus(self) -> int:
        """Of all usable nodes."""
        return sum(_cpus(node) for node in self.usable)

    def is_there(self) -> bool:
        """Whether there are workers; says so when there are none, and when there are again."""
        usable = self.usable
        if not usable and not self._told_empty:
            _LOG.warning(
                "the Ray cluster has no nodes with CPUs: waiting for one to join; Ctrl-C or "
                "`nest-tune study cancel` ends the study, saved"
            )
        elif usable and self._told_empty:
            _LOG.warning("the Ray cluster has %d nodes again", len(usable))
        self._told_empty = not usable
        return bool(usable)

    def can_hold(self, needs: Needs) -> bool:
        """Whether a call can run; says so where the cluster has no workers, and when it has again.

        Raises:
            InputError: No node is large enough.
            MissingDependencyError: All nodes were refused.
        """
        usable = self.usable
        if not usable and any(_cpus(node) for node in self._alive):
            reasons = "; ".join(f"node {k[:8]}: {v}" for k, v in self.refused.items())
            raise MissingDependencyError(
                f"no node of the Ray cluster can be used: {reasons}",
                hint="install the driver's nest-tune and its constraints.txt on every node",
            )
        if not self.is_there():
            return False
        memory = max(node["Resources"].get("memory", 0) for node in usable)
        cpus = max(_cpus(node) for node in usable)
        if cpus < needs.cpus or memory < needs.memory_bytes:
            raise InputError(
                f"a call needs {needs.cpus} CPUs and {needs.memory_bytes / 2**30:.1f} GiB on one "
                f"node; the largest of {len(usable)} nodes have {cpus} CPUs and "
                f"{memory / 2**30:.1f} GiB",
                hint="ray start with larger --num-cpus and --memory, or larger machines",
            )
        return True


def _cpus(node: Node) -> int:
    return int(node["Resources"].get("CPU", 0))
