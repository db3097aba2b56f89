"""Features and bounds of VTA's tilings: the facet
:class:`~cost_models.task_features.TaskFeatures`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.structure.sliced_workload import SlicedWorkload
from cost_models.task_features import BoundDepth, Columns, FeatureBatch, Rows
from cost_models.vta.relaxed_walk import bounds_of_any_slots, walked_bounds
from cost_models.vta.schedule_bound import schedule_bounds
from cost_models.vta.tiling import FEATURES, closed_forms, tiling_features

AnyWorkload = Workload | SlicedWorkload

_SLOTS = ("input_slots", "weight_slots", "output_slots", "micro_ops", "taps")
_UNREAD = {
    BoundDepth.CLOSED: ("order", *_SLOTS),
    BoundDepth.ANY: _SLOTS,
    BoundDepth.POINT: (),
}


class VtaFeatures:
    """See :class:`~cost_models.task_features.TaskFeatures`."""

    columns: Columns = FEATURES

    def features(self, workload: AnyWorkload, rows: Rows, machine: VtaCore) -> FeatureBatch:
        part, core = _slice_of(workload, machine)
        return tiling_features(part, rows, core)

    def estimate(
        self, workload: AnyWorkload, rows: Rows, machine: VtaCore
    ) -> npt.NDArray[np.float64]:
        part, core = _slice_of(workload, machine)
        if isinstance(part, ConvWorkload):
            return closed_forms(part, rows, core)[0]
        return tiling_features(part, rows, core).walk_cycles

    def bounds(
        self,
        workload: AnyWorkload,
        rows: Rows,
        machine: VtaCore,
        depth: BoundDepth,
        limit: int | None = None,
    ) -> npt.NDArray[np.int64]:
        if isinstance(workload, SlicedWorkload):  # the others may end before it
            workload = workload.largest
        if depth is BoundDepth.CLOSED:
            return schedule_bounds(workload, rows, machine)
        bounds = bounds_of_any_slots if depth is BoundDepth.ANY else walked_bounds
        return bounds(workload, rows, machine, limit)

    def unread(self, depth: BoundDepth) -> Collection[str]:
        return _UNREAD[depth]


def _slice_of(workload: AnyWorkload, machine: VtaCore) -> tuple[Workload, VtaCore]:
    """What stands for a workload: of one that is cut over cores its largest slice, on a core with
    its share of the port."""
    if not isinstance(workload, SlicedWorkload):
        return workload, machine
    share = max(1, machine.timing.port_bytes // workload.cores)
    return workload.largest, replace(machine, timing=replace(machine.timing, port_bytes=share))


FEATURES_OF_TILINGS = VtaFeatures()
