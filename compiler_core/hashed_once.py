"""Frozen dataclasses whose hash is computed once: keys that are looked up for every layer."""

from __future__ import annotations

from typing import Any, TypeVar

Class = TypeVar("Class", bound=type)

_HASH = "_hash"


def hashed_once(decorated: Class) -> Class:
    """A frozen dataclass that remembers its hash; copies in other processes have one of their own,
    for text hashes differently there."""
    compute = decorated.__hash__

    def remembered(self: Any) -> int:
        found: int | None = self.__dict__.get(_HASH)
        if found is None:
            found = self.__dict__[_HASH] = compute(self)  # type: ignore[call-arg]
        return found

    def state(self: Any) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != _HASH}

    decorated.__hash__ = remembered  # type: ignore[method-assign, assignment]
    decorated.__getstate__ = state  # type: ignore[method-assign, assignment]
    return decorated
