"""Targets of generated C: a core, its clock and its memories, one TOML file each."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from compiler_core.errors import InfeasibleError, InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.files.plain import from_plain
from compiler_core.files.toml_file import parse_toml, read_toml
from compiler_core.units.cpu.c.bundles.cores import CORES, core_of

SCHEMA = "nest-tune/board/1"
_FOLDER = files("compiler_core.units.cpu.c") / "targets"


@dataclass(frozen=True)
class Board:
    """A target as its file says.

    Attributes:
        schema: :data:`SCHEMA`.
        name: Of the target.
        core: Of :data:`~compiler_core.units.cpu.c.bundles.cores.CORES`.
        description: For people.
        clock_hz: Of the core.
        flash_bytes: For code and constants; ``None`` is as much as is needed.
        ram_bytes: For the arena, inputs, outputs and everything else.
        flash_wait_cycles: Of a read that no cache holds.
    """

    schema: str
    name: str
    core: str
    description: str = ""
    clock_hz: float | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    flash_wait_cycles: int = 0


def bundled_boards() -> tuple[str, ...]:
    """Names of the targets that come along, sorted."""
    names = (item.name for item in _FOLDER.iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def load_board(name: str) -> Board:
    """A target by name, or from a file ending in ``.toml``.

    Raises:
        InputError: There is none, or the file is wrong.
    """
    if name.endswith(".toml"):
        plain = read_toml(Path(name))
    elif name in bundled_boards():
        plain = parse_toml((_FOLDER / f"{name}.toml").read_bytes(), name)
    else:
        raise InputError(
            f"target {name!r} of generated C is not known; known are {', '.join(bundled_boards())}",
            hint=did_you_mean(name, bundled_boards()) or "give the path of a .toml file",
        )
    board = from_plain(Board, plain, name)
    if board.schema != SCHEMA:
        raise InputError(f"{name}: schema {board.schema!r}; {SCHEMA!r} is needed")
    if board.core not in CORES:
        core_of(board.core)
    for key in ("clock_hz", "flash_bytes", "ram_bytes"):
        value = getattr(board, key)
        if value is not None and value <= 0:
            raise InputError(f"{name}: {key} is {value}; more than 0 is needed")
    return board


def check_fit(board: Board, flash_bytes: int, ram_bytes: int) -> None:
    """Holds demands against a target's memories.

    Raises:
        InfeasibleError: One is larger than its memory.
    """
    demands = (
        ("flash", flash_bytes, board.flash_bytes, "--int4 halves the weights of a layer"),
        ("RAM", ram_bytes, board.ram_bytes, "--patches least runs the first operators in stripes"),
    )
    for what, demand, bound, way in demands:
        if bound is not None and demand > bound:
            raise InfeasibleError(
                f"target {board.name}: {demand} bytes of {what} are needed, {bound} are there: "
                f"{demand - bound} too many",
                hint=f"{way}, or choose a target with more {what}",
            )
