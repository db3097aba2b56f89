"""Targets that are timed by the clock: ``host``, this machine's CPU alone, and boards over ssh."""

from __future__ import annotations

import hashlib
import platform
from dataclasses import replace

from compiler_core.boards.address import SEPARATOR, parse_addresses
from compiler_core.errors import InputError
from compiler_core.targets.target import Target, TargetDescription

HOST = "host"


def host_description(like: TargetDescription) -> TargetDescription:
    """The host; what it never uses, the NPU above all, is that of ``like``.

    Args:
        like: A bundled target.
    """
    machine = platform.machine() or "unknown processor"
    text = "This machine: onnxruntime on one thread, latency by the clock, no NPU"
    return _by_clock(like, HOST, text, f"this machine ({machine})", machine)


def board_description(like: TargetDescription, addresses: str) -> TargetDescription:
    """Boards over ssh, likewise.

    Args:
        like: A bundled target.
        addresses: With commas between.

    Raises:
        InputError: One is none.
    """
    name = SEPARATOR.join(address.text for address in parse_addresses(addresses))
    text = "Boards over ssh: onnxruntime on one thread, latency by the clock, no NPU"
    return _by_clock(like, name, text, "the board's", name, board=name)


def _by_clock(
    like: TargetDescription, name: str, text: str, cpu: str, machine: str, board: str = ""
) -> TargetDescription:
    digest = hashlib.sha256(f"{HOST}\n{machine}".encode()).hexdigest()
    target = replace(
        like.target,
        name=name,
        description=text,
        units=tuple(replace(unit, cores=0) for unit in like.target.units),
        cpu=replace(like.target.cpu, name=cpu),
        launch_overhead_s=0.0,
        digest=digest,
        by_clock=True,
        board=board,
    )
    return TargetDescription(target, (), (name,))


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
