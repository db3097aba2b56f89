"""What kernels need of the arena while they run."""

from __future__ import annotations

from compiler_core.units.cpu.c.network import Operator, Value
from compiler_core.units.cpu.c.operators.weighted import Convolution, Dense, MatrixProduct
from compiler_core.units.cpu.c.plan.packing import aligned
from compiler_core.units.cpu.c.schedules.products import product_scratch
from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule
from compiler_core.units.cpu.c.schedules.shapes import kernel_weights, patch_bytes


def scratch_bytes(operator: Operator, source: Value, schedule: KernelSchedule) -> int:
    """Bytes of patches of the input, then of weights that a kernel unpacks; of products those of
    gathered columns.

    Args:
        operator: What is computed.
        source: Its first input.
        schedule: Of the operator.
    """
    if isinstance(operator, MatrixProduct):
        return product_scratch(operator, source, schedule)
    patches = patch_bytes(operator, source, schedule)
    if not schedule.unpacked or not isinstance(operator, Convolution | Dense):
        return patches
    return aligned(patches) + aligned(kernel_weights(operator, source, schedule).size)
