"""Tasks: distinct workloads on a distinct kind of processing unit."""

from __future__ import annotations

from dataclasses import dataclass

from compiler_core.tensor.workload import MaxPoolWorkload, Workload


@dataclass(frozen=True)
class Task:
    """What a schedule is searched for.

    Attributes:
        unit: Kind of processing unit.
        workload: What it runs.
    """

    unit: str
    workload: Workload

    @property
    def id(self) -> str:
        """Name of the task: operator and digest of the workload."""
        return f"{self.workload.operator.replace('_', '-')}-{self.workload.digest}"


def shape_text(workload: Workload) -> str:
    """Extents of a workload in one line: input, kernel, strides, output; groups where there are.

    Example: ``1x64x56x56 k3x3 s1x1 -> 64x56x56``.
    """
    window = workload.window
    if isinstance(workload, MaxPoolWorkload):
        channels = result = workload.channels
        groups = 1
    else:
        channels, result = workload.in_channels, workload.out_channels
        groups = workload.groups
    text = f"{workload.batch}x{channels}x{workload.in_height}x{workload.in_width}"
    text += f" k{window.kernel[0]}x{window.kernel[1]} s{window.strides[0]}x{window.strides[1]}"
    if window.dilations != (1, 1):
        text += f" d{window.dilations[0]}x{window.dilations[1]}"
    if groups > 1:
        text += f" g{groups}"
    return f"{text} -> {result}x{workload.out_height}x{workload.out_width}"
