"""What was asked for last, up to a bound: results that are made again and again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from threading import Lock
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Values by their keys; whatever was not asked for longest goes first. For several threads.

    Args:
        most: Weight of all values together.
    """

    def __init__(self, most: int) -> None:
        self._most, self._weight = most, 0
        self._lock = Lock()
        self._held: OrderedDict[Hashable, tuple[Value, int]] = OrderedDict()

    def get(self, key: Hashable) -> Value | None:
        """The value of a key; ``None`` where it is not held."""
        with self._lock:
            found = self._held.get(key)
            if found is None:
                return None
            self._held.move_to_end(key)
            return found[0]

    def keep(self, key: Hashable, value: Value, weight: int = 1) -> None:
        """Holds a value; one whose weight alone is beyond the bound is held until the next."""
        with self._lock:
            if key in self._held:  # another thread was sooner
                return
            self._held[key] = value, weight
            self._weight += weight
            while self._weight > self._most and len(self._held) > 1:
                _, (_, oldest) = self._held.popitem(last=False)
                self._weight -= oldest

    def drop(self, key: Hashable) -> None:
        """Holds the value of a key no longer."""
        with self._lock:
            found = self._held.pop(key, None)
            self._weight -= found[1] if found else 0
