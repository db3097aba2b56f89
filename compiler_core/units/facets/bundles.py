"""The facet of kinds whose code is generated sources: a model as a folder for a board."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt

from compiler_core.clock.statistics import Interval
from compiler_core.errors import InputError
from compiler_core.files.plain import ONLY_WHERE_OTHER
from compiler_core.graph.ir import Graph
from compiler_core.quantize.statistics import TensorRange
from compiler_core.units.facets.driving import DrivenModel
from compiler_core.units.registry import unit_kind, unit_kinds
from compiler_core.units.unit import UnitKind

_FACET = "bundles"

_WHERE_TIMED = {ONLY_WHERE_OTHER: True}


@dataclass(frozen=True, eq=False)
class BundleRequest:
    """What is wanted.

    Attributes:
        graph: The model, simplified.
        ranges: Statistics of its activations; empty for float32.
        samples: Of the self test: array per graph input.
        target: Name of a target, or path of a target file.
        folder: Where the files go.
        model: Name of the model.
        name: Of the generated function; from the model's name where ``None``.
        precision: ``int8`` or ``float32``.
        int4_layers: Nodes whose weights have 4 bits.
        int16_layers: Nodes whose activations have 16 bits.
        float_layers: Nodes that stay float32.
        float_ports: Inputs and outputs are float32.
        model_layout: Inputs and outputs have the model's order of axes.
        tune: Choose kernels by measurement.
        patches: First operators that run in stripes, to need less memory: ``node=stripes``, or
            ``least`` for what needs the least.
        source: Digest of the model as imported; the folder is made a package where it is given,
            which :meth:`Bundles.open` reads.
        configuration: File of a package that says everything but the model and the samples: the
            same sources follow; target, ranges and what is below them do not count then.
    """

    graph: Graph
    ranges: Mapping[str, TensorRange]
    samples: Sequence[Mapping[str, npt.NDArray[Any]]]
    target: str
    folder: Path
    model: str
    name: str | None = None
    precision: str = "int8"
    int4_layers: tuple[str, ...] = ()
    int16_layers: tuple[str, ...] = ()
    float_layers: tuple[str, ...] = ()
    float_ports: bool = False
    model_layout: bool = False
    tune: bool = False
    patches: str = ""
    source: str = ""
    configuration: Path | None = None


@dataclass(frozen=True)
class BundleRung:
    """A default for a model: see :class:`BundleRequest`.

    Attributes:
        name: For people.
    """

    name: str
    precision: str = "int8"
    int16_layers: tuple[str, ...] = ()
    float_layers: tuple[str, ...] = ()
    float_ports: bool = False


@dataclass(frozen=True)
class OperatorCount:
    """One operator of a bundle.

    Attributes:
        name: Of the model's node.
        operator: Its kind.
        instructions: That one run executes; ``None`` where nothing counted.
        latency_ms: Of one run by the clock of this machine; ``None`` where nothing timed it.
        interval_ms: In which its median lies, by 95 %.
    """

    name: str
    operator: str
    instructions: float | None = None
    latency_ms: float | None = None
    interval_ms: tuple[float, float] | None = field(default=None, metadata=_WHERE_TIMED)


@dataclass(frozen=True)
class ArenaUse:
    """A value in the arena.

    Attributes:
        name: Of the model's tensor, or of what an operator needs while it runs.
        offset, size_bytes: Where it lies.
        first, last: Positions of the operators that write it first and use it last.
    """

    name: str
    offset: int
    size_bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class BundleReport:
    """A bundle that was written.

    Attributes:
        name: Of the generated function, without ``_run``.
        target: Name of the target.
        core: Of the target.
        arena_bytes: RAM for activations.
        arena_bound_bytes: No arena of this network in this order is smaller.
        constant_bytes: Constants in flash.
        flash_bytes: Constants and code as compiled for the core; ``None`` without its compiler.
        operators: In the order in which they run.
        port_bytes: RAM for inputs and outputs.
        arena: What lies where in the arena, and when.
        flash_limit_bytes, ram_limit_bytes: What the target has; ``None`` where it sets no limit.
        warnings: What the reader should know.
        latency_us: Of one run of the whole by the clock of this machine, where it was timed.
    """

    name: str
    target: str
    core: str
    arena_bytes: int
    arena_bound_bytes: int
    constant_bytes: int
    flash_bytes: int | None
    operators: tuple[OperatorCount, ...] = ()
    port_bytes: int = 0
    arena: tuple[ArenaUse, ...] = ()
    flash_limit_bytes: int | None = None
    ram_limit_bytes: int | None = None
    warnings: tuple[str, ...] = field(default=())
    latency_us: Interval | None = field(default=None, metadata=_WHERE_TIMED)

    @property
    def ram_peak_bytes(self) -> int:
        """RAM of one run: arena, inputs and outputs."""
        return self.arena_bytes + self.port_bytes


@dataclass(frozen=True)
class DrivenReport:
    """Sources around an NPU that were written.

    Attributes:
        name: Of the generated functions, without ``_load`` and ``_run``.
        arena_bytes: RAM for activations on the processor.
        npu_bytes: Of the memory that the NPU works in, programs and constants included.
        constant_bytes: Constants in flash: of the processor's stages, and what is copied to the
            NPU.
        stages: What happens, in order.
    """

    name: str
    arena_bytes: int
    npu_bytes: int
    constant_bytes: int
    stages: tuple[str, ...]


@dataclass(frozen=True)
class BundleTarget:
    """A target that sources are written for.

    Attributes:
        name: Of the target.
        core: Its processor.
        description: For people.
        clock_hz: Of the core; ``None`` where it is not fixed.
        flash_bytes, ram_bytes: Of the target; ``None`` is as much as is needed.
    """

    name: str
    core: str
    description: str
    clock_hz: float | None
    flash_bytes: int | None
    ram_bytes: int | None


@runtime_checkable
class OpenBundle(Protocol):
    """A package of generated sources that was read back."""

    @property
    def report(self) -> BundleReport:
        """What was said when it was written."""
        ...

    @property
    def graph(self) -> Graph:
        """The float model."""
        ...

    @property
    def model(self) -> tuple[str, str]:
        """Its name and its digest as imported."""
        ...

    def run(
        self, samples: Mapping[str, npt.NDArray[Any]], *, emulated: bool = False
    ) -> dict[str, npt.NDArray[Any]]:
        """What the compiled sources write, one row per run, in the order of memory.

        Args:
            samples: Array per input of the model.
            emulated: On the target's core in an emulator, else on this machine.

        Raises:
            InputError: The samples do not fit the model.
            MissingDependencyError: Compiler or emulator are not installed.
            CheckError: The compiler refuses the sources, or the program ends early.
        """
        ...

    def reference(self, samples: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """What :meth:`run` has to give, bit for bit."""
        ...

    def real(self, name: str, rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Rows of an output as real numbers in the layout of the model."""
        ...

    def with_ranges(self, ranges: Mapping[str, TensorRange]) -> OpenBundle:
        """The same with scales by other statistics of activations: for :meth:`reference` and
        :meth:`real`, for no sources of it are written."""
        ...


