"""Features and bounds of VTA's tilings: the facet
:class:`~cost_models.task_features.TaskFeatures`."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from compiler_core.tensor.workload import ConvWorkload, Workload
from compiler_core.units.vta.machine.hardware import VtaCore
from cost_models.task_features import BoundDepth, Columns, FeatureBatch, Rows
from cost_models.vta.relaxed_walk import bounds_of_any_slots, walked_bounds
from cost_models.vta.schedule_bound import schedule_bounds
from cost_models.vta.tiling import FEATURES, closed_forms, tiling_features

_SLOTS = ("input_slots", "weight_slots", "output_slots", "micro_ops", "taps")
_UNREAD = {
    BoundDepth.CLOSED: ("order", *_SLOTS),
    BoundDepth.ANY: _SLOTS,
    BoundDepth.POINT: (),
}


class VtaFeatures:
    """See :class:`~cost_models.task_features.TaskFeatures`."""

    columns: Columns = FEATURES

    def features(self, workload: Workload, rows: Rows, machine: VtaCore) -> FeatureBatch:
        return tiling_features(workload, rows, machine)

    def estimate(self, workload: Workload, rows: Rows, machine: VtaCore) -> npt.NDArray[np.float64]:
        if isinstance(workload, ConvWorkload):
            return closed_forms(workload, rows, machine)[0]
        return tiling_features(workload, rows, machine).walk_cycles

    def bounds(
        self,
        workload: Workload,
        rows: Rows,
        machine: VtaCore,
        depth: BoundDepth,
        limit: int | None = None,
    ) -> npt.NDArray[np.int64]:
        if depth is BoundDepth.CLOSED:
            return schedule_bounds(workload, rows, machine)
        bounds = bounds_of_any_slots if depth is BoundDepth.ANY else walked_bounds
        return bounds(workload, rows, machine, limit)

    def unread(self, depth: BoundDepth) -> Collection[str]:
        return _UNREAD[depth]


FEATURES_OF_TILINGS = VtaFeatures()
