"""The tilings of VTA layers as spaces: the facet :class:`~search_spaces.task_space.TaskSpaces`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.vta.machine.hardware import VtaCore, VtaGeometry
from compiler_core.units.vta.schedule.schedule import ConvSchedule, MaxPoolSchedule, Schedule
from compiler_core.units.vta.schedule.schedule_rows import ConvColumn, MaxPoolColumn, Rows
from compiler_core.units.vta.structure.conv_structure import blocks, conv_structure
from compiler_core.units.vta.structure.sliced_workload import SlicedWorkload
from search_spaces.parameter import Parameter
from search_spaces.task_space import Cap, Coarse, Mask, SpaceTables, TaskSpace
from search_spaces.vta._tiling_rules import broken_rules, canonical_rows, rule_names
from search_spaces.vta._tiling_tables import parameters_of

AnyWorkload = Workload | SlicedWorkload

_FREE = ("order", "epilogue", "micro_ops", "taps")
_EXCHANGES = (
    ("tile_height", "tile_width"),
    ("tile_out_blocks", "tile_in_blocks"),
    ("input_slots", "weight_slots"),
    ("input_slots", "output_slots"),
    ("tile_height", "tile_out_blocks"),
    ("tile_height", "tile_in_blocks"),
    ("tile_in_blocks", "input_slots"),
    ("tile_in_blocks", "weight_slots"),
    ("tile_out_blocks", "weight_slots"),
    ("tile_height", "input_slots"),
)
_LEADING = int(ConvColumn.ORDER)
_FIRST_SLOTS = ((0, 0, 0), (1, 1, 0), (1, 1, 1))
"""Indices of input, weight and output slots that a search begins with: 1 or 2 of each."""
_SLOT_AXES = (ConvColumn.INPUT_SLOTS, ConvColumn.WEIGHT_SLOTS, ConvColumn.OUTPUT_SLOTS)


class VtaSpaces:
    """See :class:`~search_spaces.task_space.TaskSpaces`."""

    def tables(self, workload: AnyWorkload, machine: VtaCore) -> SpaceTables:
        return tiling_tables(scheduled(workload), machine.geometry)

    def broken(self, workload: AnyWorkload, rows: Rows, limits: VtaGeometry) -> Mask:
        found = broken_rules(scheduled(workload), rows, limits)
        if isinstance(workload, SlicedWorkload):
            for part in workload.distinct:
                found = found | broken_rules(part, fitted_rows(part, rows), limits)
        return found

    def canonical(self, workload: AnyWorkload, rows: Rows, cap: Cap) -> Rows:
        return canonical_rows(scheduled(workload), rows, cap)

    def schedule(self, workload: AnyWorkload, values: Mapping[str, Any]) -> Schedule:
        is_conv = isinstance(scheduled(workload), ConvWorkload)
        return (ConvSchedule if is_conv else MaxPoolSchedule)(**values)


SPACES = VtaSpaces()


def scheduled(workload: AnyWorkload) -> Workload:
    """The operator whose tilings count: of one that is cut over cores its largest slice."""
    return workload.largest if isinstance(workload, SlicedWorkload) else workload


def fitted_rows(part: Workload, rows: Rows) -> Rows:
    """Schedules with no tile larger than a slice."""
    found = rows.copy(order="K")
    if isinstance(part, ConvWorkload):
        structure = conv_structure(part)
        most: dict[int, int] = {
            ConvColumn.TILE_HEIGHT: part.out_height,
            ConvColumn.TILE_WIDTH: part.out_width,
            ConvColumn.TILE_OUT_BLOCKS: structure.run,
            ConvColumn.TILE_IN_BLOCKS: 1 if structure.diagonal else structure.reduction,
        }
    else:
        most = {
            MaxPoolColumn.TILE_HEIGHT: part.out_height,
            MaxPoolColumn.TILE_WIDTH: part.out_width,
            MaxPoolColumn.TILE_BLOCKS: blocks(part.channels),
        }
    for column, value in most.items():
        found[:, column] = np.minimum(found[:, column], value)
    return found


def tiling_tables(workload: Workload, geometry: VtaGeometry) -> SpaceTables:
    """Parameters and rules of a workload's tilings in such buffers."""
    parameters = parameters_of(workload)
    coarse = _coarse(parameters) if isinstance(workload, ConvWorkload) else None
    free = tuple(parameter.name for parameter in parameters if parameter.name in _FREE)
    rules = rule_names(workload)
    return SpaceTables(parameters, rules, geometry, free, _EXCHANGES, _LEADING, coarse)


def _coarse(parameters: tuple[Parameter, ...]) -> Coarse:
    """All tiles and folds, with few slots."""
    variants = []
    for slots in _FIRST_SLOTS:
        chosen = zip(_SLOT_AXES, slots, strict=True)
        few = {int(axis): min(slot, len(parameters[axis]) - 1) for axis, slot in chosen}
        for order in range(len(parameters[ConvColumn.ORDER])):
            variants.append({int(ConvColumn.ORDER): order, **few})
    return Coarse((*range(_LEADING), int(ConvColumn.FOLD)), tuple(variants))


class TilingSpace(TaskSpace):
    """The tilings of one workload.

    Args:
        workload: What is scheduled.
        geometry: Buffers that a schedule has to fit.
    """

    def __init__(self, workload: Workload, geometry: VtaGeometry) -> None:
        super().__init__(workload, SPACES, tiling_tables(workload, geometry))
