"""An operator cut over several cores as a workload of its own: what a schedule is searched for."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

from compiler_core.tensor.digest import digest
from compiler_core.tensor.workload import Workload
from compiler_core.units.vta.structure.slicing import (
    Slice,
    SliceAxis,
    out_channels,
    slice_workload,
)


@dataclass(frozen=True)
class SlicedWorkload:
    """One operator over several cores that share a port.

    All slices are scheduled alike: one schedule counts for each of them, as far as a slice is large
    enough for its tiles.

    Attributes:
        whole: The operator.
        cores: At least 2.
        axis: Along which axis of its output it is cut.
    """

    whole: Workload
    cores: int
    axis: SliceAxis

    @property
    def operator(self) -> str:
        """Name of the operator and of the axis."""
        return f"{self.whole.operator}_{self.axis.value}"

    @cached_property
    def digest(self) -> str:
        """Key of the workload."""
        return digest((self.whole, self.cores, self.axis.value))

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all slices."""
        return self.whole.macs

    @property
    def shape(self) -> str:
        """Extents of the whole operator, and the cut."""
        return f"{self.whole.shape} by {self.axis.value} over {self.cores} cores"

    @property
    def slices(self) -> tuple[Slice, ...]:
        """Its parts, in order.

        Raises:
            InfeasibleError: It cannot be cut so.
        """
        return _slices(self)

    @property
    def largest(self) -> Workload:
        """The slice that stands for all: one of the largest, with padding where any has some."""
        return max((part.workload for part in self.slices), key=_extent)

    @property
    def distinct(self) -> tuple[Workload, ...]:
        """Its parts as operators of their own, each once."""
        return tuple(dict.fromkeys(part.workload for part in self.slices))


@lru_cache(maxsize=1024)
def _slices(sliced: SlicedWorkload) -> tuple[Slice, ...]:
    return slice_workload(sliced.whole, sliced.cores, sliced.axis)


def _extent(workload: Workload) -> tuple[int, bool]:
    return out_channels(workload) * workload.out_height, any(workload.window.pads)
