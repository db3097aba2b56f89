"""Values that readers stumble over: integers, floats, texts, deep and wide structures."""

from __future__ import annotations

import random
from typing import Any

INTEGERS = (
    -(2**63), -(2**31), -100, -2, -1, 0, 1, 2, 3, 7, 16, 255, 256, 1000, 65536, 10**6, 2**24, 2**30,
    2**31 - 1, 2**31, 2**32, 2**40, 10**12, 2**53, 2**62, 2**63 - 1,
)  # fmt: skip
HUGE = (2**63, 2**64, 10**30, 10**308, 10**400, 10**4000)
FLOATS = (
    0.0, -0.0, 1.0, -1.0, 0.5, 1e-45, 1e-30, 1e-10, 1e10, 1e30, 3e38, 1e300,
    float("inf"), float("-inf"), float("nan"),
)  # fmt: skip
TEXTS = (
    "", " ", "x", "y", ".", "..", "../x", "/etc/passwd", "a/b", "\\", "'", '"', "`|*_<b>&amp;",
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\u202egnp.exe", "\u2066a\u2069", "\u200f", "\x00",
    "\x7f", "\x85\x9b31m", "a\nb", "\r", "\t", "\u2028", "\ufeff", "\U0001f600",
    "<script>alert(1)</script>", "::error::x", "${{ secrets.X }}", "$(id)", "%s%n", "{0.__class__}",
    "é" * 300, "n" * 5000, "-1", "0", "1e9", "nan", "true", "null", "cpu", "npu", "vta", "default",
)  # fmt: skip


def integer(random_: random.Random, *, huge: bool = False) -> int:
    if huge and random_.random() < 0.3:
        return random_.choice(HUGE) * random_.choice((1, -1))
    return random_.choice(INTEGERS) + random_.choice((0, 0, 0, 1, -1))


def text(random_: random.Random) -> str:
    return random_.choice(TEXTS)


def deep(random_: random.Random) -> Any:
    value: Any = 1
    for _ in range(random_.choice((3, 50, 150))):
        value = [value] if random_.random() < 0.5 else {"a": value}
    return value


def plain(random_: random.Random) -> Any:
    """Any value of JSON or TOML."""
    match random_.randrange(9):
        case 0:
            return integer(random_, huge=True)
        case 1:
            return random_.choice(FLOATS)
        case 2 | 3:
            return text(random_)
        case 4:
            return random_.random() < 0.5
        case 5:
            return [plain(random_) for _ in range(random_.randint(0, 4))]
        case 6:
            return {
                text(random_): integer(random_, huge=True) for _ in range(random_.randint(0, 3))
            }
        case 7:
            return [random_.choice((0, 1, "a"))] * random_.choice((1, 10, 3000))
        case _:
            return deep(random_)


def mutate_plain(random_: random.Random, document: Any) -> Any:
    """A document with one to three places changed, deleted, doubled or swapped."""
    for _ in range(random_.randint(1, 3)):
        places = list(_places(document)) if isinstance(document, dict | list) else []
        if not places:
            return plain(random_)
        holder, key = random_.choice(places)
        other, other_key = random_.choice(places)
        match random_.randrange(8):
            case 0 | 1:
                holder[key] = plain(random_)
            case 2:
                del holder[key]
            case 3:
                old = holder[key]
                if isinstance(old, bool) or not isinstance(old, int | float):
                    holder[key] = str(old) if random_.random() < 0.3 else plain(random_)
                elif isinstance(old, int):
                    holder[key] = random_.choice(
                        (
                            integer(random_, huge=True),
                            old + 1,
                            -old,
                            old * 2,
                            float(old) if abs(old) < 2**52 else 0.5,
                        )
                    )
                else:
                    holder[key] = random_.choice((*FLOATS, old * 1e6, -old, 1))
            case 4:
                if isinstance(holder, dict):
                    holder[text(random_) or "k"] = holder[key]
                else:
                    holder.insert(key, holder[key])
            case 5:
                # No cycles: only leaves are exchanged.
                if not isinstance(holder[key], dict | list) and not isinstance(
                    other[other_key], dict | list
                ):
                    holder[key], other[other_key] = other[other_key], holder[key]
            case 6:
                if isinstance(holder[key], list):
                    holder[key] = holder[key] * random_.choice((0, 2, 50))
                elif isinstance(holder[key], dict):
                    holder[key] = list(holder[key])
                elif isinstance(holder[key], str):
                    holder[key] = text(random_)
            case 7:
                holder[key] = {"x": holder[key]} if random_.random() < 0.5 else [holder[key]]
    return document


def _places(document: Any) -> Any:
    pending = [document]
    while pending:
        value = pending.pop()
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, member in list(items):
            yield value, key
            if isinstance(member, dict | list):
                pending.append(member)
