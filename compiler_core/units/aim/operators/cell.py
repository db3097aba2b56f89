"""What a recurrent cell is: its products of one step, and what the CPU does between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from compiler_core.units.aim.schedule.workload import Activation

Floats: TypeAlias = "npt.NDArray[np.float32]"


@dataclass(frozen=True)
class CellShape:
    """A recurrent node but for its numbers.

    Attributes:
        operator: Which cell.
        steps, batch: Of its sequence.
        inputs, size: Features that enter each step, and that its state has.
        backward: For each direction, whether it begins at the last step.
        after_reset: Whether the reset gate multiplies a product rather than the state.
    """

    operator: str
    steps: int
    batch: int
    inputs: int
    size: int
    backward: tuple[bool, ...]
    after_reset: bool = False


@dataclass(frozen=True, eq=False)
class CellWeights:
    """Numbers of one direction, gate after gate.

    Attributes:
        w, r: ``float32[gates * size, inputs]`` of the input, ``[gates * size, size]`` of the state.
        w_bias, r_bias: ``float32[gates * size]``, added to the products of each.
    """

    w: Floats
    r: Floats
    w_bias: Floats
    r_bias: Floats

    @property
    def whole(self) -> Floats:
        """One matrix over the input followed by the state."""
        return np.concatenate([self.w, self.r], axis=1)

    @property
    def bias(self) -> Floats:
        """Of the whole."""
        return self.w_bias + self.r_bias


Part: TypeAlias = "tuple[str, tuple[Activation, ...], Floats, Floats]"
"""Name of a product, its functions by gate, matrix and bias."""


class StepProducts(Protocol):
    """Computes a product of a step: its number, and what stands side by side in its vectors."""

    def __call__(self, number: int, *parts: Floats) -> Floats: ...


@dataclass(frozen=True)
class Cell:
    """A recurrent operator.

    Attributes:
        operator: Its name in the standard.
        gates: Rows of its matrices, in sizes of its state.
        functions: Of its gates in one direction as a node may name them, those of the standard
            first.
        parts: Products of one step, from shape, weights and functions.
        extents: Outputs and inputs of each of them.
        step: State and cell after a step, ``float32[batch, size]``, from shape, input, state, cell
            and who computes products.
        keeps_cell: Whether it has a cell beside its state.
        resets_after: Whether its reset gate may multiply a product.
    """

    operator: str
    gates: int
    functions: tuple[tuple[Activation, ...], ...]
    parts: Callable[[CellShape, CellWeights, tuple[Activation, ...]], Sequence[Part]]
    extents: Callable[[CellShape], Sequence[tuple[int, int]]]
    step: Callable[[CellShape, Floats, Floats, Floats, StepProducts], tuple[Floats, Floats]]
    keeps_cell: bool = False
    resets_after: bool = False
