"""Addresses of boards: ``ssh://[USER@]HOST[:PORT][/path/of/python3]``.

Nothing of an address reaches a shell of this machine, and only the path of the interpreter one of
the board's; everything is held against what names, hosts and paths consist of.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from compiler_core.errors import InputError

SCHEME = "ssh://"
SEPARATOR = ","
MOST_BOARDS = 64

_USER = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}"
_HOST = r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?"
_IPV6 = r"\[[0-9A-Fa-f:.]{2,45}\]"
_PATH = r"(?:/[A-Za-z0-9_+][A-Za-z0-9._+-]{0,254}|/\.[A-Za-z0-9_+-][A-Za-z0-9._+-]{0,253}){1,32}"
_ADDRESS = re.compile(
    rf"ssh://(?:(?P<user>{_USER})@)?(?P<host>{_HOST}|{_IPV6})(?::(?P<port>[0-9]{{1,5}}))?"
    rf"(?P<python>{_PATH})?"
)
_HINT = "ssh://pi@board.local, ssh://pi@10.0.0.7:2222, or ssh://pi@board/home/pi/venv/bin/python3"


@dataclass(frozen=True)
class Address:
    """Where a board is.

    Attributes:
        user: To log in as; empty for what ssh takes.
        host: Name, or number.
        port: ``None`` for what ssh takes.
        python: Path of the interpreter there; empty for ``python3``.
    """

    user: str
    host: str
    port: int | None
    python: str

    @property
    def text(self) -> str:
        """As it is written."""
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{SCHEME}{user}{host}{port}{self.python}"


def is_address(text: object) -> bool:
    """Whether a target's name is meant as one or several addresses."""
    return isinstance(text, str) and text.startswith(SCHEME)


def parse_addresses(text: str) -> tuple[Address, ...]:
    """Addresses of one or several boards, with commas between.

    Raises:
        InputError: One reads otherwise, or stands there twice.
    """
    found = tuple(_parse(part.strip()) for part in text.split(SEPARATOR))
    if len(found) > MOST_BOARDS:
        raise InputError(f"{len(found)} boards; at most {MOST_BOARDS} are allowed")
    if len(set(found)) < len(found):
        twice = next(one.text for one in found if found.count(one) > 1)
        raise InputError(f"board {twice}: stands there twice", hint="name each board once")
    return found


def _parse(text: str) -> Address:
    match = _ADDRESS.fullmatch(text)
    if match is None:
        raise InputError(
            f"board {_shown(text)}: ssh://[USER@]HOST[:PORT][/path/of/python3] is needed; users, "
            "hosts and paths are of letters, digits, '.', '_' and '-', and passwords are not taken",
            hint=_HINT,
        )
    port = None if match["port"] is None else int(match["port"])
    if port is not None and not 0 < port < 65536:
        raise InputError(f"board {_shown(text)}: port {port} is not from 1 to 65535", hint=_HINT)
    python = match["python"] or ""
    if python.endswith(".toml"):
        raise InputError(f"board {_shown(text)}: {python} is no interpreter", hint=_HINT)
    host = match["host"].strip("[]")
    return Address(match["user"] or "", host, port, python)


def _shown(text: str) -> str:
    """Without what may be a password."""
    head, at, tail = text.rpartition("@")
    if at and ":" in head.removeprefix(SCHEME):
        text = f"{head[: head.index(':', len(SCHEME))]}:***@{tail}"
    return repr(text[:120])
