"""The machine of kernels: a core, and the programs that build and count for it."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass, field
from functools import lru_cache

from compiler_core.errors import InputError, MissingDependencyError
from compiler_core.files.nearest import did_you_mean
from compiler_core.files.plain import ONLY_WHERE_OTHER
from compiler_core.tensor.digest import digest
from compiler_core.units.cpu.c.bundles import cores
from compiler_core.units.cpu.c.bundles.targets import Board
from compiler_core.units.cpu.c.schedules.library import LIBRARY_UNITS

KIND = "cpu"
HERE = "c99"
"""This machine."""
UNIT_NAME = "core"
"""What the core is called among the units of a target."""

UNKNOWN_CLOCK_HZ = 1e6
"""Of a target that states none: shares of time do not depend on it."""


@dataclass(frozen=True)
class KernelMachine:
    """What runs and counts kernels.

    Attributes:
        core: Of :data:`~compiler_core.units.cpu.c.bundles.cores.CORES`, with a counter.
        clock_hz: Of the target.
        tools: What compiler and emulator say of themselves: their versions are part of every count.
        kind: Of the unit.
        library: Which CMSIS-NN kernels may be of; empty for none.
    """

    core: str
    clock_hz: float
    tools: str
    kind: str = KIND
    library: str = field(default="", metadata={ONLY_WHERE_OTHER: True})

    @property
    def digest(self) -> str:
        """Key of what counts depend on: no clock."""
        return digest((self.core, self.tools, *((self.library,) if self.library else ())))


def kernel_machine(board: Board) -> KernelMachine:
    """The machine of a target's core.

    Raises:
        InputError: Nothing counts instructions there.
        MissingDependencyError: Compiler or emulator are not installed.
    """
    core = cores.core_of(board.core)
    if not core.tick:
        counted = tuple(name for name, known in cores.CORES.items() if known.tick)
        raise InputError(
            f"target {board.name}: nothing counts instructions on core {core.name}, so that its "
            "kernels cannot be tuned as tasks",
            hint=f"cores that are counted: {', '.join(counted)}",
        )
    clock, tools = board.clock_hz or UNKNOWN_CLOCK_HZ, tools_of(core, board.name)
    return KernelMachine(core.name, clock, tools, library=board.library)


def tools_of(core: cores.Core, target: str) -> str:
    """What the programs that build, and count where a core is counted, say of themselves.

    Raises:
        MissingDependencyError: One is not installed.
    """
    needed = core.commands if core.tick else core.commands[:1]
    lacking = [command for command in needed if shutil.which(command) is None]
    if lacking:
        raise MissingDependencyError(
            f"target {target}: every layer is built and measured, and "
            f"{' and '.join(lacking)} cannot be found",
            hint=f"apt-get install --no-install-recommends {core.package}"
            + (
                ""
                if core.name == HERE
                else f"; a study can be for --target {HERE}, too, which any C compiler does"
            ),
        )
    return "; ".join(_version(shutil.which(command) or command) for command in needed)


@lru_cache(maxsize=32)
def _version(command: str) -> str:
    said = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    return (said.stdout or said.stderr or command).splitlines()[0]


def check_machine(machine: KernelMachine, where: str) -> KernelMachine:
    """Refuses a machine that cannot be.

    Raises:
        InputError: Its core is not known, or not counted.
    """
    counted = [name for name, known in cores.CORES.items() if known.tick]
    if machine.core not in counted:
        raise InputError(
            f"{where}: core {machine.core!r} is not counted; those that are: {', '.join(counted)}",
            hint=did_you_mean(machine.core, counted),
        )
    if machine.library and machine.core not in LIBRARY_UNITS:
        raise InputError(f"{where}: {machine.library} has no kernels for core {machine.core!r}")
    if machine.kind != KIND or not 0 < machine.clock_hz < float("inf"):
        raise InputError(f"{where}: kind {machine.kind!r} at {machine.clock_hz} Hz is no core")
    return machine
