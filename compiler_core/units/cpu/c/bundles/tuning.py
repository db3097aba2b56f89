"""Kernels chosen by measurement: every legal schedule of every operator, counted by an emulator.

Counts of an operator do not depend on the others' schedules, so that one program counts one choice
of all operators at once: the whole space takes as many programs as an operator has choices.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from compiler_core.units.cpu.c.bundles.bundle import scheduled_bundle, write_sources_of
from compiler_core.units.cpu.c.bundles.cores import Core, count
from compiler_core.units.cpu.c.network import Network
from compiler_core.units.cpu.c.operators.moves import View
from compiler_core.units.cpu.c.schedules.legality import legal_kernels
from compiler_core.units.cpu.c.schedules.schedule import KernelSchedule


def tuned(
    network: Network, name: str, core: Core, *, library: bool = False
) -> dict[str, KernelSchedule]:
    """The schedule of fewest instructions per operator, by the value that it writes.

    Of equal ones the first of :func:`~.legality.legal_kernels` stays; with ``library`` those of
    CMSIS-NN are among them.

    Raises:
        InputError: Nothing counts on this core.
        MissingDependencyError: Compiler or emulator are not installed.
        CheckError: A program cannot be built or run.
    """
    legal = {
        item.output: legal_kernels(network, item, core.name, library=library)
        for item in network.operators
    }
    best: dict[str, tuple[float, KernelSchedule]] = {}
    for position in range(max(map(len, legal.values()), default=1)):
        chosen = {key: found[min(position, len(found) - 1)] for key, found in legal.items()}
        for output, number in _counts(network, name, core, chosen).items():
            if output not in best or number < best[output][0]:
                best[output] = number, chosen[output]
    return {output: schedule for output, (_, schedule) in best.items()}


def _counts(
    network: Network, name: str, core: Core, schedules: dict[str, KernelSchedule]
) -> dict[str, float]:
    """Instructions by the value that an operator writes."""
    bundle = scheduled_bundle(network, name, schedules)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        write_sources_of(bundle, folder)
        found = count(core, folder, folder / "program", len(bundle.sources.steps))
    running = [item.output for item in bundle.plan.order if not isinstance(item, View)]
    return dict(zip(running, found, strict=True))
