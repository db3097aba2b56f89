"""C99 for microcontrollers: the CPU's facet of :mod:`compiler_core.units.facets.bundles`.

Whoever looks a target up asks which are here; what writes and reads sources is imported by what
does so.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from compiler_core.errors import CheckError, InputError
from compiler_core.files.toml_file import read_toml
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.package_names import (
    CONFIGURATION,
    CONFIGURATION_SCHEMA,
    DOCUMENT,
    SOURCE,
)
from compiler_core.units.cpu.c.bundles.targets import (
    BOARD_SCHEMA,
    CPU_KIND,
    board_file,
    bundled_boards,
    load_board,
)
from compiler_core.units.cpu.c.emit.text import identifier
from compiler_core.units.facets.bundles import (
    BundleReport,
    BundleRequest,
    BundleRung,
    BundleTarget,
    DrivenReport,
)

if TYPE_CHECKING:
    from compiler_core.graph.ir import Graph
    from compiler_core.units.cpu.c.bundles.package import OpenPackage
    from compiler_core.units.cpu.c.driven.bundle import Compute
    from compiler_core.units.cpu.c.network import Array
    from compiler_core.units.facets.driving import DrivenModel


class CBundles:
    """Bundles of C99."""

    cpu_kind = CPU_KIND
    schemas = (BOARD_SCHEMA,)

    def file(self, target: str) -> Path:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        return board_file(target)

    def targets(self) -> tuple[str, ...]:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        return bundled_boards()

    def describe(self, target: str) -> BundleTarget:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        board = load_board(target)
        return BundleTarget(
            board.name,
            board.core,
            board.description,
            board.clock_hz,
            board.flash_bytes,
            board.ram_bytes,
        )

    def counts(self, core: str) -> bool:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        return cores.core_of(core).tick > 0

    def lacks(self, core: str) -> tuple[tuple[str, ...], str]:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        found = cores.missing(cores.core_of(core))
        return found, cores.how_to_install(cores.core_of(core)) if found else ""

    def is_configuration(self, path: Path) -> bool:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        try:
            return read_toml(path).get("schema") == CONFIGURATION_SCHEMA
        except InputError:
            return False

    def is_package(self, folder: Path) -> bool:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        return all((folder / name).is_file() for name in (DOCUMENT, CONFIGURATION, SOURCE))

    def open(self, folder: Path) -> OpenPackage:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        from compiler_core.units.cpu.c.bundles.package import OpenPackage

        return OpenPackage(folder)

    def require(self, graph: Graph, precision: str | None = "int8") -> None:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        from compiler_core.units.cpu.c.convert.convert import require_kernels

        require_kernels(graph, precision)

    def rungs(self, graph: Graph) -> tuple[BundleRung, ...]:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        from compiler_core.units.cpu.c.bundles.rungs import rungs

        return rungs(graph)

    def write(self, request: BundleRequest) -> BundleReport:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        from compiler_core.units.cpu.c.bundles.writing import write

        return write(request)

    def check(self, report: BundleReport, folder: Path) -> str:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        with tempfile.TemporaryDirectory() as scratch:
            core = cores.core_of(report.core)
            return cores.check(core, folder, Path(scratch) / "program")

    def count(self, report: BundleReport, folder: Path) -> BundleReport:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        with tempfile.TemporaryDirectory() as scratch:
            found = cores.count(
                cores.core_of(report.core),
                folder,
                Path(scratch) / "program",
                len(report.operators),
            )
        counted = tuple(
            replace(item, instructions=number)
            for item, number in zip(report.operators, found, strict=True)
        )
        return replace(report, operators=counted)

    def drive(
        self,
        model: DrivenModel,
        name: str,
        folder: Path,
        samples: Sequence[Mapping[str, Array]],
        compute: Compute,
    ) -> DrivenReport:
        """See :class:`compiler_core.units.facets.bundles.DrivenBundles`."""
        from compiler_core.units.cpu.c.driven.bundle import write_driven

        made = write_driven(model, identifier(name), folder, samples, compute)
        sizes = (made.arena_bytes, made.memory_bytes, made.constant_bytes)
        return DrivenReport(identifier(name), *sizes, made.stages)

    def check_driven(self, folder: Path) -> str:
        """See :class:`compiler_core.units.facets.bundles.DrivenBundles`."""
        here = cores.core_of("c99")
        with tempfile.TemporaryDirectory() as scratch:
            program = Path(scratch) / "program"
            units = sorted(path.name for path in folder.glob("stage*.c"))
            sources = ("model.c", "memory.c", "npu_simulator.c", *units)
            cores.build(here, folder, program, "-O2", main="selftest.c", sources=sources)
            ended = cores.run(here, program)
        if ended.returncode:
            raise CheckError(
                f"the self test ends with status {ended.returncode}: {ended.stdout.strip()}"
            )
        return ended.stdout.strip()

    def times_ms(self, report: BundleReport, folder: Path) -> BundleReport:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        with tempfile.TemporaryDirectory() as scratch:
            found = cores.times_ns(folder, Path(scratch) / "program", len(report.operators))
        timed = tuple(
            replace(item, latency_ms=t.value / 1e6, interval_ms=(t.low / 1e6, t.high / 1e6))
            for item, t in zip(report.operators, found, strict=True)
        )
        from compiler_core.units.cpu.c.bundles.by_clock import time_programs

        whole = time_programs({report.name: folder})
        return replace(
            report,
            operators=timed,
            latency_us=whole.latency_us(report.name),
            warnings=(*report.warnings, *whole.warnings),
        )


BUNDLES = CBundles()
