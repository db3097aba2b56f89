"""Layers, and parts of layers that are cut, to programs with constants in a pool."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.quantize.ir import IntegerConv, IntegerProduct, IntegerTranspose
from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.link.constant_pool import ConstantPool
from compiler_core.units.vta.link.placed_tensor import PlacedTensor
from compiler_core.units.vta.link.product_layer import lower_product
from compiler_core.units.vta.link.segment import Layer
from compiler_core.units.vta.link.shared_drafts import Lowering, shared_draft
from compiler_core.units.vta.link.slice_part import SlicePart
from compiler_core.units.vta.lower.draft import Draft
from compiler_core.units.vta.lower.emit import LoweredProgram
from compiler_core.units.vta.lower.lower_conv import lower_conv
from compiler_core.units.vta.lower.lower_max_pool import lower_max_pool
from compiler_core.units.vta.lower.lower_resident import lower_resident
from compiler_core.units.vta.lower.pack import bias_vector, pack_rows, pack_weights
from compiler_core.units.vta.lower.pack_vectors import identities, packed_weights, vector_weights
from compiler_core.units.vta.lower.placement import ConvPlacement, MaxPoolPlacement
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.schedule.resident_schedule import ResidentSchedule
from compiler_core.units.vta.schedule.schedule import (
    ConvSchedule,
    MaxPoolSchedule,
    fold_of,
    has_gemm_bias,
)
from compiler_core.units.vta.structure.fold import fold_weight, fold_workload
from compiler_core.units.vta.structure.phases import channel_order


def lower_part(
    layer: Layer,
    part: SlicePart,
    layout: Mapping[str, PlacedTensor],
    pool: ConstantPool,
    g: VtaGeometry,
) -> Draft:
    """Lowers a layer, or a slice of one, with its constants in the pool.

    Args:
        layer: The whole layer.
        part: What is lowered.
        layout: Every tensor.
        pool: Takes constants.
        g: The machine.

    Raises:
        InfeasibleError: The schedule does not fit.
        InputError: The schedule is for another kind of operator.
    """
    operator, workload, schedule = layer.operator, part.piece.workload, part.schedule
    if isinstance(operator, IntegerProduct | IntegerTranspose):
        return lower_product(layer, operator, part, layout, pool, g)
    source = part.input_image(layout[operator.input], layer.workload, g)
    result = part.output_image(layout[operator.output], layer.workload, g)
    if isinstance(workload, ConvWorkload) and isinstance(schedule, ConvSchedule | ResidentSchedule):
        assert isinstance(operator, IntegerConv)
        assert layer.constants is not None
        fold, gemm_bias = fold_of(schedule), has_gemm_bias(schedule)
        folded = fold_workload(workload, fold)
        # What counts in vectors is never cut.
        own: slice | npt.NDArray[np.int64] = slice(None)
        if workload.interleave > 1:
            own = channel_order(workload)
        elif workload.vectors is None:
            own = part.piece.channels
        constants = layer.constants[own]
        kept = fold_weight(operator.weight[own], fold)
        weights: npt.NDArray[np.generic]
        if folded.vectors is None:
            weights = pack_weights(
                folded, kept, constants, operator.residual_shift, gemm_bias=gemm_bias
            )
        else:
            weights = vector_weights(folded, kept, operator.residual_shift, g)
        biased = workload.epilogue.bias_bits > 0
        residual = None
        if operator.residual is not None:
            residual = part.output_image(layout[operator.residual], layer.workload, g)
        shifts = operator.channel_shifts
        placement = ConvPlacement(
            source,
            result,
            residual,
            weights=pool.place(weights),
            bias=pool.place(pack_rows(constants, g.block_out)) if biased and not gemm_bias else 0,
            constant=pool.place(bias_vector()) if biased and gemm_bias else 0,
            micro_ops=0,
            shifts=0 if shifts is None else pool.place(pack_rows(shifts[own], g.block_out)),
        )

        how: Lowering = lower_conv if isinstance(schedule, ConvSchedule) else lower_resident
        return shared_draft(how, workload, schedule, layer.requantization, placement, g)
    if not isinstance(workload, ConvWorkload) and isinstance(schedule, MaxPoolSchedule):
        identity = pool.place(packed_weights(identities(g.block_out), g))
        where = MaxPoolPlacement(source, result, identity, micro_ops=0)
        return shared_draft(lower_max_pool, workload, schedule, layer.requantization, where, g)
    raise InputError(
        f"task {layer.task.id}: a {type(schedule).__name__} does not schedule {workload.operator}"
    )


def lowered_in_pool(draft: Draft, pool: ConstantPool, g: VtaGeometry) -> LoweredProgram:
    """A draft as a program of its own with its micro-ops in the pool."""
    address = pool.place(draft.micro_ops)
    return LoweredProgram(draft, address // g.element_bytes.uop, g.depth.uop)
