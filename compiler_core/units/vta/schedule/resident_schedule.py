"""Schedules of layers that stay on chip as a whole: the order of their instructions, spelled out.

Where inputs, weights and accumulators of a depthwise convolution fit their buffers together, every
tile is loaded once and nothing is ever overwritten, so that only dependences of data restrict the
order of its instructions. Such a schedule is two texts, of steps parted by spaces:

| step | module | meaning |
|---|---|---|
| ``W0-2`` | load | weights of blocks 0 to 2, in one transfer |
| ``I0-1``, ``I7[0:8]`` | load | inputs of whole blocks, or rows 0 to 7 of block 7 |
| ``B0-7`` | compute | bias and rounding constant are added to blocks 0 to 7 |
| ``T2``, ``T7[0:3]`` | compute | taps of outputs, an instruction per rectangle of equal taps |
| ``M2``, ``M7[0:3]`` | compute | the same, an instruction per set of kernel rows |
| ``Q4-5``, ``Q7[0:3]`` | compute, store | outputs are requantized and stored |
| ``U`` | compute | micro-ops of the steps from here to the next ``U`` are loaded here |

Before the first step the accumulators are cleared and the biases loaded. A block is 16 channels.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import cached_property, lru_cache

from compiler_core.errors import InputError
from compiler_core.tensor.digest import digest

MOST_STEPS = 512
"""Steps of each text."""


class StepKind(Enum):
    """What a step does; the value is its letter."""

    WEIGHTS = "W"
    INPUTS = "I"
    BIAS = "B"
    TAPS = "T"
    TAPS_BY_ROWS = "M"
    REQUANTIZE = "Q"
    MICRO_OPS = "U"


LOADS = (StepKind.WEIGHTS, StepKind.INPUTS)
_WITH_ROWS = (StepKind.INPUTS, StepKind.TAPS, StepKind.TAPS_BY_ROWS, StepKind.REQUANTIZE)
_STEP = re.compile(r"([WIBTMQ])(\d{1,4})(?:-(\d{1,4}))?(?:\[(\d{1,5}):(\d{1,5})\])?", re.ASCII)


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        kind: What it does.
        block, blocks: First block of 16 channels and their number.
        rows: First row and the one after the last, of inputs or outputs; ``None`` where all are
            meant. Only steps of one block name them.
    """

    kind: StepKind
    block: int = 0
    blocks: int = 1
    rows: tuple[int, int] | None = None

    def __str__(self) -> str:
        if self.kind is StepKind.MICRO_OPS:
            return "U"
        last = f"-{self.block + self.blocks - 1}" if self.blocks > 1 else ""
        rows = f"[{self.rows[0]}:{self.rows[1]}]" if self.rows is not None else ""
        return f"{self.kind.value}{self.block}{last}{rows}"


@dataclass(frozen=True)
class ResidentSchedule:
    """Schedule of a depthwise convolution that stays on chip.

    Attributes:
        loads: Transfers of weights and inputs in their order.
        steps: What the compute module does, in its order.

    Raises:
        InputError: A text holds what is no step.
    """

    loads: str
    steps: str

    def __post_init__(self) -> None:
        parse_steps(self.loads)
        parse_steps(self.steps)

    @cached_property
    def digest(self) -> str:
        """Key of the schedule."""
        return digest(self)


def resident_schedule(loads: list[Step], steps: list[Step]) -> ResidentSchedule:
    """The schedule of these steps."""
    return ResidentSchedule(" ".join(map(str, loads)), " ".join(map(str, steps)))


@lru_cache(maxsize=64)
def parse_steps(text: str) -> tuple[Step, ...]:
    """The steps of a text.

    Raises:
        InputError: One of them is none, or there are too many.
    """
    words = text.split(" ")
    if len(words) > MOST_STEPS:
        raise InputError(f"{len(words)} steps; at most {MOST_STEPS} are allowed")
    return tuple(_parse_step(word) for word in words)


def _parse_step(word: str) -> Step:
    if word == StepKind.MICRO_OPS.value:
        return Step(StepKind.MICRO_OPS)
    found = _STEP.fullmatch(word)
    if found is None:
        raise InputError(f"step {word[:40]!r}; a step is written as W0, I0-1, T7[0:3] or U")
    letter, first, last, low, high = found.groups()
    kind, block = StepKind(letter), int(first)
    blocks = 1 if last is None else int(last) - block + 1
    rows = None if low is None else (int(low), int(high))
    if blocks < 1 or (last is not None and blocks < 2):
        raise InputError(f"step {word!r}: its last block has to come after its first")
    if rows is not None and (kind not in _WITH_ROWS or blocks > 1 or rows[0] >= rows[1]):
        raise InputError(f"step {word!r}: rows are of one block, and of I, T, M or Q")
    return Step(kind, block, blocks, rows)
