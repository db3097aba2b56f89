"""Kernels as text: files of C, each with what it needs in its first line.

Those that are the same for every type of element stand in one file, ``NAME.any.c``, in which ``@T``
is the type and ``@S`` the ending of the name that says so.

What an operator executes must not depend on what else is in its file: a compiler that inlines a
function where it has few callers makes other code of it in a network of one operator than in a
large one. So functions are either always inlined (those that are ``static inline``) or compiled
apart: those that are generated with an operator's sizes, and the long ones of float32. A count of
an operator alone holds in every network then.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from importlib.resources import files

from compiler_core.errors import InternalError
from compiler_core.units.cpu.c.emit.text import C_TYPES, SUFFIX

COMPILED_ALIKE = (
    "/* Kernels of fixed sizes are compiled apart: what one takes is no matter of the others. */",
    "#if defined(__GNUC__) && !defined(__clang__)",
    "#define NT_APART __attribute__((noipa))",
    "#elif defined(__GNUC__)",
    "#define NT_APART __attribute__((noinline))",
    "#else",
    "#define NT_APART",
    "#endif",
    "#if defined(__GNUC__)",
    "#define NT_INLINE __attribute__((always_inline, unused))",
    "#else",
    "#define NT_INLINE",
    "#endif",
    "",
)
"""Lines before the functions that :func:`compiled_alike` marks."""

_PART = re.compile(r"^static inline ", re.MULTILINE)
_APART = re.compile(r"^static (?!inline |const )", re.MULTILINE)

_NEEDS = "/* needs: "
_TYPES = {ending: C_TYPES[dtype] for dtype, ending in SUFFIX.items()}
_FOLDER = "compiler_core.units.cpu.c"


@lru_cache(maxsize=256)
def kernel(name: str) -> tuple[tuple[str, ...], str]:
    """What a kernel needs, and its text.

    Raises:
        InternalError: There is none of that name.
    """
    text = _text(name)
    if not text.startswith(_NEEDS):
        return (), text
    first, _, rest = text.partition("\n")
    return tuple(first[len(_NEEDS) :].removesuffix("*/").split()), rest


def _text(name: str) -> str:
    folder = files(_FOLDER) / "kernels"
    own, (stem, _, ending) = folder / f"{name}.c", name.rpartition("_")
    if own.is_file():
        return own.read_text(encoding="utf-8")
    of_any = folder / f"{stem}.any.c"
    if ending not in _TYPES or not of_any.is_file():
        raise InternalError(f"there is no kernel {name!r}")
    text = of_any.read_text(encoding="utf-8")
    return text.replace("@T", _TYPES[ending]).replace("@S", ending)


def compiled_alike(text: str) -> str:
    """C in which every function is either always inlined or compiled apart."""
    return _PART.sub("NT_INLINE static inline ", _APART.sub("NT_APART static ", text))


def kernel_texts(names: Iterable[str]) -> list[str]:
    """Texts of kernels and of all that they need, each once, what is needed first."""
    found: dict[str, str] = {}

    def add(name: str) -> None:
        if name in found:
            return
        needs, text = kernel(name)
        for other in needs:
            add(other)
        found[name] = compiled_alike(text)

    for name in names:
        add(name)
    return list(found.values())
