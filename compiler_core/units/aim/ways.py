# ruff: noqa: ARG002 (protocols have more arguments than each kind reads)
"""In which numbers AiM units compute, and how tensors lie there: the facet
:class:`~compiler_core.units.ways.Ways`."""

from __future__ import annotations

from math import prod
from typing import Final

from compiler_core.units.aim.machine.machine import BLOCK_BYTES, LANES, AimMachine
from compiler_core.units.ways import TensorForm, Way

BFLOAT16: Final = "bfloat16"
_LAYOUT = f"{BFLOAT16} in registers of {LANES}"


class AimWays:
    """See :class:`~compiler_core.units.ways.Ways`."""

    def formats(self, machine: AimMachine) -> tuple[str, ...]:
        return (BFLOAT16,)

    def ways(self, machine: AimMachine, cores: int) -> tuple[Way, ...]:
        single = (Way(str(core), core, is_searched=False) for core in range(cores))
        return (Way(), *(single if cores > 1 else ()))

    def form(self, shape: tuple[int, ...], number: str, machine: AimMachine) -> TensorForm:
        """Numbers one after another in general registers: which of them begin a vector, and are
        padded to whole registers, differs from reader to reader and is charged with their programs.
        The host moves a register in a cycle, beside the conversion of its numbers."""
        blocks = -(-prod(shape) // LANES)
        return TensorForm(_LAYOUT, blocks * BLOCK_BYTES, blocks / machine.clock_hz)


WAYS = AimWays()
