"""Slots of an on-chip buffer that the tiles of one operand rotate through.

Replacement is Belady's: the walk over the tiles is known beforehand, so the tile whose next use is
farthest makes room; among tiles that are never used again the one idle for longest, which is what
lets loads run ahead. A pool of streamed tiles spares the slot that was used last: Belady alone,
over tiles that recur in a circle, overwrites that very slot each time, so that every load waits for
the computation before it and every computation for its load. Sparing it loads more tiles;
:func:`streams` says where that is worth it.
Source: L. A. Belady, "A study of replacement algorithms for a virtual-storage computer", IBM
Systems Journal, 1966.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

from compiler_core.units.vta.lower.tokens import NOTHING

_NEVER = 1 << 60

MOST_LOADS = 1.15
"""Loads of a streamed pool over Belady's up to which streaming is worth it.

Chosen on 393 drawn schedules that streaming changes, on `vta` and `vta-pynq`, with the layers that
were timed on a board in view: 2.3 and 1.2 % fewer cycles in the geometric mean. On 419 and 420
others 2.9 to 3.7 and 1.8 to 2.6 % fewer (`benchmarks/streamed_weights.py --seed 11`, `12`, `13`).
"""


class Slot:
    """One buffer slot.

    Attributes:
        base: First SRAM element.
        loaded: Instruction that loaded the tile in it.
        last_reader: Last compute instruction that read it.
    """

    __slots__ = ("base", "key", "last_reader", "loaded", "next_use", "used")

    def __init__(self, base: int) -> None:
        self.base = base
        self.key: Hashable = None
        self.loaded = NOTHING
        self.last_reader = NOTHING
        self.next_use = _NEVER
        self.used = NOTHING


class SlotPool:
    """All slots of one operand.

    Args:
        base: First SRAM element of the pool.
        count: Slots.
        size: Elements of a slot.
        uses: Tile keys in the order in which they will be acquired.
        streamed: Whether the slot used last is spared where there is another.
    """

    def __init__(
        self,
        base: int,
        count: int,
        size: int,
        uses: Sequence[Hashable],
        *,
        streamed: bool = False,
    ) -> None:
        self._slots = [Slot(base + index * size) for index in range(count)]
        self._next_use = [_NEVER] * len(uses)
        following: dict[Hashable, int] = {}
        for position in range(len(uses) - 1, -1, -1):
            self._next_use[position] = following.get(uses[position], _NEVER)
            following[uses[position]] = position
        self._uses = uses
        self._position = 0
        self._spares_last = streamed and count > 1
        self._last: Slot | None = None

    def acquire(self) -> tuple[Slot, bool]:
        """Returns the slot for the next tile of the walk, and whether the tile is already in it."""
        key = self._uses[self._position]
        for slot in self._slots:
            if slot.key == key:
                break
        else:
            slot = max(
                (s for s in self._slots if s is not self._last),
                key=lambda s: (s.next_use, -s.used),
            )
        resident = slot.key == key
        slot.key = key
        slot.next_use = self._next_use[self._position]
        slot.used = self._position
        if self._spares_last:
            self._last = slot
        self._position += 1
        return slot, resident


def streams(uses: Sequence[Hashable], count: int) -> bool:
    """Whether a pool does well to spare the slot used last: loads and computation overlap then, for
    a few loads more.

    Args:
        uses: Tile keys in the order in which they will be acquired.
        count: Slots.
    """
    if count == 1 or len(set(uses)) <= count:
        return False
    return _loads(uses, count, streamed=True) <= MOST_LOADS * _loads(uses, count, streamed=False)


def _loads(uses: Sequence[Hashable], count: int, *, streamed: bool) -> int:
    pool = SlotPool(0, count, 1, uses, streamed=streamed)
    return sum(not pool.acquire()[1] for _ in uses)
