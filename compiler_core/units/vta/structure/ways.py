# ruff: noqa: ARG002 (protocols have more arguments than each kind reads)
"""Where operators run on VTA cores, and how tensors lie there: the facet
:class:`~compiler_core.units.ways.Ways`."""

from __future__ import annotations

from math import prod

from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.structure.slicing import SliceAxis
from compiler_core.units.vta.structure.vectors import is_usual
from compiler_core.units.ways import ALL_CORES, INT8, TensorForm, Way

FASTEST = "-sliced"
"""Suffix of the way along whichever axis is faster."""

SUFFIX_OF_AXIS = {SliceAxis.CHANNELS: "-channels", SliceAxis.ROWS: "-rows"}


class VtaWays:
    """See :class:`~compiler_core.units.ways.Ways`."""

    def formats(self, machine: VtaCore) -> tuple[str, ...]:
        return (INT8,)

    def ways(self, machine: VtaCore, cores: int) -> tuple[Way, ...]:
        if cores == 1:
            return (Way(),)
        own = machine.geometry
        if not is_usual(own) or own.pitch > 1:  # what counts in vectors, or is apart, is not cut
            single = (Way(str(core), core, is_searched=False) for core in range(cores))
            return (Way(), *single)
        axes = (Way(suffix, ALL_CORES, is_searched=False) for suffix in SUFFIX_OF_AXIS.values())
        single = (Way(str(core), core, is_searched=False) for core in range(cores))
        return (Way(), Way(FASTEST, ALL_CORES), *axes, *single)

    def form(self, shape: tuple[int, ...], number: str, machine: VtaCore) -> TensorForm:
        batch, channels, *image = shape
        lanes = machine.geometry.lanes
        layout = f"{INT8} in blocks of {lanes} channels"
        return TensorForm(layout, batch * -(-channels // lanes) * lanes * prod(image))


WAYS = VtaWays()
