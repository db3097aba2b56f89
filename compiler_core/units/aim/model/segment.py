"""A part of a model as programs: products, one after another, each with rows of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import ClassVar

import numpy as np
import numpy.typing as npt

from compiler_core.quantize.ir import IntegerOperator
from compiler_core.units.aim.lower.layout import Layout
from compiler_core.units.aim.machine.machine import BLOCK_BYTES, LANES, AimMachine
from compiler_core.units.aim.program.instructions import Program
from compiler_core.units.aim.program.program_file import narrowed
from compiler_core.units.aim.simulate.numbers import Bits


@dataclass(frozen=True, eq=False)
class PlacedProduct:
    """A product of a model and where its matrix lies.

    Attributes:
        name: Of the graph node.
        input, output: Tensors of the model.
        input_shape, output_shape: Of one run.
        layout: Workload, schedule and rows.
        matrix: ``uint16[1, outputs, inputs]``, bfloat16.
        bias: ``uint16[1, outputs]``, likewise; zero where there is none.
    """

    name: str
    input: str
    output: str
    input_shape: tuple[int, ...]
    output_shape: tuple[int, ...]
    layout: Layout
    matrix: Bits
    bias: Bits

    @property
    def constant_bytes(self) -> int:
        """Of the matrix in the banks, padded."""
        w = self.layout.workload
        return w.heads * -(-w.outputs // LANES) * LANES * w.columns * BLOCK_BYTES


@dataclass(frozen=True, eq=False)
class AimLaunch:
    """A product as programs that run one after another.

    Attributes:
        name: ``launch-000`` and so on within the segment.
        layer: Name of the node.
        sources: Names of the nodes that it stands for.
        task: Id of its task.
        layout: Of the product.
        programs: In order; the CPU starts each.
        core: Number of the unit.
    """

    name: str
    layer: str
    sources: tuple[str, ...]
    task: str
    layout: Layout
    programs: tuple[Program, ...]
    core: int = 0

    @property
    def cores(self) -> tuple[int, ...]:
        """The unit, once for each program."""
        return (self.core,) * len(self.programs)

    @cached_property
    def code(self) -> bytes:
        """Bytes of all programs, one after another."""
        return b"".join(narrowed(program.records).tobytes() for program in self.programs)

    @property
    def instruction_count(self) -> int:
        """Of all programs."""
        return sum(len(program) for program in self.programs)

    def on_core(self, core: int) -> AimLaunch:
        """The same on another unit."""
        return replace(self, core=core)


@dataclass(frozen=True, eq=False)
class AimSegment:
    """Products between tensors of a model.

    Attributes:
        name: For people and file names.
        inputs, outputs: Tensors that enter and leave.
        products: In order.
        launches: One for each product.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    products: tuple[PlacedProduct, ...]
    launches: tuple[AimLaunch, ...]
    kind: ClassVar[str] = AimMachine.kind
    operators: ClassVar[tuple[IntegerOperator, ...]] = ()

    @property
    def constants(self) -> bytes:
        """Matrices and biases."""
        return b"".join(p.matrix.tobytes() + p.bias.tobytes() for p in self.products)

    def shape(self, name: str) -> tuple[int, ...]:
        """Of a tensor, in one run."""
        for product in self.products:
            if name == product.input:
                return product.input_shape
            if name == product.output:
                return product.output_shape
        raise KeyError(name)

    def tensor_bytes(self, name: str) -> int:
        """Bytes of a tensor in general registers."""
        *rows, features = self.shape(name)
        return prod(rows) * -(-features // LANES) * BLOCK_BYTES

    def with_launches(self, launches: Sequence[AimLaunch]) -> AimSegment:
        """The same with other launches."""
        return replace(self, launches=tuple(launches))


def host_numbers(
    values: npt.NDArray[np.float32], shape: tuple[int, ...]
) -> npt.NDArray[np.float32]:
    """Vectors of a tensor, ``float32[vectors, 1, inputs]``; its last axis are the inputs."""
    return np.ascontiguousarray(values, np.float32).reshape(-1, 1, shape[-1])
