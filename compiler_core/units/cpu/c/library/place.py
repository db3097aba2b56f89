"""Where CMSIS-NN lies, and which it is: a folder of the user's, named in the environment.

Processes that a command starts find the folder in the same place, so that a study's workers build
with the library of their driver.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from compiler_core.errors import InputError, MissingDependencyError

VARIABLE = "NEST_TUNE_CMSIS_NN"
HEADER = "arm_nnfunctions.h"
REVISIONS = {
    HEADER: "V.19.1.0",
    "arm_nn_types.h": "V.3.6.1",
    "arm_nnsupportfunctions.h": "V.22.11.0",
}
"""Of the headers with which calls, sizes of buffers and bits were checked (commit 99f736a)."""

FOLDERS = (
    "ActivationFunctions",
    "BasicMathFunctions",
    "ConvolutionFunctions",
    "FullyConnectedFunctions",
    "NNSupportFunctions",
    "PoolingFunctions",
    "SoftmaxFunctions",
    "TransposeFunctions",
)
"""Folders below ``Source`` that calls and what they call lie in."""

FLOAT_ENDINGS = ("_f16.c", "_f32.c")

_REVISION = re.compile(r"\$Revision:\s*(\S+)")


@dataclass(frozen=True)
class Library:
    """CMSIS-NN in a folder.

    Attributes:
        folder: Absolute.
        identity: Revision and digest of its files, without the folder.
    """

    folder: Path
    identity: str

    @property
    def include(self) -> Path:
        """Folder of the headers."""
        return self.folder / "Include"

    @property
    def sources(self) -> tuple[Path, ...]:
        """Files of C in integers, sorted."""
        return _sources(self.folder)


def library_in(folder: Path) -> Library:
    """The library of a folder.

    Raises:
        InputError: It is none, or one of another version.
    """
    include = folder / "Include"
    known = {name: include / name for name in REVISIONS}
    lacking = next((name for name, path in known.items() if not path.is_file()), None)
    sources = _sources(folder)
    if lacking is not None or not sources:
        what = f"Include/{lacking}" if lacking is not None else "Source/*/*.c"
        raise InputError(
            f"{folder}: this is no folder of CMSIS-NN: there is no {what}",
            hint="give the folder of its sources, which has Include and Source",
        )
    for name, path in known.items():
        found = _REVISION.search(path.read_text(encoding="utf-8", errors="replace"))
        said = found.group(1) if found else "of no revision"
        if said != REVISIONS[name]:
            raise InputError(
                f"{folder}: CMSIS-NN's Include/{name} is {said}; {REVISIONS[name]} is needed",
                hint="take commit 99f736a of ARM-software/CMSIS-NN",
            )
    content = hashlib.sha256()
    for path in sorted((*include.rglob("*.h"), *sources)):
        content.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    identity = f"CMSIS-NN {REVISIONS[HEADER]} {content.hexdigest()[:16]}"
    return Library(folder.resolve(), identity)


def _sources(folder: Path) -> tuple[Path, ...]:
    found = (path for part in FOLDERS for path in (folder / "Source" / part).glob("*.c"))
    return tuple(sorted(path for path in found if not path.name.endswith(FLOAT_ENDINGS)))


def use_library(folder: Path) -> Library:
    """Lets this process, and all that it starts, take kernels from a folder.

    Raises:
        InputError: See :func:`library_in`.
    """
    found = library_in(folder)
    os.environ[VARIABLE] = str(found.folder)
    return found


def library_here() -> Library | None:
    """The library that kernels may be taken from; ``None`` where nobody names one.

    Raises:
        InputError: What is named is none.
    """
    named = os.environ.get(VARIABLE, "")
    return _remembered(named) if named else None


@lru_cache(maxsize=4)
def _remembered(folder: str) -> Library:
    return library_in(Path(folder))


def require_library(identity: str, what: str) -> None:
    """Refuses what was made with a library that is not here; an empty identity needs none.

    Raises:
        MissingDependencyError: There is none, or another one.
    """
    if not identity:
        return
    here = library_here()
    if here is None or here.identity != identity:
        there = "none is given" if here is None else f"{here.folder} is {here.identity}"
        raise MissingDependencyError(
            f"{what}: kernels of it are of {identity}; {there}",
            hint=f"--cmsis-nn DIR, or the folder in {VARIABLE}",
        )
