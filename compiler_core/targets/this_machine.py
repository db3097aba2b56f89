"""The target ``host``: this machine, its CPU alone, and its time by the clock."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import replace

from compiler_core.errors import InputError
from compiler_core.targets.target import Target, TargetDescription

HOST = "host"


def host_description(like: TargetDescription) -> TargetDescription:
    """The host; what it never uses, the NPU above all, is that of ``like``.

    Args:
        like: A bundled target.
    """
    machine = platform.machine() or "unknown processor"
    cpu = replace(like.target.cpu, name=f"this machine ({machine})")
    digest = hashlib.sha256(f"{HOST}\n{machine}".encode()).hexdigest()
    target = replace(
        like.target,
        name=HOST,
        description="This machine: onnxruntime on one thread, latency by the clock, no NPU",
        units=tuple(replace(unit, cores=0) for unit in like.target.units),
        cpu=cpu,
        launch_overhead_s=0.0,
        digest=digest,
        by_clock=True,
    )
    return TargetDescription(target, (), (HOST,))


def require_npu(target: Target) -> Target:
    """The target, if it has an NPU.

    Raises:
        InputError: It has none.
    """
    if target.npu_cores:
        return target
    raise InputError(
        f"target {target.name!r} has no NPU: there are no tasks, schedules or programs",
        hint="compile, run, evaluate, profile, plan and study start measure this machine; "
        "nest-tune target list shows targets with an NPU",
    )
