"""The facet of kinds whose generated sources have kernels to tune: layers as tasks of a core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from compiler_core.graph.ir import Graph
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.unit import Machine


@dataclass(frozen=True)
class CoreUnit:
    """The core that sources are written for, as a unit.

    Attributes:
        name: Of the unit.
        target: Name of the target.
        machine: What runs its tasks.
    """

    name: str
    target: str
    machine: Machine


@dataclass(frozen=True)
class SourceTask:
    """A layer of a model with more than one kernel.

    Attributes:
        node: Name of the model's node.
        workload: Of the kind.
    """

    node: str
    workload: Any


@runtime_checkable
class SourceTasks(Protocol):
    """Layers as tasks."""

    def core(self, target: str) -> CoreUnit:
        """The unit of a target.

        Raises:
            InputError: There is no such target, or nothing measures on its core.
            MissingDependencyError: What builds or measures is not installed.
        """
        ...

    def tasks(
        self, graph: Graph, ranges: Mapping[str, TensorRange], precisions: Mapping[str, str]
    ) -> Sequence[SourceTask]:
        """Layers of a model in the order in which they run.

        Args:
            graph: The model, simplified.
            ranges: Statistics of its activations.
            precisions: By node, as candidates know them, where it is not the usual one.

        Raises:
            InputError: The model cannot be written as sources.
        """
        ...
