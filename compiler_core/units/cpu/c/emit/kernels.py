"""Kernels as text: files of C, each with what it needs in its first line."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files

from compiler_core.errors import InternalError

_NEEDS = "/* needs: "
_FOLDER = "compiler_core.units.cpu.c"


@lru_cache(maxsize=256)
def kernel(name: str) -> tuple[tuple[str, ...], str]:
    """What a kernel needs, and its text.

    Raises:
        InternalError: There is none of that name.
    """
    path = files(_FOLDER) / "kernels" / f"{name}.c"
    if not path.is_file():
        raise InternalError(f"there is no kernel {name!r}")
    text = path.read_text(encoding="utf-8")
    if not text.startswith(_NEEDS):
        return (), text
    first, _, rest = text.partition("\n")
    return tuple(first[len(_NEEDS) :].removesuffix("*/").split()), rest


def kernel_texts(names: Iterable[str]) -> list[str]:
    """Texts of kernels and of all that they need, each once, what is needed first."""
    found: dict[str, str] = {}

    def add(name: str) -> None:
        if name in found:
            return
        needs, text = kernel(name)
        for other in needs:
            add(other)
        found[name] = text

    for name in names:
        add(name)
    return list(found.values())
