"""From layers and schedules to launches, whose programs hold the rules of the machine.

All segments of a model share one DRAM: their activations take turns (:mod:`.activations`), the
constants of each segment follow. Constants are never written and are shared within a segment where
their bytes are equal.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError, InternalError
from compiler_core.memory.plan import ADDRESS_LIMIT
from compiler_core.units.vta.link.activations import Schedules
from compiler_core.units.vta.link.constant_pool import ConstantPool
from compiler_core.units.vta.link.launch import CoreProgram, VtaLaunch
from compiler_core.units.vta.link.lower_part import lower_part, lowered_in_pool
from compiler_core.units.vta.link.multicore_conflicts import require_independent
from compiler_core.units.vta.link.placed_tensor import PlacedTensor
from compiler_core.units.vta.link.segment import Layer, SegmentLayers
from compiler_core.units.vta.link.slice_part import SlicePart, whole
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.verify import first_error, verify


def link_segment(
    segment: SegmentLayers,
    schedules: Schedules,
    layout: Mapping[str, PlacedTensor],
    pool: ConstantPool,
    g: VtaGeometry,
    sliced: Mapping[str, tuple[SlicePart, ...]] | None = None,
) -> tuple[VtaLaunch, ...]:
    """Lowers every layer; its constants and micro-ops go into ``pool``.

    Args:
        segment: Layers and places of tensors.
        schedules: Per task id, for layers that are not sliced.
        layout: Every tensor.
        pool: Takes constants.
        g: The machine.
        sliced: Slices with their schedules by name of the layer; slice ``k`` is for core ``k``.

    Raises:
        InfeasibleError: A schedule does not fit its layer.
        InputError: A schedule is for another kind of operator, or DRAM ends.
    """
    launches = []
    for number, layer in enumerate(segment.layers):
        parts = (sliced or {}).get(layer.operator.name)
        if parts is None:
            parts = (SlicePart(whole(layer.workload), schedules[layer.task.id]),)
        programs = []
        for core, part in enumerate(parts):
            draft = lower_part(layer, part, layout, pool, g)
            programs.append(CoreProgram(core, lowered_in_pool(draft, pool, g).instructions))
        require_addresses(segment, pool)
        launches.append(launch_of(number, layer, tuple(programs)))
    return tuple(launches)


def launch_of(number: int, layer: Layer, programs: tuple[CoreProgram, ...]) -> VtaLaunch:
    """The launch of a layer of a segment, ``number`` of them before it."""
    operator = layer.operator
    return VtaLaunch(
        f"launch-{number:03d}", operator.name, operator.sources, layer.task.id, programs
    )


def require_addresses(segment: SegmentLayers, pool: ConstantPool) -> None:
    """Refuses constants that lie where no address leads.

    Raises:
        InputError: They do.
    """
    if pool.end > ADDRESS_LIMIT:
        raise InputError(
            f"segment {segment.segment.name!r} needs DRAM up to byte {pool.end}; "
            f"addresses end at {ADDRESS_LIMIT}"
        )


def verify_launches(
    launches: tuple[VtaLaunch, ...], dram: npt.NDArray[np.uint8], g: VtaGeometry
) -> None:
    """Holds every program to the rules of the machine.

    Args:
        launches: The programs.
        dram: ``uint8[bytes]``, the whole memory before the first launch.
        g: The machine.

    Raises:
        InternalError: A program breaks a rule; names layer and finding.
    """
    for launch in launches:
        for program in launch.programs if launch.code else ():
            error = first_error(verify(program.instructions, g, dram))
            if error is not None:
                core = f", core {program.core}" if len(launch.programs) > 1 else ""
                raise InternalError(
                    f"the program of layer {launch.layer!r} ({launch.name}{core}) breaks a rule of "
                    f"the machine: {error}",
                    hint="report it with the model and the configuration",
                )
        if len(launch.programs) > 1:
            require_independent([program.instructions for program in launch.programs], g)
