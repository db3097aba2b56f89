"""C99 for microcontrollers: the CPU's facet of :mod:`compiler_core.units.facets.bundles`."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from compiler_core.errors import CheckError, InputError
from compiler_core.files.plain import to_plain
from compiler_core.files.toml_file import read_toml
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import (
    Bundle,
    default_scratch,
    scheduled_bundle,
    write_bundle,
    write_document,
)
from compiler_core.units.cpu.c.bundles.by_clock import time_programs
from compiler_core.units.cpu.c.bundles.package import (
    CONFIGURATION,
    DOCUMENT,
    SCHEMA,
    SOURCE,
    Decisions,
    OpenPackage,
    decisions_of,
    digests,
    package_files,
    read_configuration,
)
from compiler_core.units.cpu.c.bundles.targets import (
    BOARD_SCHEMA,
    CPU_KIND,
    Board,
    board_file,
    bundled_boards,
    check_fit,
    load_board,
)
from compiler_core.units.cpu.c.bundles.tuning import tuned
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.convert.options import Options
from compiler_core.units.cpu.c.driven.bundle import Compute, write_driven
from compiler_core.units.cpu.c.emit.text import identifier
from compiler_core.units.cpu.c.network import Array
from compiler_core.units.cpu.c.operators.moves import View
from compiler_core.units.cpu.c.plan.patch_choices import LEAST, patch_choices
from compiler_core.units.cpu.c.plan.patches import Patches, read_patches
from compiler_core.units.cpu.c.schedules.schedule import choices
from compiler_core.units.facets.bundles import (
    ArenaUse,
    BundleReport,
    BundleRequest,
    BundleTarget,
    DrivenReport,
    OperatorCount,
)
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
            return read_toml(path).get("schema") == SCHEMA
        except InputError:
            return False

    def is_package(self, folder: Path) -> bool:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        return all((folder / name).is_file() for name in (DOCUMENT, CONFIGURATION, SOURCE))

    def open(self, folder: Path) -> OpenPackage:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        return OpenPackage(folder)

    def write(self, request: BundleRequest) -> BundleReport:
        """See :class:`compiler_core.units.facets.bundles.Bundles`."""
        decisions = self._decisions(request)
        board, core = decisions.target, cores.core_of(decisions.target.core)
        network = to_network(request.graph, decisions.statistics(), decisions.options())
        kernels = decisions.kernels_of(network)
        if request.configuration is None:
            legal = {item.output: choices(item, core.name)[0] for item in network.operators}
            if request.tune:
                kernels = tuned(network, decisions.name, core, library=bool(board.library))
            else:
                kernels = legal
        bundle = scheduled_bundle(network, decisions.name, kernels)
        report = _report(bundle, board, core.name)
        check_fit(board, report.constant_bytes, report.ram_peak_bytes)
        more: dict[str, bytes] = {}
        if request.source:
            more = package_files(request.graph, decisions.with_kernels(kernels))
        written = write_bundle(bundle, request.folder, request.samples, more)
        if cores.missing(replace(core, emulator=())):
            text = f"{core.compiler} is not installed: the size of the code is not known"
            report = replace(report, warnings=(text,))
        else:
            report = replace(report, flash_bytes=cores.flash_bytes(core, request.folder))
            check_fit(board, report.flash_bytes or 0, report.ram_peak_bytes)
        if request.source:
            written.pop(DOCUMENT)
            more_keys = {"report": to_plain(report), "files": digests(written)}
            write_document(bundle, request.folder, more_keys)
        return report

    def _decisions(self, request: BundleRequest) -> Decisions:
        """What a request asks for, without kernels where nobody has chosen them."""
        if request.configuration is not None:
            return read_configuration(request.configuration, request.source)
        options = Options(
            precision=request.precision,
            weight_bits=dict.fromkeys(request.int4_layers, 4),
            int16_layers=frozenset(request.int16_layers),
            float_layers=frozenset(request.float_layers),
            float_ports=request.float_ports,
            channels_last=not request.model_layout,
        )
        if request.patches:
            options = replace(options, patches=_patches(request, options))
        name = identifier(request.model) if request.name is None else request.name
        model = (request.model, request.source)
        return decisions_of(name, model, load_board(request.target), options, request.ranges)

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
        whole = time_programs({report.name: folder})
        return replace(
            report,
            operators=timed,
            latency_us=whole.latency_us(report.name),
            warnings=(*report.warnings, *whole.warnings),
        )


def _patches(request: BundleRequest, options: Options) -> Patches | None:
    """The patches that a request asks for.

    Raises:
        InputError: The text says none.
    """
    if request.patches == LEAST:
        network = to_network(request.graph, request.ranges, options)
        found = patch_choices(network, default_scratch(load_board(request.target).core), 1)
        return found[0].patches if found else None
    return read_patches(request.patches)


def _report(bundle: Bundle, board: Board, core: str) -> BundleReport:
    network = bundle.network
    ports = (*network.inputs, *network.outputs)
    return BundleReport(
        bundle.name,
        board.name,
        core,
        bundle.plan.arena_bytes,
        bundle.plan.packing.bound,
        bundle.sources.constant_bytes,
        None,
        tuple(OperatorCount(name, kind) for name, kind in bundle.sources.steps),
        sum(network.values[name].size_bytes for name in ports),
        tuple(_arena(bundle)),
        board.flash_bytes,
        board.ram_bytes,
    )


def _arena(bundle: Bundle) -> Iterator[ArenaUse]:
    """Buffers of the arena by the operators that run: views, which do nothing, are none."""
    plan, values = bundle.plan, bundle.network.values
    number, running = 0, []
    for operator in plan.order:
        running.append(number)
        number += not isinstance(operator, View)
    most = max(0, number - 1)
    for item in plan.live:
        known = values.get(item.name)
        first, last = (running[min(step, len(running) - 1)] for step in (item.first, item.last))
        yield ArenaUse(
            "scratch" if known is None else known.source,
            plan.packing.offsets[item.name],
            item.size,
            min(first, most),
            min(last, most),
        )


BUNDLES = CBundles()
