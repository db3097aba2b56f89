"""A part of a model as programs: operators, one after another; each product has its own rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import ClassVar

from compiler_core.quantize.ir import IntegerOperator
from compiler_core.units.aim.lower.elements import ElementLaunch
from compiler_core.units.aim.lower.layout import BankLayout
from compiler_core.units.aim.lower.programs import Located
from compiler_core.units.aim.machine.machine import BLOCK_BYTES, LANES, AimMachine
from compiler_core.units.aim.model.work import Floats, Multiply, Work
from compiler_core.units.aim.program.instructions import Program
from compiler_core.units.aim.program.program_file import narrowed
from compiler_core.units.aim.simulate.numbers import Bits


@dataclass(frozen=True, eq=False)
class PlacedProduct:
    """A product of a model and where its matrix lies.

    Attributes:
        name: Of the graph node, and which of its products it is.
        layout: Workload, schedule and rows.
        matrix: ``uint16[heads, outputs, inputs]``, bfloat16; zero where runs write it.
        bias: ``uint16[heads, outputs]``, likewise; zero where there is none.
    """

    name: str
    layout: BankLayout
    matrix: Bits
    bias: Bits

    @property
    def stored(self) -> bytes:
        """What a package holds of it: matrix and bias; nothing where runs write the matrix."""
        is_written = self.layout.workload.is_written
        return b"" if is_written else self.matrix.tobytes() + self.bias.tobytes()

    @property
    def constant_bytes(self) -> int:
        """Of the matrix in the banks, padded."""
        w = self.layout.workload
        return w.heads * -(-w.outputs // LANES) * LANES * w.columns * BLOCK_BYTES


@dataclass(frozen=True, eq=False)
class PlacedElements:
    """A product of two tensors of a model, element by element, and where it is computed.

    Attributes:
        name: Of the graph node.
        layout: Workload, schedule and rows.
    """

    name: str
    layout: ElementLaunch
    stored: ClassVar[bytes] = b""

    @property
    def constant_bytes(self) -> int:
        """Of its rows in the banks."""
        return 3 * self.layout.workload.blocks * BLOCK_BYTES


Placed = PlacedProduct | PlacedElements
"""What lies in the banks."""


@dataclass(frozen=True, eq=False)
class AimLaunch:
    """A product as programs that run one after another.

    Attributes:
        name: ``launch-000`` and so on within the segment.
        layer: Name of the operator: the node, and which launch of it this is.
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
    layout: Located
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
    def own_code(self) -> bytes:
        """The same: no other launch continues it."""
        return self.code

    @property
    def instruction_count(self) -> int:
        """Of all programs."""
        return sum(len(program) for program in self.programs)

    def on_core(self, core: int) -> AimLaunch:
        """The same on another unit."""
        return replace(self, core=core)


@dataclass(frozen=True, eq=False)
class AimSegment:
    """Operators between tensors of a model.

    Attributes:
        name: For people and file names.
        inputs, outputs: Tensors that enter and leave.
        products: What lies in the banks, in the order of their rows.
        work: Operators, in order.
        launches: One for each product of each step.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    products: tuple[Placed, ...]
    work: tuple[Work, ...]
    launches: tuple[AimLaunch, ...]
    kind: ClassVar[str] = AimMachine.kind
    operators: ClassVar[tuple[IntegerOperator, ...]] = ()

    @property
    def constants(self) -> bytes:
        """Matrices and biases."""
        return b"".join(product.stored for product in self.products)

    def tensor_bytes(self, name: str) -> int:
        """Bytes of a tensor in general registers."""
        shape = next(own.shapes[name] for own in self.work if name in own.shapes)
        return prod(shape[:-1]) * -(-shape[-1] // LANES) * BLOCK_BYTES

    def with_launches(self, launches: Sequence[AimLaunch]) -> AimSegment:
        """The same with other launches."""
        return replace(self, launches=tuple(launches))


def computed(
    work: Sequence[Work], inputs: Mapping[str, Floats], multiply: Multiply
) -> dict[str, Floats]:
    """Every tensor of a run, by name."""
    held = dict(inputs)
    for own in work:
        held |= own.run(held, multiply)
    return held
