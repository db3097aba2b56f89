"""Executed instructions by class, counted by a plugin of QEMU, and what cycles follow from them.

Counts are exact; cycles are extrapolated: each class is weighted by what the documentation of the
core says of memory without wait states. Caches, buses and pairing are not known.
"""

from __future__ import annotations

import atexit
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path

from compiler_core.errors import CheckError
from compiler_core.sums import float_sum
from compiler_core.units.cpu.c.bundles import cores

_PACKAGE = "compiler_core.units.cpu.c"
_PLUGIN = "qemu_classes.c"
_COMPILER = "cc"
_OF_COUNTERS = ("nt_begin", "nt_step", "nt_again", "nt_report")

_SCALAR = {
    "load": 2.0,
    "store": 1.0,
    "multiply": 1.0,
    "divide": 7.0,
    "branch": 2.5,
    "float": 2.0,
    "vector": 1.0,
    "other": 1.0,
}
"""Cortex-M4 and M33: loads take two cycles, behind one another one; a taken branch two to four, one
that is not taken one; divisions two to twelve."""

CYCLES: Mapping[str, Mapping[str, float]] = {
    "cortex-m4": _SCALAR,
    "cortex-m33": _SCALAR | {"branch": 2.0},
    "cortex-m7": _SCALAR
    | {"load": 1.0, "store": 1.0, "branch": 1.0, "float": 1.0, "other": 0.6, "multiply": 1.0},
    "cortex-m55": _SCALAR | {"load": 1.0, "branch": 1.5, "float": 1.0, "vector": 2.0},
}
"""Cycles by class of instruction. Cortex-M7 issues two at a time and predicts branches; the M55's
vectors take two beats of two lanes, loops have no branch."""


@dataclass(frozen=True)
class InstructionMix:
    """What the operators of a model execute.

    Attributes:
        core: Which executes them.
        counts: Instructions by class.
    """

    core: str
    counts: Mapping[str, int]

    @property
    def instructions(self) -> int:
        """All of them."""
        return sum(self.counts.values())

    @property
    def cycles_per_instruction(self) -> float:
        """Extrapolated; what is assumed of the core where nothing was executed."""
        if not self.instructions:
            return cores.core_of(self.core).cycles_per_instruction
        weights = CYCLES[self.core]
        cycles = float_sum(n * weights[name] for name, n in self.counts.items())
        return cycles / self.instructions


@lru_cache(maxsize=1)
def plugin() -> Path | None:
    """The plugin, built for this machine; ``None`` where no compiler can."""
    if shutil.which(_COMPILER) is None:
        return None
    folder = tempfile.TemporaryDirectory(prefix="nest-tune-plugin-")
    atexit.register(folder.cleanup)
    found = Path(folder.name) / "qemu_classes.so"
    with as_file(files(_PACKAGE) / "boards" / _PLUGIN) as source:
        flags = ("-std=c99", "-O2", "-shared", "-fPIC")
        made = subprocess.run(
            [_COMPILER, *flags, str(source), "-o", str(found)], capture_output=True, check=False
        )
    return found if made.returncode == 0 else None


@lru_cache(maxsize=8)
def counts_classes(name: str) -> bool:
    """Whether classes are counted on a core: its emulator takes plugins, and one can be built."""
    core = cores.core_of(name)
    if name not in CYCLES or cores.missing(core) or plugin() is None:
        return False
    said = subprocess.run([core.emulator[0], "--help"], capture_output=True, text=True, check=False)
    return "-plugin" in said.stdout


@dataclass(frozen=True)
class WholeCount:
    """What one run of a bundle executes.

    Attributes:
        instructions: Of all operators, as :func:`~compiler_core.units.cpu.c.bundles.cores.count`
            counts them.
        mix: Its classes; ``None`` where the emulator does not count them.
    """

    instructions: float
    mix: InstructionMix | None


def count_whole(core: cores.Core, folder: Path, program: Path, steps: int) -> WholeCount:
    """Counts what the operators of a bundle execute in one run, beside one another.

    Args:
        core: With a counter.
        folder: Of a bundle with ``count.c``.
        program: What is written.
        steps: Operators of the bundle.

    Raises:
        MissingDependencyError: Compiler or emulator are not installed.
        CheckError: The program cannot be built, or the emulated board does not hold it.
    """
    cores.build_counting(core, folder, program)
    built = plugin() if counts_classes(core.name) else None
    if built is not None:
        begin, end = _code(core, program)
        *before, kernel = core.emulator
        emulator = (*before, "-plugin", f"{built},range={begin:x}-{end:x}", kernel)
        ended = cores.run(replace(core, emulator=emulator), program)
        found = {name: int(number) for name, number in _CLASS.findall(ended.stderr)}
        if ended.returncode == 0 and set(found) == set(CYCLES[core.name]):
            ticks = cores.reported(core, ended, steps)
            return WholeCount(
                sum(numbers[0] for numbers in ticks) * core.tick, InstructionMix(core.name, found)
            )
    ticks = cores.reported(core, cores.run(core, program), steps)  # without the plugin
    return WholeCount(sum(numbers[0] for numbers in ticks) * core.tick, None)


_CLASS = re.compile(r"^class (\w+) (\d+)$", re.MULTILINE)
_SYMBOL = re.compile(r"^([0-9a-f]+) ([0-9a-f]+) [tT] (nt_\w+|arm_\w+|\w+_run)$", re.MULTILINE)


def _code(core: cores.Core, program: Path) -> tuple[int, int]:
    """Addresses of the functions of a model in a program, which lie together."""
    reader = re.sub(r"gcc$", "nm", core.compiler)
    said = subprocess.run(
        [reader, "-S", "--defined-only", str(program)], capture_output=True, text=True, check=False
    )
    own = [
        (int(at, 16), int(at, 16) + int(size, 16))
        for at, size, name in _SYMBOL.findall(said.stdout)
        if name not in _OF_COUNTERS
    ]
    if not own:
        raise CheckError(f"core {core.name}: {reader} finds no functions of the model")
    return min(begin for begin, _ in own), max(end for _, end in own)
