"""Targets as plain values, as packages hold them.

A target of one unit that bears the name of its kind and works in the main memory, as all once were,
keeps the form that it had then: ``npu`` and ``npu_cores`` instead of ``units`` and ``memories``.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from compiler_core.files.plain import ONLY_WHERE_OTHER, PlainReader, from_plain, to_plain
from compiler_core.targets.target import (
    MAIN_MEMORY,
    Access,
    Cpu,
    CpuTable,
    Memory,
    Target,
    Unit,
)
from compiler_core.units.registry import read_machine

_PLAIN_MEMORIES = (Memory(MAIN_MEMORY),)


@dataclass(frozen=True)
class _OneUnit:
    name: str
    description: str
    npu: Annotated[Any, PlainReader(read_machine)]
    npu_cores: int
    cpu: Cpu
    launch_overhead_s: float
    digest: str
    by_clock: bool = False
    board: str = field(default="", metadata={ONLY_WHERE_OTHER: True})
    cpu_table: CpuTable | None = None


def is_plain_unit(target: Target) -> bool:
    """Whether a target is one unit named after its kind beside a CPU, in one memory."""
    first = target.units[0]
    return (
        len(target.units) == 1
        and first == Unit(first.kind, first.machine, first.cores, MAIN_MEMORY, Access.SHARED)
        and target.memories == _PLAIN_MEMORIES
        and target.cpu_memory == MAIN_MEMORY
    )


def target_document(target: Target) -> dict[str, Any]:
    """The plain form of a target."""
    if not is_plain_unit(target):
        found: dict[str, Any] = to_plain(target)
        return found
    old = _OneUnit(
        target.name,
        target.description,
        target.npu,
        target.npu_cores,
        target.cpu,
        target.launch_overhead_s,
        target.digest,
        target.by_clock,
        target.board,
        target.cpu_table,
    )
    plain: dict[str, Any] = to_plain(old)
    return plain


def read_target(value: Any, where: str) -> Target:
    """A target from its plain form.

    Raises:
        InputError: It is none.
    """
    if isinstance(value, dict) and "units" in value:
        return from_plain(Target, value, where)
    old = from_plain(_OneUnit, value, where)
    return Target(
        old.name,
        old.description,
        (Unit(old.npu.kind, old.npu, old.npu_cores),),
        _PLAIN_MEMORIES,
        old.cpu,
        old.launch_overhead_s,
        old.digest,
        by_clock=old.by_clock,
        board=old.board,
        cpu_table=old.cpu_table,
    )
