"""What reports and explanations measure, kept in the storage by what it depends on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from compiler_core.errors import NestTuneError
from compiler_core.tensor.digest import digest
from nest_tune.study.store.ground import Ground

if TYPE_CHECKING:
    from nest_tune.study.store.results import ResultRows


class Kept:
    """Results of pure functions of a study's files and of plain values.

    Args:
        storage: Where they are; ``None`` keeps nothing.
        ground: Of the study: its files, the machine and the compiler set its results apart.
    """

    def __init__(self, storage: ResultRows | None, ground: Ground) -> None:
        self._storage, self._context = storage, ground.context
        self._found: dict[str, Any] = {}

    def key(self, what: str, of: Mapping[str, Any]) -> str:
        """Name of a result.

        Args:
            what: The function.
            of: Plain values that it depends on.
        """
        return digest((self._context, f"report:{what}", dict(of)), 32)

    def look(self, keys: list[str]) -> None:
        """Reads results at once that :meth:`get` and ``in`` then know."""
        if self._storage is not None and keys:
            self._found |= self._storage.results(keys)

    def __contains__(self, key: str) -> bool:
        return key in self._found

    def get(self, key: str, measure: Callable[[], Any]) -> Any:
        """A result; what is not known is measured and kept.

        A storage that takes nothing, of another user or on a full disk, is no reason to show
        nothing.
        """
        if key not in self._found:
            self.look([key])
        if key not in self._found:
            self._found[key] = value = measure()
            if self._storage is not None:
                try:
                    self._storage.add_result(key, value)
                except NestTuneError:
                    self._storage = None
        return self._found[key]
