"""Calls of kernels in functions that hold their sizes.

Compilers make shorter loops of sizes that they know, and other ones wherever they think that they
know them. So every kernel is called in a function that is compiled apart (see
:mod:`~compiler_core.units.cpu.c.emit.kernels`) and has in it what an operator's cost follows from:
sizes, steps, shifts, whether a zero point is 0 and a clamp that of the type. What else a kernel
takes is given to the function. An operator by itself has the same function, which is counted, and
equal functions of a network are one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

from compiler_core.units.cpu.c.emit.context import Context, checked
from compiler_core.units.cpu.c.emit.kernels import kernel
from compiler_core.units.cpu.c.emit.text import number

_SIGNATURE = re.compile(r"^static inline void nt_(\w+)\((.*?)\) \{", re.MULTILINE | re.DOTALL)
_LIMITS = {"int8": (-128, 127), "int16": (-32768, 32767)}


@dataclass(frozen=True)
class Given:
    """An integer that is given to a function: its cost does not follow from it."""

    value: int


@dataclass(frozen=True)
class Fixed:
    """An argument that is written into a function, as C text."""

    text: str


@dataclass(frozen=True)
class FilledStructure:
    """A structure of integers: those that are not given are written into the function."""

    kind: str
    fields: tuple[int | Given, ...]


Argument = str | Fixed | FilledStructure


def fixed(*values: int) -> list[Fixed]:
    """Integers that are written into a function."""
    return [Fixed(str(checked(value))) for value in values]


def zero_point(value: int) -> int | Given:
    """A zero point: that it is 0 is written."""
    return Given(value) if value else 0


def clamp(low: int, high: int, dtype: str) -> tuple[int | Given, int | Given]:
    """Both ends of a clamp: those of the type are written."""
    least, greatest = _LIMITS[dtype]
    return (low if low == least else Given(low), high if high == greatest else Given(high))


@lru_cache(maxsize=256)
def parameters(name: str) -> tuple[str, ...]:
    """What a kernel takes, as its text declares it."""
    _, text = kernel(name)
    found = next(m[2] for m in _SIGNATURE.finditer(text) if m[1] == name)
    return tuple(" ".join(part.split()) for part in found.split(","))


def kernel_call(context: Context, name: str, *arguments: Argument) -> list[str]:
    """The lines that call a kernel, by the name of its file, in a function of its own.

    Args:
        context: Asked for the kernel and the function.
        name: Of the kernel.
        *arguments: Of it, in its order: texts are given to the function.
    """
    context.kernel(name)
    records: list[str] = []
    signature: list[str] = []
    passed: list[str] = []
    inner: list[str] = []
    given: list[int] = []
    for parameter, argument in zip(parameters(name), arguments, strict=True):
        if isinstance(argument, Fixed):
            inner.append(argument.text)
        elif isinstance(argument, FilledStructure):
            symbol = f"r{len(records)}"
            records.append(_record(argument, symbol, given))
            inner.append(f"&{symbol}")
        else:
            signature.append(parameter)
            inner.append(parameter.split()[-1].lstrip("*"))
            passed.append(argument)
    if given:
        signature.insert(0, "const int32_t *q")
        passed.insert(0, context.given(given))
    lines = [
        f"static void @({', '.join(signature)}) {{",
        *records,
        *(f"  {line}" for line in statement(f"nt_{name}", *inner)),
        "}",
        "",
    ]
    return statement(context.function("\n".join(lines)), *passed)


def _record(record: FilledStructure, symbol: str, given: list[int]) -> str:
    """The declaration of a structure; appends to what is given."""
    texts = []
    for field in record.fields:
        if isinstance(field, Given):
            texts.append(f"q[{len(given)}]")
            given.append(field.value)
        else:
            texts.append(number(checked(field), "int32"))
    kept = "" if any(isinstance(field, Given) for field in record.fields) else "static "
    return f"  {kept}const {record.kind} {symbol} = {{{', '.join(texts)}}};"


def statement(function: str, *arguments: str) -> list[str]:
    """A call as lines of at most about 100 columns."""
    line = f"{function}({', '.join(arguments)});"
    if len(line) < 96:
        return [line]
    lines, current = [], f"{function}("
    for position, argument in enumerate(arguments):
        text = argument + (");" if position == len(arguments) - 1 else ",")
        if len(current) + len(text) > 94:
            lines.append(current)
            current = "    " + text
        else:
            current += text if current.endswith("(") else " " + text
    return [*lines, current]
