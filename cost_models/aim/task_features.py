"""Features and bounds of schedules: the facet
:class:`~cost_models.task_features.TaskFeatures`."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from compiler_core.units.aim.machine.machine import COLUMNS, AimMachine
from compiler_core.units.aim.schedule.bound import bound_of, element_bound, workload_bound
from compiler_core.units.aim.schedule.mapping import Mapping, mapping_of
from compiler_core.units.aim.schedule.schedule import Order
from compiler_core.units.aim.schedule.workload import ElementProduct, MatrixVector, Workload
from cost_models.task_features import BoundDepth, Columns, FeatureBatch, Rows

COLUMNS_OF_FEATURES: Columns = (
    ("log_bound", "ln", "least cycles of the schedule"),
    ("log_opened", "ln", "rows that are opened"),
    ("log_products", "ln", "columns that are multiplied"),
    ("log_sums", "ln", "times that accumulators are taken"),
    ("log_buffered", "ln", "columns that are written to each buffer"),
    ("log_rewrites", "ln", "times that the buffer alone is written"),
    ("stall_share", "1", "share of the cycles that groups wait for one another's buffers"),
    ("groups", "1", "groups of channels over the inputs"),
    ("used", "1", "channels in use"),
    ("fill", "1", "share of the last rows that weights fill"),
    ("order_output", "flag", "the buffer is written anew for each pass"),
    ("order_serpentine", "flag", "every other pass goes backwards"),
    ("order_input", "flag", "sums leave with each chunk"),
    ("order_row", "flag", "all vectors go through an open row"),
    ("buffer_cut", "columns", "columns that one instruction writes"),
    ("product_cut", "columns", "columns that one instruction multiplies"),
    ("start", "flag", "the buffer is written before the biases"),
    ("reduction", "flag", "the CPU adds sums of groups"),
    ("activation", "flag", "the CPU applies activations"),
)
_FREE = ("buffer_cut", "product_cut", "start", "reduction")


class AimFeatures:
    """See :class:`~cost_models.task_features.TaskFeatures`."""

    columns: Columns = COLUMNS_OF_FEATURES

    def features(self, workload: Workload, rows: Rows, machine: AimMachine) -> FeatureBatch:
        estimate = self.estimate(workload, rows, machine)
        least = workload_bound(workload, machine).cycles
        if isinstance(workload, ElementProduct):
            return FeatureBatch(_of_elements(workload, rows, machine), least, estimate)
        return FeatureBatch(_of_products(workload, rows, machine), least, estimate)

    def estimate(
        self, workload: Workload, rows: Rows, machine: AimMachine
    ) -> npt.NDArray[np.float64]:
        bounds = self.bounds(workload, rows, machine, BoundDepth.POINT).astype(np.float64)
        if isinstance(workload, ElementProduct):
            return bounds
        m = _mapping(workload, rows)
        by_hand = np.where(rows[:, 9] == 0, np.minimum(16, rows[:, 0] - 1), 0)
        pieces = -(-m.width // np.maximum(1, rows[:, 7]))
        return np.asarray(
            bounds + _stalls(m, rows, machine) + 3 * rows[:, 8] + by_hand + pieces / 64
        )

    def bounds(
        self,
        workload: Workload,
        rows: Rows,
        machine: AimMachine,
        depth: BoundDepth,
        limit: int | None = None,
    ) -> npt.NDArray[np.int64]:
        del depth, limit  # the closed form is near enough
        if isinstance(workload, ElementProduct):
            columns, held = _element_extents(workload, rows)
            return np.asarray(element_bound(held, columns, machine), np.int64)
        return np.asarray(bound_of(_mapping(workload, rows), machine), np.int64)

    def unread(self, depth: BoundDepth) -> Collection[str]:
        del depth
        return (*_FREE, "cut")


FEATURES = AimFeatures()


def _mapping(w: MatrixVector, rows: Rows) -> Mapping:
    groups, channels, heads, order, packed, activation = rows[:, :6].T
    return mapping_of(w, groups, channels, heads, order, packed, activation)


def _stalls(m: Mapping, rows: Rows, machine: AimMachine) -> npt.NDArray[np.float64]:
    """Cycles that groups wait because an instruction leaves the host only when the queue of its
    channels has room for all of it."""
    queue, each = machine.timing.queue_capacity, machine.timing.n_ccds
    written = np.minimum(rows[:, 6], np.where(m.chunks > 1, COLUMNS, m.last))
    others = np.maximum(0, rows[:, 0] * rows[:, 2] - 1)
    pieces = m.buffered / np.maximum(1, np.minimum(COLUMNS, m.width))
    return np.asarray(others * each * np.maximum(0, written - queue) * pieces, np.float64)


def _of_products(w: MatrixVector, rows: Rows, machine: AimMachine) -> npt.NDArray[np.float32]:
    m = _mapping(w, rows)
    bound = bound_of(m, machine).astype(np.float64)
    stalls = _stalls(m, rows, machine)
    flags = [rows[:, 3] == number for number in range(len(Order))]
    columns = [
        np.log(np.maximum(bound, 1)),
        *(np.log1p(x) for x in (m.opened, m.products, m.sums, m.buffered, m.rewrites)),
        stalls / np.maximum(bound, 1),
        rows[:, 0],
        m.used,
        m.last * m.copies / COLUMNS,
        *flags,
        *(rows[:, place] for place in (6, 7, 8, 9, 5)),
    ]
    return np.stack(np.broadcast_arrays(*columns), axis=1).astype(np.float32)


def _element_extents(
    w: ElementProduct, rows: Rows
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    columns = -(-w.blocks // (rows[:, 0] * rows[:, 1]))
    return columns, -(-columns // COLUMNS)


def _of_elements(w: ElementProduct, rows: Rows, machine: AimMachine) -> npt.NDArray[np.float32]:
    columns, held = _element_extents(w, rows)
    values = np.full((len(rows), len(COLUMNS_OF_FEATURES)), np.nan)
    values[:, 0] = np.log(np.maximum(element_bound(held, columns, machine), 1))
    values[:, 1], values[:, 2] = np.log1p(held), np.log1p(columns)
    values[:, 8], values[:, 15] = rows[:, 0], rows[:, 2]
    return values.astype(np.float32)
