"""The lower bound of a workload's cycles on one core, and the parts it is the maximum of.

``bound = max(compute, reads, writes)``: compute counts the GEMM micro-ops whose input vector is not
wholly padding and the ALU passes that the requantization cannot do without; reads the beats of
every distinct input, weight and bias byte once; writes the STORE cycles of the outputs. No bias,
reset, fetch, latency or prologue is in it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from compiler_core.tensor.workload import ConvWorkload, MaxPoolWorkload, Window, Workload
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.schedule import FoldVariant
from compiler_core.units.vta.structure.conv_structure import BLOCK, blocks, conv_structure
from compiler_core.units.vta.structure.fold import fold_workload, foldable
from compiler_core.units.vta.structure.tiles import axis_tiles

_BIAS_BYTES = 4


@dataclass(frozen=True)
class Bound:
    """Parts of the bound in cycles.

    Attributes:
        compute: GEMM and ALU micro-ops at one per cycle or their target's rate.
        reads: Beats of distinct operands.
        writes: STORE cycles of the outputs.
    """

    compute: int
    reads: int
    writes: int

    @property
    def cycles(self) -> int:
        """The bound itself."""
        return max(self.compute, self.reads, self.writes)

    @property
    def limited_by(self) -> str:
        """Which part is the largest."""
        parts = {"compute": self.compute, "reads": self.reads, "writes": self.writes}
        return max(parts, key=lambda name: parts[name])


def valid_taps(window: Window, size: tuple[int, int]) -> int:
    """(Output point, kernel tap) pairs whose input is not padding."""
    outputs = window.output_size(*size)
    product = 1
    for axis in (0, 1):
        (tile,) = axis_tiles(window, axis, size[axis], outputs[axis], outputs[axis])
        product *= sum(span.extent * span.taps for span in tile.spans)
    return product


@lru_cache(maxsize=4096)
def lower_bound(workload: Workload, core: VtaCore) -> Bound:
    """Computes the bound of a workload on one core; of the best fold where taps may be folded."""
    if isinstance(workload, ConvWorkload) and foldable(workload):
        folded = (direct_bound(fold_workload(workload, fold), core) for fold in FoldVariant)
        return min(folded, key=lambda bound: bound.cycles)
    return direct_bound(workload, core)


def direct_bound(workload: Workload, core: VtaCore) -> Bound:
    """The bound of a workload whose taps stay where they are."""
    costs, width = core.timing.costs, core.timing.element_bytes
    port = core.timing.port_bytes
    points = workload.batch * workload.out_height * workload.out_width
    taps = workload.batch * valid_taps(workload.window, (workload.in_height, workload.in_width))
    if isinstance(workload, ConvWorkload):
        structure = conv_structure(workload)
        vectors = points * structure.out_blocks
        pairs = sum(high - low for low, high in structure.ranges)
        compute = taps * pairs * costs.gemm.per_micro_op
        compute += vectors * workload.epilogue.passes * costs.alu_immediate.per_micro_op
        if workload.epilogue.channel_shift:
            compute += vectors * costs.alu_tensor.per_micro_op
        if workload.uniform:
            weight_bytes = BLOCK
        else:
            weight_bytes = workload.out_channels * workload.in_channels // workload.groups
            weight_bytes *= structure.taps
        if workload.operand:
            weight_bytes *= workload.batch
        elif workload.epilogue.bias_bits and not workload.uniform:
            weight_bytes += workload.out_channels * _BIAS_BYTES
        if workload.vectors is not None:  # extents count whole vectors, and so do weights
            weight_bytes = pairs * structure.taps * width.wgt
            weight_bytes += structure.out_blocks * width.acc if workload.epilogue.bias_bits else 0
        in_blocks = structure.in_blocks
        residual = vectors * width.out if workload.epilogue.residual_bits is not None else 0
        if workload.spread is not None:
            rows, columns = workload.spread.size(workload.out_height, workload.out_width)
            each = 1 if workload.spread.channels else structure.out_blocks
            residual = workload.batch * rows * columns * each * width.out
    else:
        assert isinstance(workload, MaxPoolWorkload)
        in_blocks = blocks(workload.channels)
        vectors = points * in_blocks
        comparisons = max(0, taps * in_blocks - vectors)
        passes = workload.clip_low + workload.clip_high
        compute = comparisons * costs.alu_tensor.per_micro_op
        compute += vectors * passes * costs.alu_immediate.per_micro_op
        weight_bytes = residual = 0
    pixels = _touched(workload)
    if isinstance(workload, MaxPoolWorkload):
        pixels *= workload.halves
    read_bytes = workload.batch * in_blocks * pixels * width.inp + weight_bytes + residual
    out_beats = -(-width.out // port)
    return Bound(compute, -(-read_bytes // port), vectors * (out_beats + 1))


def _touched(workload: Workload) -> int:
    """Input pixels that at least one window reads."""
    size = (workload.in_height, workload.in_width)
    outputs = workload.window.output_size(*size)
    product = 1
    for axis in (0, 1):
        (tile,) = axis_tiles(workload.window, axis, size[axis], outputs[axis], outputs[axis])
        stride, dilation = workload.window.strides[axis], workload.window.dilations[axis]
        pad = workload.window.pads[axis]
        product *= len(
            {
                output * stride + tap * dilation - pad
                for span in tile.spans
                for output in range(span.start, span.start + span.extent)
                for tap in range(span.tap, span.tap + span.taps)
            }
        )
    return product
