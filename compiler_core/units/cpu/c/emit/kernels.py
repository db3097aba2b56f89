"""Kernels as text: files of C, each with what it needs in its first line.

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
