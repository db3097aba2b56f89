"""The facet of kinds whose generated sources can be searched: precision by layer, kernels.

A candidate is a model under decisions: how ranges follow from statistics, and the precision of
every layer. What its operators cost is measured one by one, each with every kernel that it has;
equal operators are one task, in whatever network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt

from compiler_core.graph.ir import Graph
from compiler_core.quantize.statistics import TensorRange
from compiler_core.tensor.task import Task


@dataclass(frozen=True)
class LayerPrecisions:
    """A layer whose precision can be chosen.

    Attributes:
        node: Name of the model's node.
        precisions: What there is, the usual one first.
        weights: Numbers that it stores.
        macs: Multiplications of one run.
    """

    node: str
    precisions: tuple[str, ...]
    weights: int
    macs: int


@dataclass(frozen=True)
class KernelTask:
    """An operator and the kernels that it has on a core.

    Attributes:
        name: Operator and digest; equal for what costs the same.
        value: What the operator writes, which names it in its network.
        node: Name of the model's node.
        shape: Extents in one line.
        kernels: Plain, the usual one first; of one with a workload some of those that it has.
        task: The same as a task of the core, where its kernels are a space that can be searched
            by counting; its id is the name.
    """

    name: str
    value: str
    node: str
    shape: str
    kernels: tuple[Mapping[str, Any], ...]
    task: Task | None = None


@dataclass(frozen=True, eq=False)
class CandidateRequest:
    """What is decided.

    Attributes:
        graph: The model, simplified.
        model: Its name and its digest as imported.
        ranges: Statistics of its activations.
        target: Name or path.
        ranging: ``activation_range`` and ``weight_range``, by name; the usual ones where left out.
        precisions: By node, where it is not the usual one.
        memory: One of :meth:`Candidates.memory_plans`; empty for the usual one.
        form: One of :meth:`Candidates.forms`; empty for the usual one.
    """

    graph: Graph
    model: tuple[str, str]
    ranges: Mapping[str, TensorRange]
    target: str
    ranging: Mapping[str, str] = field(default_factory=dict)
    precisions: Mapping[str, str] = field(default_factory=dict)
    memory: str = ""
    form: str = ""


@dataclass(frozen=True)
class DecidedCandidate:
    """What a configuration decides, as :class:`CandidateRequest` takes it."""

    ranging: Mapping[str, str]
    precisions: Mapping[str, str]
    memory: str = ""
    form: str = ""


@dataclass(frozen=True)
class CandidateCosts:
    """What a candidate costs.

    Attributes:
        metrics: By name.
        intervals: 95 % intervals of those that were measured by the clock.
        doubts: What speaks against that measurement, for people.
    """

    metrics: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    doubts: tuple[str, ...] = ()


@runtime_checkable
class Candidate(Protocol):
    """A model under decisions."""

    @property
    def digest(self) -> str:
        """Equal for equal integers."""
        ...

    @property
    def tasks(self) -> Sequence[KernelTask]:
        """Its operators in the order in which they run, those that do something."""
        ...

    def measure(self, value: str, kernels: Sequence[Mapping[str, Any]]) -> list[float]:
        """What one run of an operator costs with each of some kernels, by itself: instructions in
        an emulator, or nanoseconds on this machine, where the kernels are timed together and what
        is not told apart from the first costs the same.

        Raises:
            MissingDependencyError: Compiler or emulator are not installed.
            CheckError: The program cannot be built or run.
        """
        ...

    def costs(
        self, kernels: Mapping[str, Mapping[str, Any]], measured: Mapping[str, float]
    ) -> CandidateCosts:
        """Metrics of the whole, by name; times by the clock are those of the whole program.

        Args:
            kernels, measured: By name of the task.

        Raises:
            InfeasibleError: It does not fit the target.
            CheckError: The program cannot be built or run.
        """
        ...

    def outputs(self, samples: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """Outputs of samples as real numbers in the model's layout, runs joined."""
        ...

    def configuration(self, kernels: Mapping[str, Mapping[str, Any]]) -> str:
        """The text of a configuration from which the same sources follow."""
        ...


@runtime_checkable
class Candidates(Protocol):
    """Models under decisions."""

    def metrics(self, target: str) -> tuple[str, ...]:
        """What can be known of a candidate, by name, beside its accuracy.

        Raises:
            InputError: There is no such target.
        """
        ...

    def identity(self, target: str) -> str:
        """What measurements depend on beside the operators: generator, compiler, emulator.

        Raises:
            MissingDependencyError: One is not installed.
        """
        ...

    def packages(self, target: str) -> str:
        """Debian's packages that build and count candidates, with blanks between; empty for none.

        Raises:
            InputError: There is no such target.
        """
        ...

    def origin_of_cycles(self, target: str, costs: Mapping[str, float]) -> str:
        """What cycles among the costs of a candidate follow from, in words for people; empty where
        there are none."""
        ...

    def ranging(self) -> Mapping[str, tuple[str, ...]]:
        """Ways in which ranges follow, by decision, the usual one first."""
        ...

    def precisions(
        self, graph: Graph, ranges: Mapping[str, TensorRange]
    ) -> tuple[LayerPrecisions, ...]:
        """Layers whose precision can be chosen, in the model's order.

        Raises:
            InputError: The model cannot be written as sources.
        """
        ...

    def forms(self, graph: Graph) -> tuple[str, ...]:
        """What may be float32, for models of which integers make nothing of use, the usual form
        (all in integers) first, then as defaults are tried; precisions count for the rest alone."""
        ...

    def memory_plans(
        self, graph: Graph, ranges: Mapping[str, TensorRange], target: str
    ) -> tuple[str, ...]:
        """Ways to need less memory, which may cost something, the usual one (empty) first."""
        ...

    def decided(
        self, configuration: Path, graph: Graph, digest: str, ranges: Mapping[str, TensorRange]
    ) -> DecidedCandidate:
        """The inverse of :meth:`Candidate.configuration`, kernels aside.

        Args:
            configuration: File of it.
            graph, digest: The model, simplified, and its digest as imported.
            ranges: Statistics of its activations.

        Raises:
            InputError: The file is wrong or for another model, or no decisions lead to it.
        """
        ...

    def make(self, request: CandidateRequest) -> Candidate:
        """A candidate.

        Raises:
            InputError: The model cannot be written as sources, or a decision does not exist.
        """
        ...
