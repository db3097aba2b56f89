"""A bundle of C99 from a request: its decisions, its sources, what it is said to need."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from compiler_core.files.plain import to_plain
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.bundle import (
    Bundle,
    default_scratch,
    scheduled_bundle,
    write_bundle,
    write_document,
)
from compiler_core.units.cpu.c.bundles.package import (
    Decisions,
    decisions_of,
    digests,
    package_files,
    read_configuration,
)
from compiler_core.units.cpu.c.bundles.package_names import DOCUMENT
from compiler_core.units.cpu.c.bundles.targets import Board, check_fit, load_board
from compiler_core.units.cpu.c.bundles.tuning import tuned
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.convert.options import Options
from compiler_core.units.cpu.c.emit.text import identifier
from compiler_core.units.cpu.c.operators.moves import View
from compiler_core.units.cpu.c.plan.patch_choices import LEAST, patch_choices
from compiler_core.units.cpu.c.plan.patches import Patches, read_patches
from compiler_core.units.cpu.c.schedules.schedule import choices_in
from compiler_core.units.facets.bundles import (
    ArenaUse,
    BundleReport,
    BundleRequest,
    OperatorCount,
)


def write(request: BundleRequest) -> BundleReport:
    """Writes a bundle; see :meth:`compiler_core.units.facets.bundles.Bundles.write`."""
    decisions = _decisions(request)
    board, core = decisions.target, cores.core_of(decisions.target.core)
    network = to_network(request.graph, decisions.statistics(), decisions.options())
    kernels = decisions.kernels_of(network)
    if request.configuration is None:
        legal = {item.output: choices_in(network, item, core.name)[0] for item in network.operators}
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


def _decisions(request: BundleRequest) -> Decisions:
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
