"""C99 for microcontrollers: the CPU's facet of :mod:`compiler_core.units.facets.bundles`."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import (
    Bundle,
    make_bundle,
    scheduled_bundle,
    write_bundle,
)
from compiler_core.units.cpu.c.bundles.targets import bundled_boards, check_fit, load_board
from compiler_core.units.cpu.c.bundles.tuning import tuned
from compiler_core.units.cpu.c.convert.options import Options
from compiler_core.units.cpu.c.emit.text import identifier
from compiler_core.units.facets.bundles import BundleReport, BundleRequest, OperatorCount


class CBundles:
    """Bundles of C99."""

    def targets(self) -> tuple[str, ...]:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        return bundled_boards()

    def write(self, request: BundleRequest) -> BundleReport:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        board = load_board(request.target)
        options = Options(
            precision=request.precision,
            weight_bits=dict.fromkeys(request.int4_layers, 4),
            float_layers=frozenset(request.float_layers),
            float_ports=request.float_ports,
            channels_last=not request.model_layout,
        )
        name = identifier(request.model) if request.name is None else request.name
        core = cores.core_of(board.core)
        bundle = make_bundle(request.graph, request.ranges, name, options, core.name)
        if request.tune:
            schedules = tuned(bundle.network, name, core)
            bundle = scheduled_bundle(bundle.network, name, schedules)
        ports = sum(
            bundle.network.values[name].size_bytes
            for name in (*bundle.network.inputs, *bundle.network.outputs)
        )
        check_fit(board, bundle.sources.constant_bytes, bundle.plan.arena_bytes + ports)
        write_bundle(bundle, request.folder, request.samples)
        flash, warnings = None, []
        if cores.missing(replace(core, emulator=())):
            warnings.append(f"{core.compiler} is not installed: the size of the code is not known")
        else:
            flash = cores.flash_bytes(core, request.folder)
            check_fit(board, flash, bundle.plan.arena_bytes + ports)
        return _report(bundle, board.name, core.name, flash, tuple(warnings))

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


def _report(
    bundle: Bundle, target: str, core: str, flash: int | None, warnings: tuple[str, ...]
) -> BundleReport:
    return BundleReport(
        bundle.name,
        target,
        core,
        bundle.plan.arena_bytes,
        bundle.plan.packing.bound,
        bundle.sources.constant_bytes,
        flash,
        tuple(OperatorCount(name, kind) for name, kind in bundle.sources.steps),
        warnings,
    )


BUNDLES = CBundles()
