"""DRAM planning where operators run side by side: only dependences say what is over.

Two buffers share addresses only where every access to one has to happen before every access to the
other, whatever the cores and the CPU do meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

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
    ordered = sorted(buffers, key=lambda item: (-item.size, item.name))
    over = _bits([_common(item.steps, before) for item in ordered], len(before))
    # One step more, that is over for all, stands for buffers that nothing touches.
    steps = [sorted(item.steps) or [len(before)] for item in ordered]
    every = np.array([step for of_one in steps for step in of_one], np.int64)
    begins = np.cumsum([0, *map(len, steps)])

    def meeting(position: int) -> npt.NDArray[np.bool_]:
        """Neither is over before the other begins."""
        if not position:
            return np.zeros(0, bool)
        words, bits = np.divmod(steps[position], 8)
        ahead = ~over[:position, words] & (1 << bits).astype(np.uint8)
        alive = np.unpackbits(~over[position], bitorder="little")[every[: begins[position]]]
        after = np.maximum.reduceat(alive, begins[:position])
        both: npt.NDArray[np.bool_] = (after != 0) & (ahead != 0).any(axis=1)
        return both

    return first_fit(ordered, meeting)


def _common(steps: frozenset[int], before: Sequence[int]) -> int:
    """What is over before any of the steps begins."""
    mask = (1 << len(before)) - 1
    for step in steps:
        mask &= before[step]
    return mask | 1 << len(before)


def _bits(masks: Sequence[int], count: int) -> npt.NDArray[np.uint8]:
    """``uint8[len(masks), bytes]``: masks of ``count + 1`` bits, one a row, the lowest first."""
    width = count // 8 + 1
    packed = b"".join(mask.to_bytes(width, "little") for mask in masks)
    return np.frombuffer(packed, np.uint8).reshape(len(masks), width)