@runtime_checkable
class Bundles(Protocol):
    """Models as sources.

    Attributes:
        cpu_kind: ``kind`` of ``[cpu]`` in files of its targets.
        schemas: ``schema`` of files of its targets that have a form of their own.
    """

    @property
    def cpu_kind(self) -> str: ...

    @property
    def schemas(self) -> tuple[str, ...]: ...

    def file(self, target: str) -> Path:
        """The file of a target that comes along."""
        ...

    def targets(self) -> tuple[str, ...]:
        """Names of the targets that come along."""
        ...

    def describe(self, target: str) -> BundleTarget:
        """A target by name or path.

        Raises:
            InputError: There is none, or its file is wrong.
        """
        ...

    def counts(self, core: str) -> bool:
        """Whether an emulator counts the instructions of a core."""
        ...

    def lacks(self, core: str) -> tuple[tuple[str, ...], str]:
        """Commands that build and run sources for a core and are not installed, and how to get
        them; neither where there is nothing to install."""
        ...

    def is_configuration(self, path: Path) -> bool:
        """Whether a file is the configuration of a package of sources."""
        ...

    def is_package(self, folder: Path) -> bool:
        """Whether a folder looks like one that :meth:`open` reads."""
        ...

    def open(self, folder: Path) -> OpenBundle:
        """Reads a package back.

        Raises:
            InputError: It is none, or a file of it is missing or changed.
        """
        ...

    def times_ms(self, report: BundleReport, folder: Path) -> BundleReport:
        """The report with the times of the whole and of every operator on this machine by the
        clock, and with warnings of what speaks against them.

        Raises:
            MissingDependencyError, CheckError: See :meth:`check`.
        """
        ...

    def require(self, graph: Graph, precision: str | None = "int8") -> None:
        """Refuses a model that cannot be written whatever its values are, before anything is spent
        on it.

        Args:
            graph: As sources are written for it.
            precision: ``int8`` or ``float32``; ``None`` where it is not known.

        Raises:
            InputError: Names the operators, or the first node that asks too much of its kernel.
        """
        ...

    def rungs(self, graph: Graph) -> tuple[BundleRung, ...]:
        """Defaults for a model, from the cheapest on; the first is ``int8`` throughout."""
        ...

    def write(self, request: BundleRequest) -> BundleReport:
        """Writes a bundle.

        Raises:
            InputError: The model cannot be written, or the target is none.
            InfeasibleError: It does not fit the target.
        """
        ...

    def check(self, report: BundleReport, folder: Path) -> str:
        """Builds the self test for the target's core and runs it; what it says.

        Raises:
            MissingDependencyError: Compiler or emulator are not installed.
            CheckError: A bit differs.
        """
        ...

    def count(self, report: BundleReport, folder: Path) -> BundleReport:
        """The report with the instructions of every operator, as the emulator executes them.

        Raises:
            InputError: Nothing counts on the target's core.
            MissingDependencyError, CheckError: See :meth:`check`.
        """
        ...


