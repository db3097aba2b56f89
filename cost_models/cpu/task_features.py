"""Features and bounds of kernels of generated C: the facet
:class:`~cost_models.task_features.TaskFeatures`. Cycles are instructions."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from compiler_core.units.cpu.c.schedules.estimate import about, blocks_of, least, workload_least
from compiler_core.units.cpu.c.schedules.legality import MEMBERS, units_of
from compiler_core.units.cpu.c.schedules.schedule import KernelUnit
from compiler_core.units.cpu.c.schedules.workload import KernelWorkload
from compiler_core.units.cpu.c.tasks.machine import KernelMachine
from cost_models.task_features import BoundDepth, Columns, FeatureBatch, Rows

COLUMNS_OF_FEATURES: Columns = (
    ("log_least", "ln", "least instructions of the schedule"),
    ("log_about", "ln", "instructions that its loops have, about"),
    ("log_depth", "ln", "products of one sum"),
    ("log_positions", "ln", "pixels of the result"),
    ("log_outputs", "ln", "output channels"),
    ("portable", "flag", "plain loops"),
    ("dsp", "flag", "two products at a time"),
    ("mve", "flag", "vectors"),
    ("outputs", "1", "output channels of a block"),
    ("pixels", "1", "pixels of a block"),
    ("unroll", "1", "groups of products in a turn"),
    ("sums", "1", "sums of a block"),
    ("live", "registers", "what a turn wants to hold"),
    ("padding", "1", "share of the products that fills groups up"),
    ("depthwise", "flag", "channels do not mix"),
    ("wide", "flag", "activations of 16 bits"),
    ("unpacked", "flag", "weights of 4 bits become bytes first"),
)


_UNITS = (KernelUnit.PORTABLE, KernelUnit.DSP, KernelUnit.MVE)
"""Units with a flag each; of CMSIS-NN none is set."""


class KernelFeatures:
    """See :class:`~cost_models.task_features.TaskFeatures`."""

    columns: Columns = COLUMNS_OF_FEATURES

    def features(
        self, workload: KernelWorkload, rows: Rows, machine: KernelMachine
    ) -> FeatureBatch:
        estimate = about(workload, rows)
        blocks = blocks_of(workload, rows)
        unit, outputs, pixels, unroll, unpacked = rows.T
        values = [
            np.log(np.maximum(least(workload, rows, has_vectors(machine)), 1)),
            np.log(estimate),
            *(np.log(x) for x in (workload.depth, workload.positions, workload.outputs)),
            *(unit == MEMBERS.index(own) for own in _UNITS),
            outputs,
            pixels,
            unroll,
            outputs * pixels,
            blocks.live,
            blocks.padding,
            workload.depthwise,
            workload.numbers.activation_bits == 16,
            unpacked,
        ]
        batch = np.stack(np.broadcast_arrays(*values), axis=1).astype(np.float32)
        return FeatureBatch(batch, workload_least(workload, has_vectors(machine)), estimate)

    def estimate(
        self, workload: KernelWorkload, rows: Rows, machine: KernelMachine
    ) -> npt.NDArray[np.float64]:
        del machine
        return about(workload, rows)

    def bounds(
        self,
        workload: KernelWorkload,
        rows: Rows,
        machine: KernelMachine,
        depth: BoundDepth,
        limit: int | None = None,
    ) -> npt.NDArray[np.int64]:
        del limit
        lowest = workload_least(workload, has_vectors(machine))
        if depth is BoundDepth.CLOSED:
            return np.full(len(rows), lowest, np.int64)
        return np.maximum(least(workload, rows, has_vectors(machine)), lowest)

    def unread(self, depth: BoundDepth) -> Collection[str]:
        if depth is BoundDepth.CLOSED:
            return ("unit", "outputs", "pixels", "unroll", "unpacked")
        return ("unpacked",)


FEATURES = KernelFeatures()


def has_vectors(machine: KernelMachine) -> bool:
    """Whether a core has vectors, which compilers use in plain loops, too."""
    return KernelUnit.MVE in units_of(machine.core)
