"""Places what a layer reads whose weights are an activation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from compiler_core.errors import InputError
from compiler_core.quantize.ir import IntegerProduct, IntegerTranspose
from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.link.constant_pool import ConstantPool
from compiler_core.units.vta.link.placed_tensor import PlacedTensor
from compiler_core.units.vta.link.segment import Layer
from compiler_core.units.vta.link.shared_drafts import shared_draft
from compiler_core.units.vta.link.slice_part import SlicePart
from compiler_core.units.vta.lower.draft import Draft
from compiler_core.units.vta.lower.lower_conv import lower_conv
from compiler_core.units.vta.lower.pack import bias_tile, bias_vector, pack_activation, pack_rows
from compiler_core.units.vta.lower.placement import ConvPlacement, Image
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.schedule.schedule import ConvSchedule, has_gemm_bias


def lower_product(
    layer: Layer,
    operator: IntegerProduct | IntegerTranspose,
    part: SlicePart,
    layout: Mapping[str, PlacedTensor],
    pool: ConstantPool,
    g: VtaGeometry,
) -> Draft:
    """As :func:`~compiler_core.units.vta.link.lower_part.lower_part`, of an operator whose weights
    are an activation; a transposition multiplies by the matrix of ones on the diagonal."""
    workload, schedule = layer.workload, part.schedule
    assert isinstance(workload, ConvWorkload)
    assert layer.constants is not None
    if not isinstance(schedule, ConvSchedule):
        raise InputError(
            f"task {layer.task.id}: a {type(schedule).__name__} does not schedule "
            f"{workload.operator}"
        )
    if isinstance(operator, IntegerProduct):
        source, operand = (layout[name] for name in (operator.input, operator.operand))
        image = part.input_image(source, workload, g)
    else:
        operand = layout[operator.input]
        ones = np.tile(np.eye(workload.in_width, dtype=np.int8), (workload.groups, 1))
        image = Image(pool.place(pack_activation(ones[None, :, None])), 0)
    biased, gemm_bias = workload.epilogue.bias_bits > 0, has_gemm_bias(schedule)
    constants, apart = layer.constants, biased and gemm_bias
    placement = ConvPlacement(
        image,
        part.output_image(layout[operator.output], workload, g),
        None,
        weights=pool.place(bias_tile(workload, constants)) if apart else 0,
        bias=pool.place(pack_rows(constants, g.block_out)) if biased and not gemm_bias else 0,
        constant=pool.place(bias_vector()) if apart else 0,
        micro_ops=0,
        operand=Image(operand.address, operand.sample_bytes),
    )
    return shared_draft(lower_conv, workload, schedule, layer.requantization, placement, g)
