"""CMSIS-NN as the facet :mod:`compiler_core.units.facets.kernel_library`."""

from __future__ import annotations

from pathlib import Path

from compiler_core.units.cpu.c.library.place import use_library


class CmsisNn:
    """Kernels of CMSIS-NN."""

    def use(self, folder: Path) -> str:
        """See :class:`compiler_core.units.facets.kernel_library.KernelLibrary`."""
        return use_library(folder).identity


KERNEL_LIBRARY = CmsisNn()
