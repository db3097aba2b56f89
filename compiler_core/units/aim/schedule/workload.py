"""What the unit computes, with all shapes fixed."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from compiler_core.files.plain import ONLY_WHERE_OTHER
from compiler_core.tensor.digest import digest as digest_of
from compiler_core.units.aim.machine.machine import LANES
from compiler_core.units.aim.simulate.activation import Function


class Activation(Enum):
    """What is applied to an output."""

    SIGMOID = "sigmoid"
    TANH = "tanh"
    GELU = "gelu"
    RELU = "relu"
    LEAKY_RELU = "leaky_relu"
    SILU = "silu"

    @property
    def function(self) -> Function:
        """The function of the unit."""
        return Function[self.name]


MOST_PARTS: Final = 8


@dataclass(frozen=True)
class MatrixVector:
    """Products of matrices that lie in the banks with vectors: ``y[h, v] = f(W[h] x[h, v] + b)``.

    A dense layer of few rows has one head. The gates of a recurrent cell are one matrix with an
    activation per part of its outputs. Attention of one token over a key-value cache has a matrix
    per head: keys for the scores, values transposed for the weighted sum.

    Attributes:
        outputs, inputs: Of each matrix.
        vectors: That each matrix is multiplied with.
        heads: Matrices, each with vectors of its own.
        bias: Whether something is added to every output.
        activations: Of equal parts of the outputs; empty for none.
        is_step: Whether it is part of a step of a recurrent cell, whose vectors and results cross
            between unit and CPU in every step.
        adds: Whether the CPU adds a tensor of the model to the results.
        written_outputs, written_inputs: Rows of outputs, or inputs, of every matrix that each run
            writes before it multiplies: what a key-value cache gains; all of them where the whole
            matrix is written. None where it stays as it is.
    """

    outputs: int
    inputs: int
    vectors: int = 1
    heads: int = 1
    bias: bool = False
    activations: tuple[Activation, ...] = ()
    is_step: bool = field(default=False, metadata={ONLY_WHERE_OTHER: True})
    adds: bool = field(default=False, metadata={ONLY_WHERE_OTHER: True})
    written_outputs: int = field(default=0, metadata={ONLY_WHERE_OTHER: True})
    written_inputs: int = field(default=0, metadata={ONLY_WHERE_OTHER: True})

    @property
    def operator(self) -> str:
        """The field's name for it."""
        return "matrix_vector"

    @property
    def digest(self) -> str:
        """16 hex digits."""
        return digest_of(self)

    @property
    def macs(self) -> int:
        """Multiply-accumulates, without padding."""
        return self.outputs * self.inputs * self.vectors * self.heads

    @property
    def shape(self) -> str:
        """Extents in one line."""
        heads = f"{self.heads} of " if self.heads > 1 else ""
        times = f" times {self.vectors}" if self.vectors > 1 else ""
        return f"{heads}{self.outputs}x{self.inputs}{times}"

    @property
    def is_written(self) -> bool:
        """Whether runs write parts of the matrices."""
        return bool(self.written_outputs or self.written_inputs)

    @property
    def columns(self) -> int:
        """Blocks of an input vector."""
        return -(-self.inputs // LANES)

    @property
    def parts(self) -> int:
        """Equal parts of the outputs with an activation each."""
        return max(1, len(self.activations))


@dataclass(frozen=True)
class ElementProduct:
    """Products of two vectors that lie in the banks, element by element.

    Attributes:
        elements: Of each vector.
        crosses: Whether both come from registers and their product goes back there: tensors of a
            model, which are others in each run.
    """

    elements: int
    crosses: bool = field(default=False, metadata={ONLY_WHERE_OTHER: True})

    @property
    def operator(self) -> str:
        """The field's name for it."""
        return "element_product"

    @property
    def digest(self) -> str:
        """16 hex digits."""
        return digest_of(self)

    @property
    def macs(self) -> int:
        """Multiplications."""
        return self.elements

    @property
    def shape(self) -> str:
        """Extents in one line."""
        return f"{self.elements}"

    @property
    def blocks(self) -> int:
        """Blocks of each vector."""
        return -(-self.elements // LANES)


Workload = MatrixVector | ElementProduct
