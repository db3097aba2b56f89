"""Which values each decision of a schedule may take."""

from __future__ import annotations

from compiler_core.tensor.workload import ConvWorkload, MaxPoolWorkload, Workload
from compiler_core.units.vta.legality.default_schedule import divisors, even_tiles
from compiler_core.units.vta.schedule.schedule import (
    BiasVariant,
    EpilogueGranularity,
    FoldVariant,
    LoopOrder,
    MicroOpLoading,
    TapGrouping,
)
from compiler_core.units.vta.structure.conv_structure import blocks, conv_structure
from compiler_core.units.vta.structure.fold import fold_workload, foldable
from search_spaces.parameter import Parameter

SHORT_AXIS = 16
"""Longest axis of which all tile sizes are offered; of longer ones those that cut it evenly."""

_OPERAND_SLOTS = (1, 2, 3, 4, 6, 8, 16, 32)
_OUTPUT_SLOTS = (1, 2, 3, 4)


def tile_sizes(extent: int) -> tuple[int, ...]:
    """Sizes that an axis of this extent may be cut into."""
    if extent <= SHORT_AXIS:
        return tuple(range(1, extent + 1))
    return tuple(even_tiles(extent))


def parameters_of(workload: Workload) -> tuple[Parameter, ...]:
    """Parameters of a workload's schedules, in the order of the schedule's fields."""
    if isinstance(workload, MaxPoolWorkload):
        return _max_pool(workload)
    return _conv(workload)


def _max_pool(w: MaxPoolWorkload) -> tuple[Parameter, ...]:
    return (
        Parameter("tile_height", tile_sizes(w.out_height)),
        Parameter("tile_width", tile_sizes(w.out_width)),
        Parameter("tile_blocks", tile_sizes(blocks(w.channels))),
        Parameter("input_slots", _OPERAND_SLOTS),
        Parameter("output_slots", _OUTPUT_SLOTS),
        Parameter("micro_ops", tuple(MicroOpLoading), ordered=False),
    )


def _conv(w: ConvWorkload) -> tuple[Parameter, ...]:
    structure = conv_structure(w)
    folds = tuple(FoldVariant) if foldable(w) else (FoldVariant.NONE,)
    reductions = [conv_structure(fold_workload(w, fold)).reduction for fold in folds]
    reduction = 1 if structure.diagonal and len(folds) == 1 else max(reductions)
    recurs = structure.run < structure.out_blocks
    out_blocks = tuple(divisors(structure.run)) if recurs else tile_sizes(structure.run)
    if w.interleave > 1:  # blocks that lie side by side stay together
        out_blocks = tuple(w.interleave * n for n in tile_sizes(structure.run // w.interleave))
    biases = tuple(BiasVariant) if w.epilogue.bias_bits else (BiasVariant.GEMM,)
    padded = any(w.window.pads)
    return (
        Parameter("tile_height", tile_sizes(w.out_height)),
        Parameter("tile_width", tile_sizes(w.out_width)),
        Parameter("tile_out_blocks", out_blocks),
        Parameter("tile_in_blocks", tile_sizes(reduction)),
        Parameter("order", tuple(LoopOrder), ordered=False),
        Parameter("input_slots", _OPERAND_SLOTS),
        Parameter("weight_slots", (1,) if w.uniform else _OPERAND_SLOTS),
        Parameter("output_slots", _OUTPUT_SLOTS),
        Parameter("bias", biases, ordered=False),
        Parameter("epilogue", tuple(EpilogueGranularity), ordered=False),
        Parameter("micro_ops", tuple(MicroOpLoading), ordered=False),
        Parameter("fold", folds, ordered=False),
        Parameter("taps", tuple(TapGrouping) if padded else (TapGrouping.RECTANGLES,), False),
    )
