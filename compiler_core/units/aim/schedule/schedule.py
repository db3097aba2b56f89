"""The decisions for one workload."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from compiler_core.tensor.digest import digest as digest_of


class Order(Enum):
    """Nesting of the loops over vectors, passes and chunks of the inputs.

    Outputs are computed in passes, as many at a time as there are banks; inputs in chunks, as many
    as the buffer holds.
    """

    OUTPUT = "output"
    """Every pass goes through all chunks; the buffer is written anew for each."""
    SERPENTINE = "serpentine"
    """The same with every other pass backwards: the chunk in the buffer serves two passes."""
    INPUT = "input"
    """Every chunk goes through all passes; partial sums leave and come back as bfloat16."""
    ROW = "row"
    """All vectors go through an open row before the next one is opened."""


class Start(Enum):
    """What is written first where both have to be."""

    BIAS = "bias"
    BUFFER = "buffer"


class Side(Enum):
    """Who does something that both can do."""

    UNIT = "unit"
    CPU = "cpu"


@dataclass(frozen=True)
class ProductSchedule:
    """How a :class:`~compiler_core.units.aim.schedule.workload.MatrixVector` is computed.

    Attributes:
        groups: Groups of channels that share the inputs of a matrix among them.
        channels: In each group; they share its outputs.
        heads: Matrices that are worked on at a time.
        order: Nesting of the loops.
        packed: Passes that lie side by side in a row, those of the last chunk.
        buffer_cut: Columns that one instruction writes to the buffer, group by group.
        product_cut: Columns that one instruction multiplies.
        start: What is written first.
        reduction: Who adds the sums of groups.
        activation: Who applies activations.
    """

    groups: int
    channels: int
    heads: int = 1
    order: Order = Order.OUTPUT
    packed: int = 1
    buffer_cut: int = 64
    product_cut: int = 64
    start: Start = Start.BIAS
    reduction: Side = Side.UNIT
    activation: Side = Side.CPU

    @property
    def digest(self) -> str:
        """16 hex digits."""
        return digest_of(self)


@dataclass(frozen=True)
class ElementSchedule:
    """How an :class:`~compiler_core.units.aim.schedule.workload.ElementProduct` is computed.

    Attributes:
        channels: That share the elements.
        bank_groups: Of each channel that do; the first one, or all four.
        cut: Columns that one instruction multiplies.
    """

    channels: int
    bank_groups: int = 4
    cut: int = 64

    @property
    def digest(self) -> str:
        """16 hex digits."""
        return digest_of(self)


Schedule = ProductSchedule | ElementSchedule
