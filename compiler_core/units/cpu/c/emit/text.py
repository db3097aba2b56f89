"""Names, comments and numbers of others as C text that cannot be anything else."""

from __future__ import annotations

import re
from math import isinf, isnan
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.files.visible import visible

C_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "float32": "float",
}
SUFFIX = {"int8": "s8", "int16": "s16", "int32": "s32", "float32": "f32"}
"""Ending of a kernel's name by the type of its elements."""

_COMMENT_LENGTH = 80
_NAME_LENGTH = 40
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_WORDS = """
asm auto break case char const continue default do double else enum extern float for goto if inline
int long main register restrict return short signed sizeof static struct switch typedef union
unsigned void volatile while bool true false alignas alignof constexpr nullptr thread_local typeof
class namespace new delete template this throw try catch public private protected virtual operator
friend using export and or not xor
"""
_KEYWORDS = frozenset(_WORDS.split())
_PER_LINE = 16


def identifier(text: str) -> str:
    """A name that C and C++ accept for a function, near to ``text``."""
    plain = re.sub(r"_+", "_", re.sub(r"[^A-Za-z0-9]", "_", text)).strip("_").lower()
    plain = plain[:_NAME_LENGTH].strip("_")
    if not plain or not plain[0].isalpha() or plain in _KEYWORDS or plain.startswith("nt_"):
        plain = f"model_{plain}".rstrip("_")
    return plain


def check_identifier(name: str) -> str:
    """The name itself.

    Raises:
        InputError: C does not take it.
    """
    taken = not _NAME.fullmatch(name) or name in _KEYWORDS or name.startswith("nt_")
    if taken or len(name) > _NAME_LENGTH or "__" in name:
        raise InputError(
            f"name {name!r}: letters, digits and single underlines, a letter first, at most "
            f"{_NAME_LENGTH} characters, no word of C",
            hint=f"--name {identifier(name)}",
        )
    return name


def comment(text: str) -> str:
    """Text of others within a comment: it cannot end it, open one, or join lines."""
    shown = visible(text).encode("ascii", "backslashreplace").decode()
    shown = re.sub(r"([/?])(?=\1)", r"\1 ", shown.replace("\\", "/").replace("*", "'"))
    return shown if len(shown) <= _COMMENT_LENGTH else shown[: _COMMENT_LENGTH - 1] + "~"


def number(value: Any, dtype: str) -> str:
    """One number as a literal of a type, exactly."""
    if dtype == "float32":
        return real(float(value))
    whole = int(value)
    if dtype == "int32" and whole == -(1 << 31):
        return "INT32_MIN"
    if dtype == "int64":
        return "INT64_MIN" if whole == -(1 << 63) else f"INT64_C({whole})"
    return str(whole)


def real(value: float) -> str:
    """A float32 number as a hexadecimal literal.

    Raises:
        InputError: It is NaN.
    """
    if isnan(value):
        raise InputError("a constant or a sample holds NaN, whose bits differ between machines")
    if isinf(value):
        return "-nt_infinity()" if value < 0 else "nt_infinity()"
    return f"{float(np.float32(value)).hex()}f"


def rows(array: npt.NDArray[Any], dtype: str) -> str:
    """All elements of an array, some to a line."""
    texts = [number(value, dtype) for value in array.ravel().tolist()]
    lines = (", ".join(texts[i : i + _PER_LINE]) for i in range(0, len(texts), _PER_LINE))
    return ",\n  ".join(lines)