@runtime_checkable
class DrivenBundles(Protocol):
    """Compiled models around NPUs, as sources for the processor that starts them."""

    def drive(
        self,
        model: DrivenModel,
        name: str,
        folder: Path,
        samples: Sequence[Mapping[str, npt.NDArray[Any]]],
        compute: Callable[[str, Mapping[str, npt.NDArray[Any]]], Mapping[str, npt.NDArray[Any]]],
    ) -> DrivenReport:
        """Writes sources, and a self test on a simulator of the NPU.

        Args:
            model: Compiled.
            name: C name; near to it where C does not take it.
            folder: Made where it is absent.
            samples: Of the self test: array per input of the model.
            compute: What a segment of the NPU, by its name, makes of int8 tensors.

        Raises:
            InputError: A part of the model cannot be written as C.
        """
        ...

    def check_driven(self, folder: Path) -> str:
        """Builds the self test for this machine and runs it; what it says.

        Raises:
            MissingDependencyError: There is no C compiler.
            CheckError: A bit differs.
        """
        ...


def driven_bundles() -> DrivenBundles:
    """The kind that writes sources around NPUs.

    Raises:
        InputError: None does.
    """
    for found in bundle_writers():
        if isinstance(found, DrivenBundles):
            return found
    raise InputError("no kind of unit writes sources around an NPU")


def bundle_kinds() -> Iterator[tuple[UnitKind, Bundles]]:
    """Kinds of units that write models as sources; plug-ins that cannot be loaded are left out."""
    for name in unit_kinds():
        try:
            kind = unit_kind(name)
        except InputError:
            continue
        if kind.has(_FACET):
            yield kind, kind.facet(_FACET, Bundles)


def bundle_writers() -> Iterator[Bundles]:
    """How they do it; see :func:`bundle_kinds`."""
    return (writer for _, writer in bundle_kinds())


def bundle_targets() -> tuple[str, ...]:
    """Names of all targets that come along and that sources are written for."""
    return tuple(name for found in bundle_writers() for name in found.targets())


def bundle_file(name: str) -> Path:
    """The file of a target that comes along, one of :func:`bundle_targets`."""
    return next(found.file(name) for found in bundle_writers() if name in found.targets())
