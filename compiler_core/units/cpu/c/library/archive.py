"""CMSIS-NN built for a core: an archive of which a program takes what it calls."""

from __future__ import annotations

import atexit
import re
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from compiler_core.errors import CheckError, MissingDependencyError
from compiler_core.units.cpu.c.library.place import HEADER, VARIABLE, Library, library_here

INCLUDE = f'#include "{HEADER}"'
"""The line of a model that calls the library."""

_FLAGS = ("-O3", "-std=c99", "-ffunction-sections", "-fdata-sections", "-w")
_AT_ONCE = 4
_PARTS = 8


@dataclass(frozen=True)
class Needed:
    """What a compiler is told beside the sources of a model.

    Attributes:
        headers: Flags.
        archives: Files behind the sources.
    """

    headers: tuple[str, ...] = ()
    archives: tuple[str, ...] = ()


def needed_by(folder: Path, compiler: str, flags: Sequence[str]) -> Needed:
    """What the sources of a folder need of the library: nothing, unless they call it.

    Args:
        folder: With ``model.c``.
        compiler: Command.
        flags: Which choose the core.

    Raises:
        MissingDependencyError: They call it, and nobody says where it is.
        CheckError: The compiler refuses the library.
    """
    if not calls_library(folder):
        return Needed()
    library = library_here()
    if library is None:
        raise MissingDependencyError(
            "the model calls kernels of CMSIS-NN, and nothing says where it is",
            hint=f"--cmsis-nn DIR, or the folder in {VARIABLE}",
        )
    built = _archive(library, compiler, tuple(flags))
    return Needed(("-isystem", str(library.include)), (str(built),))


def calls_library(folder: Path) -> bool:
    """Whether the model of a folder calls the library."""
    path = folder / "model.c"
    return path.is_file() and INCLUDE in path.read_text(encoding="utf-8")


@lru_cache(maxsize=8)
def _archive(library: Library, compiler: str, flags: tuple[str, ...]) -> Path:
    """The archive for a core; this process keeps it until it ends."""
    kept = tempfile.TemporaryDirectory(prefix="nest-tune-library-")
    atexit.register(kept.cleanup)
    folder = Path(kept.name)
    command = [compiler, *flags, *_FLAGS, f"-I{library.include}", "-c"]

    def build(part: int) -> str:
        own = folder / str(part)
        own.mkdir()
        files = [str(path) for path in library.sources[part::_PARTS]]
        made = subprocess.run([*command, *files], cwd=own, capture_output=True, text=True)
        return made.stderr if made.returncode else ""

    parts = range(min(_PARTS, len(library.sources)))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        refused = next((text for text in pool.map(build, parts) if text), None)
    if refused is not None:
        line = next((text for text in refused.splitlines() if "error" in text), refused)
        raise CheckError(f"{compiler} refuses {library.identity}: {line.strip()}")
    found = folder / "libcmsis-nn.a"
    joiner = re.sub(r"(gcc|cc)$", "ar", compiler)
    objects = sorted(str(path) for path in folder.glob("*/*.o"))
    subprocess.run([joiner, "rcs", str(found), *objects], check=True, capture_output=True)
    return found
