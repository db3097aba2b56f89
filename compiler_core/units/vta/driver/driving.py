"""VTA programs started by generated sources: the facet
:class:`~compiler_core.units.facets.driving.Driving`."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files

import numpy as np

from compiler_core.units.facets.driving import DrivenSegment, DrivenTensor
from compiler_core.units.vta.link.npu_segment import NpuSegment
from compiler_core.units.vta.link.placed_tensor import PlacedTensor
from compiler_core.units.vta.link.session import write_activation
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.machine.isa import INSTRUCTION_BYTES

_FOLDER = "compiler_core.units.vta.driver"
_PLANES = 4
"""Bytes of a number of an element."""


class VtaDriving:
    """See :class:`~compiler_core.units.facets.driving.Driving`."""

    def segment(self, segment: NpuSegment, machine: VtaCore) -> DrivenSegment:
        del machine
        names = dict.fromkeys((*segment.inputs, *segment.outputs))
        return DrivenSegment(
            {name: _tensor(segment.layout[name]) for name in names},
            segment.image_address,
            segment.image.tobytes(),
            tuple(
                tuple((p.core, p.instructions.tobytes()) for p in launch.programs)
                for launch in segment.launches
                if launch.code
            ),
        )

    def instruction_bytes(self, machine: VtaCore) -> int:
        del machine
        return INSTRUCTION_BYTES

    def files(self, machine: VtaCore) -> Mapping[str, str]:
        geometry = machine.geometry
        sizes = {
            "UOP_DEPTH": geometry.depth.uop,
            "INP_DEPTH": geometry.depth.inp,
            "WGT_DEPTH": geometry.depth.wgt,
            "ACC_DEPTH": geometry.depth.acc,
            "GROUPS": geometry.block_out // 16,
            "WEIGHT_BITS": geometry.weight_bits,
        }
        defines = "".join(f"#define {name} {size}\n" for name, size in sizes.items())
        found = {}
        for name in ("npu_simulator.c", "npu_registers.c"):
            text = (files(_FOLDER) / name).read_text(encoding="utf-8")
            found[name] = text.replace("/* sizes */\n", defines)
        return found


DRIVING = VtaDriving()


def _tensor(placed: PlacedTensor) -> DrivenTensor:
    """Where elements lie, found by laying out their numbers as the simulator's inputs are."""
    shape = (1, *placed.shape[1:])
    numbers = np.arange(1, int(np.prod(shape)) + 1, dtype=np.int64).reshape(shape)
    end = placed.address + max(placed.sample_bytes, placed.size_bytes) * placed.shape[0]
    total = np.zeros(end, np.int64)
    for plane in range(_PLANES):
        memory = np.zeros(end, np.uint8)
        values = (numbers >> 8 * plane & 255).astype(np.uint8).view(np.int8)
        write_activation(memory, placed, values)
        total += memory.astype(np.int64) << 8 * plane
    return DrivenTensor(placed.address, total[placed.address :][: placed.size_bytes] - 1)
