"""Random legal schedules."""

from __future__ import annotations

import random

from compiler_core.tensor.workload import ConvWorkload
from compiler_core.units.vta.legality.legality import violations
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.schedule.schedule import (
    BiasVariant,
    ConvSchedule,
    EpilogueGranularity,
    FoldVariant,
    LoopOrder,
    MicroOpLoading,
    TapGrouping,
)
from compiler_core.units.vta.structure.conv_structure import conv_structure


def random_schedule(
    r: random.Random, workload: ConvWorkload, core: VtaCore, fold: FoldVariant | None = None
) -> ConvSchedule | None:
    """Draws until one fits; of a given fold, or of any."""
    structure = conv_structure(workload)
    reduction = 1 if structure.diagonal else structure.reduction
    folds = [FoldVariant.NONE] if not workload.entry else list(FoldVariant)
    for _ in range(300):
        schedule = ConvSchedule(
            r.randint(1, workload.out_height),
            r.randint(1, workload.out_width),
            r.randint(1, structure.run),
            r.randint(1, reduction),
            r.choice(list(LoopOrder)),
            r.randint(1, 3),
            r.randint(1, 3),
            r.randint(1, 3),
            r.choice(list(BiasVariant)),
            r.choice(list(EpilogueGranularity)),
            r.choice(list(MicroOpLoading)),
            r.choice(folds if fold is None else [fold]),
            r.choice(list(TapGrouping)),
        )
        if not violations(workload, schedule, core.geometry):
            return schedule
    return None
