"""Schedules as rows of integers: how search spaces hand many of them to cost models at once.

A column is a field of the schedule; an enum is the position of its member.
"""

from __future__ import annotations

from enum import Enum, IntEnum
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.vta.schedule.resident_schedule import ResidentSchedule
from compiler_core.units.vta.schedule.schedule import (
    BiasVariant,
    ConvSchedule,
    EpilogueGranularity,
    FoldVariant,
    LoopOrder,
    MicroOpLoading,
    Schedule,
    TapGrouping,
)

Rows = npt.NDArray[np.int64]


class ConvColumn(IntEnum):
    """Columns of a row of a :class:`ConvSchedule`, in the order of its fields."""

    TILE_HEIGHT = 0
    TILE_WIDTH = 1
    TILE_OUT_BLOCKS = 2
    TILE_IN_BLOCKS = 3
    ORDER = 4
    INPUT_SLOTS = 5
    WEIGHT_SLOTS = 6
    OUTPUT_SLOTS = 7
    BIAS = 8
    EPILOGUE = 9
    MICRO_OPS = 10
    FOLD = 11
    TAPS = 12


class MaxPoolColumn(IntEnum):
    """Columns of a row of a :class:`MaxPoolSchedule`, in the order of its fields."""

    TILE_HEIGHT = 0
    TILE_WIDTH = 1
    TILE_BLOCKS = 2
    INPUT_SLOTS = 3
    OUTPUT_SLOTS = 4
    MICRO_OPS = 5


CONV_ENUMS: dict[str, type[Enum]] = {
    "order": LoopOrder,
    "bias": BiasVariant,
    "epilogue": EpilogueGranularity,
    "micro_ops": MicroOpLoading,
    "fold": FoldVariant,
    "taps": TapGrouping,
}
"""Type of each field that is no number; those of pools are among them."""


@lru_cache(maxsize=16)
def _members(kind: type[Enum]) -> tuple[Enum, ...]:
    return tuple(kind)


def position(member: Enum) -> int:
    """Position of an enum member in its definition: its number in a row."""
    return _members(type(member)).index(member)


def columns_of(workload: Workload) -> tuple[str, ...]:
    """Names of the columns for schedules of a workload."""
    kind = ConvColumn if isinstance(workload, ConvWorkload) else MaxPoolColumn
    return tuple(column.name.lower() for column in kind)


def to_row(schedule: Schedule) -> tuple[int, ...]:
    """A schedule as integers.

    Raises:
        TypeError: Its program is spelled out, which no row holds.
    """
    if isinstance(schedule, ResidentSchedule):
        raise TypeError(f"a {type(schedule).__name__} has no row of integers")
    kind = ConvColumn if isinstance(schedule, ConvSchedule) else MaxPoolColumn
    values = (getattr(schedule, column.name.lower()) for column in kind)
    return tuple(position(value) if isinstance(value, Enum) else int(value) for value in values)


def to_rows(schedules: list[Schedule]) -> Rows:
    """Schedules of one workload as ``int64[n, columns]``."""
    return np.array([to_row(schedule) for schedule in schedules], np.int64)
