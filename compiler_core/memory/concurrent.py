"""DRAM planning where operators run side by side: only dependences say what is over.

Two buffers share addresses only where every access to one has to happen before every access to the
other, whatever the cores and the CPU do meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from compiler_core.memory.plan import DramPlan, first_fit


@dataclass(frozen=True)
class Buffer:
    """A buffer and the steps that touch it.

    Attributes:
        name: Unique.
        size: Bytes.
        steps: Positions of the steps that write or read it.
    """

    name: str
    size: int
    steps: frozenset[int]


def ancestors(after: Sequence[Sequence[int]]) -> list[int]:
    """What has to be over before each step begins, as a bit per step.

    Args:
        after: The steps that each one waits for; all smaller than its own position.
    """
    found: list[int] = []
    for direct in after:
        mask = 0
        for step in direct:
            mask |= found[step] | 1 << step
        found.append(mask)
    return found


def plan_concurrent_buffers(buffers: Sequence[Buffer], before: Sequence[int]) -> DramPlan:
    """Places buffers, the largest first, each at the lowest address where no buffer lies that may
    be alive at the same time.

    Args:
        buffers: What to place.
        before: Of :func:`ancestors`.
    """
    touched = {item.name: sum(1 << step for step in item.steps) for item in buffers}
    over = {item.name: _common(item.steps, before) for item in buffers}

    def meet(one: Buffer, other: Buffer) -> bool:
        return not _apart(one, other, touched, over)

    return first_fit(sorted(buffers, key=lambda item: (-item.size, item.name)), meet)


def _common(steps: frozenset[int], before: Sequence[int]) -> int:
    """What is over before any of the steps begins."""
    mask = -1
    for step in steps:
        mask &= before[step]
    return mask


def _apart(one: Buffer, other: Buffer, touched: Mapping[str, int], over: Mapping[str, int]) -> bool:
    first, second = touched[one.name], touched[other.name]
    return not (first & ~over[other.name] and second & ~over[one.name])
