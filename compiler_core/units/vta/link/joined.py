"""The layers of a segment as launches, those that may be joined as one program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from compiler_core.errors import InputError
from compiler_core.units.vta.link.activations import Schedules
from compiler_core.units.vta.link.constant_pool import ConstantPool
from compiler_core.units.vta.link.launch import CoreProgram, VtaLaunch
from compiler_core.units.vta.link.linker import launch_of, link_segment, require_addresses
from compiler_core.units.vta.link.merged_layers import merge_segment
from compiler_core.units.vta.link.placed_tensor import PlacedTensor
from compiler_core.units.vta.link.segment import Layer, SegmentLayers
from compiler_core.units.vta.link.slice_part import SlicePart
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.merge.merge import Entry
from compiler_core.units.vta.merge.run import MergedRun

Borders = Mapping[str, Mapping[str, int] | None]
"""How the layers begin that continue the one before, by name; ``None`` where that is open."""

_MOST_AHEAD = 1 << 16
_NOTHING = np.zeros((0, 16), np.uint8)


def link_joined(
    segment: SegmentLayers,
    schedules: Schedules,
    layout: Mapping[str, PlacedTensor],
    pool: ConstantPool,
    core: VtaCore,
    sliced: Mapping[str, tuple[SlicePart, ...]],
    borders: Borders,
) -> tuple[tuple[VtaLaunch, ...], dict[str, dict[str, int]]]:
    """Lowers every layer; see :func:`~compiler_core.units.vta.link.linker.link_segment`.

    Args:
        segment: Layers and places of tensors.
        schedules: Per task id, for layers that are not sliced.
        layout: Every tensor.
        pool: Takes constants.
        core: The machine.
        sliced: Slices with their schedules by name of the layer.
        borders: Layers that continue the one before.

    Returns:
        The launches, and how each joined layer begins.

    Raises:
        InfeasibleError: A schedule does not fit its layer.
        InputError: A schedule is for another kind of operator, a border is none, or DRAM ends.
    """
    launches: list[VtaLaunch] = []
    found: dict[str, dict[str, int]] = {}
    for run in _runs(segment.layers, borders):
        if len(run) == 1:
            one = replace(segment, layers=run)
            (launch,) = link_segment(one, schedules, layout, pool, core.geometry, sliced)
            launches.append(replace(launch, name=f"launch-{len(launches):03d}"))
            continue
        merged = merge_segment(run, schedules, layout, pool, core, _entries(run, borders))
        require_addresses(segment, pool)
        whole = MergedRun(merged.instructions, merged.layers)
        for part, (layer, entry) in enumerate(zip(run, merged.entries, strict=True)):
            program = CoreProgram(0, _NOTHING if part else merged.instructions)
            launch = launch_of(len(launches), layer, (program,))
            launches.append(replace(launch, run=whole, part=part))
            if part:
                found[layer.operator.name] = _plain(entry)
    return tuple(launches), found


def _runs(layers: Sequence[Layer], borders: Borders) -> list[tuple[Layer, ...]]:
    runs: list[list[Layer]] = []
    for layer in layers:
        if runs and layer.operator.name in borders:
            runs[-1].append(layer)
        else:
            runs.append([layer])
    return [tuple(run) for run in runs]


def _entries(run: Sequence[Layer], borders: Borders) -> list[Entry | None]:
    """How the layers of a run begin, where that is given."""
    given = [(layer.operator.name, borders[layer.operator.name]) for layer in run[1:]]
    later = [None if border is None else _entry(border, name) for name, border in given]
    return [Entry(), *later]


def _plain(entry: Entry) -> dict[str, int]:
    """A border as numbers."""
    return {name: int(value) for name, value in entry._asdict().items()}


def _entry(border: Mapping[str, int], name: str) -> Entry:
    known = {field: int(value) for field, value in Entry()._asdict().items()}
    where = f"how layer {name!r} follows the one before"
    if set(border) != set(known):
        raise InputError(f"{where}: keys {sorted(border)}; {sorted(known)} are needed")
    if not all(0 <= value <= _MOST_AHEAD for value in border.values()):
        raise InputError(f"{where}: {dict(border)}; allowed are 0 to {_MOST_AHEAD}")
    return Entry(border["ahead"], border["early"], bool(border["micro_ops_early"]))
