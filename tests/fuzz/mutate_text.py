"""TOML and JSON documents with values exchanged, and hostile shapes of the syntax itself."""

from __future__ import annotations

import json
import math
import random
import tomllib
from typing import Any

from tests.fuzz.mutate_bytes import mutate_bytes
from tests.fuzz.values import mutate_plain


def mutate_toml(random_: random.Random, content: bytes, other: bytes) -> bytes:
    """A TOML file changed by value, by syntax or by byte."""
    match random_.randrange(10):
        case 0 | 1:
            return mutate_bytes(random_, content, other)
        case 2:
            return content + _hostile_toml(random_).encode()
        case _:
            document = mutate_plain(random_, tomllib.loads(content.decode()))
            if not isinstance(document, dict):
                document = {"x": document}
            return _toml(document).encode("utf-8", "replace")


def _hostile_toml(random_: random.Random) -> str:
    many = random_.choice((10, 1000, 50_000))
    few = min(many, 3000)
    return "\n" + random_.choice(
        (
            ".".join(["a"] * many) + " = 1\n",
            "[" + ".".join(["a"] * many) + "]\n",
            "[[" + " . ".join(['"a"'] * many) + "]]\n",
            "x = " + "[" * many + "]" * many + "\n",
            "x = " + "{a=" * few + "1" + "}" * few + "\n",
            "".join(f"[t{i}]\n" for i in range(few)),
            "".join(f"[[t]]\nx={i}\n" for i in range(few)),
            "x = 0x" + "f" * many + "\n",
            "x = " + "9" * many + "\n",
            "x = 1e" + "9" * few + "\n",
            'x = """' + '"' * many,
            "x = '''" + "'" * many,
            'x = "' + "\\u0041" * many + '"\n',
            "x = [" + "1," * many + "]\n",
            "".join(f"a.b{i}.c = 1\n" for i in range(few)),
            "x = 1979-05-27T07:32:00Z\ny = 07:32:00\n",
            "\x00\ufeff\u202e = 1\n",
            "".join("[" + ".".join(["b"] * 90) + f".k{i}]\n" for i in range(few)),
        )
    )


def mutate_program(random_: random.Random, content: bytes, other: bytes) -> bytes:
    """A program in text form: lines and words changed, moved, doubled or taken from another one."""
    if random_.random() < 0.15:
        return mutate_bytes(random_, content, other)
    lines = content.decode().splitlines()
    for _ in range(random_.randint(1, 6)):
        at = random_.randrange(len(lines))
        words = lines[at].split()
        match random_.randrange(6):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[random_.randrange(len(lines))])
            case 2:
                lines.insert(at, random_.choice(other.decode().splitlines()))
            case 3 if words:
                words[random_.randrange(len(words))] = random_.choice(_WORDS)
                lines[at] = " ".join(words)
            case 4:
                lines[at] += f" {random_.choice(_WORDS)}"
            case _:
                lines[at:at] = [lines[at]] * random_.choice((2, 40, 3000))
        lines = lines or ["AiM EOC"]
    return "\n".join(lines).encode()


_WORDS = (
    "0", "1", "64", "65", "-1", "0xffffffff", "0x1ffffffff", "4095", "4096", "1e3", "0x", "AiM",
    "EOC", "SYNC", "W", "R", "CFR", "MEM", "MAC_ABK", "RD_MAC", "9" * 5000, "\x1b[31m",
    "\u0663", "#",
)  # fmt: skip


def mutate_json(random_: random.Random, content: bytes, other: bytes) -> bytes:
    """A JSON document changed by value, by syntax or by byte."""
    match random_.randrange(10):
        case 0 | 1:
            return mutate_bytes(random_, content, other)
        case 2:
            return _hostile_json(random_).encode()
        case _:
            try:
                document = json.loads(content)
            except (ValueError, RecursionError):  # changed before
                return mutate_bytes(random_, content, other)
            text = json.dumps(mutate_plain(random_, document), ensure_ascii=False)
            return text.encode("utf-8", "replace")


def _hostile_json(random_: random.Random) -> str:
    many = random_.choice((10, 1000, 100_000))
    return random_.choice(
        (
            "[" * many,
            "[" * many + "]" * many,
            '{"a":' * many + "1" + "}" * many,
            "9" * many,
            "-" + "9" * min(many, 4200),
            "1e" + "9" * 20,
            "NaN",
            "Infinity",
            '"' + "\\ud800" * many + '"',
            '{"schema": ' * 3,
            "null",
            "[]",
            "{}",
            '{"schema": []}',
        )
    )


def _toml(document: dict[str, Any]) -> str:
    return "".join(
        f"{json.dumps(str(key), ensure_ascii=False)} = {_value(value)}\n"
        for key, value in document.items()
        if not isinstance(value, dict)
    ) + "".join(_table((key,), value) for key, value in document.items() if isinstance(value, dict))


def _table(path: tuple[str, ...], table: dict[str, Any]) -> str:
    head = ".".join(json.dumps(str(part), ensure_ascii=False) for part in path)
    lines = [f"[{head}]\n"]
    for key, value in table.items():
        if not isinstance(value, dict):
            lines.append(f"{json.dumps(str(key), ensure_ascii=False)} = {_value(value)}\n")
    for key, value in table.items():
        if isinstance(value, dict):
            lines.append(_table((*path, key), value))
    return "".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return '"null"'
    if isinstance(value, int):
        return str(value) if abs(value) < 10**4000 else hex(abs(value))
    if isinstance(value, float):
        return (
            repr(value)
            if math.isfinite(value)
            else {"inf": "inf", "-inf": "-inf"}.get(repr(value), "nan")
        )
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if isinstance(value, dict):
        inner = ", ".join(
            f"{json.dumps(str(k), ensure_ascii=False)} = {_value(v)}" for k, v in value.items()
        )
        return "{" + inner + "}"
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
