"""Targets of generated C: a core, its clock and its memories, as ``[cpu]`` of a target file.

Files that were written before these (``nest-tune/board/1``) have the same keys outside a table, and
inherit nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from compiler_core.errors import InfeasibleError, InputError
from compiler_core.files.nearest import did_you_mean
from compiler_core.files.plain import ONLY_WHERE_OTHER, from_plain
from compiler_core.files.toml_file import read_toml
from compiler_core.targets.lineage import read_lineage
from compiler_core.targets.schema import Hertz, Section
from compiler_core.targets.validation import refusal, values_below
from compiler_core.units.cpu.c.bundles.cores import core_of
from compiler_core.units.cpu.c.library.place import library_here
from compiler_core.units.names import CPU

BOARD_SCHEMA = "nest-tune/board/1"
CPU_KIND = "c"
_FOLDER = Path(__file__).parents[1] / "targets"
_Size = Annotated[int, Field(ge=1, le=1 << 40)]


class CoreSection(Section):
    """``[cpu]`` of a target of generated C; what is left out is as much as is needed."""

    kind: Literal["c"]
    core: str
    clock_hz: Hertz | None = None
    flash_bytes: _Size | None = None
    ram_bytes: _Size | None = None
    flash_wait_cycles: Annotated[int, Field(ge=0, le=1_000_000)] = 0


@dataclass(frozen=True)
class Board:
    """A target as its file says.

    Attributes:
        schema: :data:`BOARD_SCHEMA`.
        name: Of the target.
        core: Of :data:`~compiler_core.units.cpu.c.bundles.cores.CORES`.
        description: For people.
        clock_hz: Of the core.
        flash_bytes: For code and constants; ``None`` is as much as is needed.
        ram_bytes: For the arena, inputs, outputs and everything else.
        flash_wait_cycles: Of a read that no cache holds.
        library: Which CMSIS-NN kernels may be of; empty for none.
    """

    schema: str
    name: str
    core: str
    description: str = ""
    clock_hz: float | None = None
    flash_bytes: int | None = None
    ram_bytes: int | None = None
    flash_wait_cycles: int = 0
    library: str = field(default="", metadata={ONLY_WHERE_OTHER: True})


def bundled_boards() -> tuple[str, ...]:
    """Names of the targets that come along, sorted."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.toml")))


def board_file(name: str) -> Path:
    """The file of a target that comes along."""
    return _FOLDER / f"{name}.toml"


def load_board(name: str) -> Board:
    """A target by name, or from a file ending in ``.toml``.

    Raises:
        InputError: There is none, or the file is wrong.
    """
    if name.endswith(".toml"):
        board = _read_board(Path(name), name)
    elif name in bundled_boards():
        board = _from_target_file(board_file(name))
    else:
        raise InputError(
            f"target {name!r} of generated C is not known; known are {', '.join(bundled_boards())}",
            hint=did_you_mean(name, bundled_boards()) or "give the path of a .toml file",
        )
    core_of(board.core)  # refuses others
    for key in ("clock_hz", "flash_bytes", "ram_bytes"):
        value = getattr(board, key)
        if value is not None and value <= 0:
            raise InputError(f"{name}: {key} is {value}; more than 0 is needed")
    here = library_here()
    if here is None:
        return replace(board, library="")
    # Loaded where it is used: kernels are for what writes sources.
    from compiler_core.units.cpu.c.schedules.library import LIBRARY_UNITS

    return replace(board, library=here.identity if board.core in LIBRARY_UNITS else "")


def _read_board(path: Path, name: str) -> Board:
    plain = read_toml(path)
    if plain.get("schema") == BOARD_SCHEMA:
        found: Board = from_plain(Board, plain, name)
        return found
    return _from_target_file(path)


def _from_target_file(path: Path) -> Board:
    """A target from a file of the general form, with what it inherits."""
    lineage = read_lineage(path, {CPU: CoreSection})
    leaves = {place: leaf for file in reversed(lineage) for place, leaf in file.leaves.items()}
    newest = lineage[0]
    try:
        core = CoreSection.model_validate(values_below(leaves, (CPU,)) or {})
    except ValidationError as error:
        items = error.errors(include_url=False)
        wrong = [((CPU, *map(str, item["loc"])), item) for item in items]
        raise refusal(wrong, leaves, newest.label) from error
    description = next((file.description for file in lineage if file.description), "")
    return Board(
        BOARD_SCHEMA,
        newest.name,
        core.core,
        description,
        core.clock_hz,
        core.flash_bytes,
        core.ram_bytes,
        core.flash_wait_cycles,
    )


def check_fit(board: Board, flash_bytes: int, ram_bytes: int) -> None:
    """Holds demands against a target's memories.

    Raises:
        InfeasibleError: One is larger than its memory.
    """
    int4 = "nest-tune bundle --int4 NODE halves the weights of a layer"
    patches = "nest-tune bundle --patches least runs the first operators in stripes"
    demands = (
        ("flash", flash_bytes, board.flash_bytes, int4),
        ("RAM", ram_bytes, board.ram_bytes, patches),
    )
    for what, demand, bound, way in demands:
        if bound is not None and demand > bound:
            raise InfeasibleError(
                f"target {board.name}: {demand:,} bytes of {what} are needed, {bound:,} are "
                f"there: {demand - bound:,} too many",
                hint=f"{way}, or choose a target with more {what}",
            )
