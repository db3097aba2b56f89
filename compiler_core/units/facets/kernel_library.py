"""The facet of kinds whose sources may call a library of kernels that is the user's own."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol, runtime_checkable

from compiler_core.errors import InputError
from compiler_core.units.registry import unit_kind, unit_kinds

_FACET = "kernel_library"


@runtime_checkable
class KernelLibrary(Protocol):
    """A library that is never bundled."""

    def use(self, folder: Path) -> str:
        """Lets this process, and all that it starts, take kernels from a folder; which it is.

        Raises:
            InputError: It is not the library, or of another version.
        """
        ...


def kernel_library() -> KernelLibrary:
    """Whoever calls a library.

    Raises:
        InputError: No kind does.
    """
    for name in unit_kinds():
        kind = unit_kind(name)
        if kind.has(_FACET):
            found: KernelLibrary = kind.facet(_FACET, KernelLibrary)
            return found
    raise InputError("no kind of unit calls a library of kernels")
