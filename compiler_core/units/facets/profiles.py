"""Where the time of a unit goes: the facet ``profiles``. The names of modules, memories and waits
are the kind's own; kinds without the facet have layers alone in profiles and traces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from compiler_core.files.trace import TraceSlice
from compiler_core.units.registry import kind_of_machine
from compiler_core.units.unit import Machine

Spans = Sequence[tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]
"""First and last cycles of a module's work, for each program of a launch."""


@dataclass(frozen=True)
class Roof:
    """What bounds one unit.

    Attributes:
        macs_per_cycle: Of its arithmetic.
        bytes_per_cycle: Of one channel to its memory.
        written: What it writes, of the names under which moved bytes are counted.
        is_duplex: Whether it reads and writes at the same time.
        arithmetic: The module that multiplies, as waits name it.
    """

    macs_per_cycle: float
    bytes_per_cycle: float
    written: tuple[str, ...]
    is_duplex: bool
    arithmetic: str

    def channel_bytes(self, moved: Mapping[str, int]) -> int:
        """Bytes that are moved one after another: on one channel, or the busier of two."""
        whole = sum(moved.values())
        if not self.is_duplex:
            return whole
        written = sum(moved.get(name, 0) for name in self.written)
        return max(whole - written, written)


@dataclass(frozen=True)
class LaunchSlice:
    """A span of a launch's timeline.

    Attributes:
        core: Number of the unit.
        slice: What is shown; its track is one of the kind's.
        group: What it is counted as.
    """

    core: int
    slice: TraceSlice
    group: str


@runtime_checkable
class Profiles(Protocol):
    """What a unit does when."""

    def roof(self, machine: Any) -> Roof:
        """What bounds one unit."""
        ...

    def tracks(self, machine: Any) -> tuple[str, ...]:
        """Names of the tracks of one unit's timeline."""
        ...

    def slices(self, launch: Any, machine: Any) -> Iterator[LaunchSlice]:
        """The timeline of a launch, from its start."""
        ...

    def busy(self, launch: Any, machine: Any) -> Mapping[str, Spans]:
        """When the modules of a unit work, by name of the module, in cycles from the start."""
        ...


def profiles_of(machine: Machine) -> Profiles | None:
    """What a machine's kind knows of its time; ``None`` where it says nothing."""
    kind = kind_of_machine(machine)
    if not kind.has("profiles"):
        return None
    found: Profiles = kind.facet("profiles", Profiles)
    return found
