"""Parts of a model as programs of a kind of unit: the facet ``programs``, which kinds have that run
parts of models.

Linking lowers the layers of a model's segments with their schedules into one memory; what comes of
it is checked against the rules of the machine, computes bits and has a time. Nobody but the kind
knows more of a segment or a launch than :class:`UnitSegment` and :class:`UnitLaunch` say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.ir import (
    FloatSegment,
    IntegerOperator,
    IntegerSegment,
    LaunchedOperator,
    QuantizedTensor,
)
from compiler_core.sums import float_sum
from compiler_core.tensor.task import Task
from compiler_core.units.registry import unit_kind

Integers = npt.NDArray[np.int8]


@dataclass(frozen=True)
class Units:
    """Equal units of a target that share the memory that they work in.

    Attributes:
        machine: What each is, a :class:`~compiler_core.units.unit.Machine`.
        count: How many.
        target: Name of the target, for messages.
        name: That their places in plans begin with.
        is_alone: Whether the target has no other units beside its CPU.
    """

    machine: Any
    count: int
    target: str
    name: str
    is_alone: bool = True


class UnitLayer(Protocol):
    """An operator before it has a schedule.

    Attributes:
        operator: Convolution, max pool, or a node in numbers of the kind's own.
        task: The task that its schedule is of.
    """

    @property
    def operator(self) -> LaunchedOperator: ...

    @property
    def task(self) -> Task: ...


class UnitLayers(Protocol):
    """The layers of a segment.

    Attributes:
        segment: What they were made from.
        layers: In order of launch.
    """

    @property
    def segment(self) -> IntegerSegment | FloatSegment: ...

    @property
    def layers(self) -> Sequence[UnitLayer]: ...


class UnitLaunch(Protocol):
    """One operator as programs, one on each unit that takes part.

    Attributes:
        name: ``launch-000`` and so on within the segment.
        layer: Name of the operator.
        sources: Names of the graph nodes that it stands for.
        task: Id of its task.
        cores: Numbers of the units that take part, ascending.
        code: Bytes of all programs; none where its operator is in those of the launch before it,
            which it continues.
        own_code: Bytes of its operator's instructions, wherever they are.
        instruction_count: Of its operator, in all programs.
    """

    @property
    def name(self) -> str: ...

    @property
    def layer(self) -> str: ...

    @property
    def sources(self) -> tuple[str, ...]: ...

    @property
    def task(self) -> str: ...

    @property
    def cores(self) -> tuple[int, ...]: ...

    @property
    def code(self) -> bytes: ...

    @property
    def own_code(self) -> bytes: ...

    @property
    def instruction_count(self) -> int: ...

    def on_core(self, core: int) -> UnitLaunch:
        """The same on another unit; for launches that one unit alone takes part in."""
        ...


def continues(launch: UnitLaunch) -> bool:
    """Whether an operator runs in the programs of the launch before, without one of its own."""
    return not launch.code


def run_of(launch: UnitLaunch, launches: Sequence[UnitLaunch]) -> tuple[UnitLaunch, ...]:
    """A launch that continues none, with those of its segment that continue it."""
    first = [other.name for other in launches].index(launch.name)
    found = [launch]
    for other in launches[first + 1 :]:
        if not continues(other):
            break
        found.append(other)
    return tuple(found)


class UnitSegment(Protocol):
    """A run of operators of a model as launches.

    Attributes:
        kind: Of the units that run it.
        name: For people and file names.
        operators: The integer operators, which define the bits; none where its kind has numbers of
            its own.
        inputs, outputs: Tensors that enter and leave.
        launches: In order.
        constants: Bytes of the memory before the first launch: weights and the like.
    """

    @property
    def kind(self) -> str: ...

    @property
    def name(self) -> str: ...

    @property
    def operators(self) -> tuple[IntegerOperator, ...]: ...

    @property
    def inputs(self) -> tuple[str, ...]: ...

    @property
    def outputs(self) -> tuple[str, ...]: ...

    @property
    def launches(self) -> Sequence[UnitLaunch]: ...

    @property
    def constants(self) -> bytes: ...

    def tensor_bytes(self, name: str) -> int:
        """Bytes of a tensor that enters or leaves, as it is laid out, padding included."""
        ...

    def with_launches(self, launches: Sequence[Any]) -> UnitSegment:
        """The same with other launches, in the same order."""
        ...


@dataclass(frozen=True)
class LinkStep:
    """A step of the model as far as memory goes.

    Attributes:
        segment: Name of its segment.
        tensors: That it reads or writes as integers.
        after: Positions of the steps that it waits for.
        is_launch: Whether it is a program of the units; those of all segments come in order.
    """

    segment: str
    tensors: tuple[str, ...]
    after: tuple[int, ...]
    is_launch: bool


@dataclass(frozen=True, eq=False)
class LinkRequest:
    """What is linked.

    Attributes:
        layers: Of each segment, as the kind made them.
        schedules: By task id, for layers that are not cut.
        pieces: Parts of layers that are cut across units, by name of the layer, as the kind made
            them.
        steps: Of the whole model, those of other units included.
        units: What runs it.
        borders: Layers, by name, that may run in the programs of the layer before, with how each
            begins as the kind said it, or ``None`` where it is to decide that. Kinds whose programs
            hold one layer leave them alone.
    """

    layers: Sequence[Any]
    schedules: Mapping[str, Any]
    pieces: Mapping[str, Any]
    steps: Sequence[LinkStep]
    units: Units
    borders: Mapping[str, Mapping[str, int] | None] = field(default_factory=dict)


@dataclass(frozen=True)
class MemoryUse:
    """Bytes of the memory that the units work in.

    Attributes:
        size_bytes: All of it, from address 0.
        constant_bytes: Weights and the like.
        activation_bytes: Activations, which take turns.
        activation_bytes_without_reuse: If every tensor had its own place.
    """

    size_bytes: int
    constant_bytes: int
    activation_bytes: int
    activation_bytes_without_reuse: int


@dataclass(frozen=True, eq=False)
class LinkedSegments:
    """Segments in one memory.

    Attributes:
        segments: In the order of the request.
        memory: Its use.
        borders: How the layers begin that continue the one before, by name.
    """

    segments: tuple[Any, ...]
    memory: MemoryUse
    borders: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class CoreCost:
    """One unit's part of a launch.

    Attributes:
        cycles: From the launch to its own end.
        energy_pj: Of its program; ``None`` where the machine has no table of energies, which
            counts as nothing.
        instructions: Of its program.
        moved_bytes: Between the unit and the memory it works in, by what is moved.
        stall_cycles: Waits, by part of the unit and cause.
    """

    cycles: int
    energy_pj: float | None
    instructions: int
    moved_bytes: Mapping[str, int]
    stall_cycles: Mapping[str, int]


@dataclass(frozen=True)
class LaunchCost:
    """A launch on its own: nothing else uses the memory meanwhile.

    Of launches that continue one another each has a share, and all shares add up to the whole.

    Attributes:
        cycles: From the launch, or the end of what it continues, to the last end.
        cores: Of each unit that takes part, in the order of :attr:`UnitLaunch.cores`.
        read_cycles, write_cycles: How long either channel to the memory is taken.
        beside_cycles: What it takes beside, in cycles of the unit that no program counts: numbers
            that the CPU brings to registers, functions that it applies.
    """

    cycles: int
    cores: tuple[CoreCost, ...]
    read_cycles: int
    write_cycles: int
    beside_cycles: int = 0

    @property
    def energy_pj(self) -> float:
        """Of all programs."""
        return float_sum(core.energy_pj or 0.0 for core in self.cores)


@dataclass(frozen=True, eq=False)
class LaunchState:
    """One program of a run, with what it did.

    Attributes:
        segment, launch: What it belongs to.
        core: Number of the unit.
        cycles: Alone.
        files: What says it all, by the ending of a file's name.
    """

    segment: UnitSegment
    launch: UnitLaunch
    core: int
    cycles: int
    files: Mapping[str, bytes]


Observer = Callable[[LaunchState], None]
"""Told of each program of a run."""


class UnitSession(Protocol):
    """Computes what programs compute; may be used by several threads at the same time."""

    def run(
        self, segment: Any, inputs: Mapping[str, Any], observer: Observer | None = None
    ) -> dict[str, Any]:
        """One run of the model through a segment.

        Args:
            segment: One of those that were prepared.
            inputs: ``int8[N, C, H, W]`` by name; where its kind has numbers of its own, float32 of
                the tensors of the model.
            observer: Told of each program.

        Returns:
            The same by name of the output.
        """
        ...


@runtime_checkable
class Programs(Protocol):
    """From layers to programs, bits and times.

    Attributes:
        joins_layers: Whether layers that follow one another become one program, launched once.
    """

    joins_layers: bool

    def link(self, request: LinkRequest) -> LinkedSegments:
        """Lowers all layers into one memory.

        Raises:
            InfeasibleError: A schedule does not fit its layer.
            InputError: A schedule is for another kind of operator, or the memory ends.
        """
        ...

    def verify(self, linked: LinkedSegments, request: LinkRequest) -> None:
        """Holds every program to the rules of the machine, and those that may run side by side to
        leaving one another's memory alone.

        Raises:
            InternalError: A rule is broken; names layer and finding.
        """
        ...

    def prepare(
        self,
        segments: Sequence[Any],
        tensors: Mapping[str, QuantizedTensor],
        memory_bytes: int,
        machine: Any,
    ) -> UnitSession:
        """What computes the bits of segments that may come from a package.

        Args:
            segments: All of the kind.
            tensors: Those that enter and leave.
            memory_bytes: Size of the memory.
            machine: What runs them.

        Raises:
            ProgramError: A program asks for what the machine does not have.
        """
        ...

    def time(self, launch: Any, machine: Any) -> LaunchCost:
        """What a launch costs."""
        ...


def programs_of(kind: str) -> Programs:
    """How a kind runs parts of models.

    Raises:
        InputError: It does not, or is not known.
    """
    found: Programs = unit_kind(kind).facet("programs", Programs)
    return found
