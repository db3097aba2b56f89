"""The facet of kinds whose code is generated sources: a model as a folder for a board."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy.typing as npt

from compiler_core.graph.ir import Graph
from compiler_core.quantize.statistics import TensorRange


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
        float_layers: Nodes that stay float32.
        float_ports: Inputs and outputs are float32.
        model_layout: Inputs and outputs have the model's order of axes.
        tune: Choose kernels by measurement.
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
    float_layers: tuple[str, ...] = ()
    float_ports: bool = False
    model_layout: bool = False
    tune: bool = False


@dataclass(frozen=True)
class OperatorCount:
    """One operator of a bundle.

    Attributes:
        name: Of the model's node.
        operator: Its kind.
        instructions: That one run executes; ``None`` where nothing counted.
    """

    name: str
    operator: str
    instructions: float | None = None


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
        warnings: What the reader should know.
    """

    name: str
    target: str
    core: str
    arena_bytes: int
    arena_bound_bytes: int
    constant_bytes: int
    flash_bytes: int | None
    operators: tuple[OperatorCount, ...] = ()
    warnings: tuple[str, ...] = field(default=())


@runtime_checkable
class Bundles(Protocol):
    """Models as sources."""

    def targets(self) -> tuple[str, ...]:
        """Names of the targets that come along."""
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
