"""Processor cores that bundles are built for, and how each runs here: natively or under QEMU.

Instructions are those that QEMU executes, counted one by one; they are not cycles.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

from compiler_core.clock.statistics import Interval, median_interval
from compiler_core.errors import CheckError, InputError, MissingDependencyError
from compiler_core.files.nearest import did_you_mean
from compiler_core.units.cpu.c.library.archive import needed_by

FLAGS = ("-std=c99", "-ffp-contract=off")
_PACKAGE = "compiler_core.units.cpu.c"
_MODEL = ("model.c", "weights.c")


@dataclass(frozen=True)
class Core:
    """A core.

    Attributes:
        name: Of the target.
        compiler: Command.
        flags: What chooses the core.
        board: Files of the folder ``boards`` that are compiled along.
        link: Further flags of the linker.
        emulator: Command before the program; empty for this machine.
        tick: Instructions of one tick of the counter; 0 where nothing counts.
        cycles_per_instruction: Assumed of a usual mix of instructions, without wait states, where
            classes are not counted.
        samples: File of the folder ``boards`` that reads and writes samples.
        package: Debian packages that bring what is needed.
    """

    name: str
    compiler: str
    flags: tuple[str, ...] = ()
    board: tuple[str, ...] = ()
    link: tuple[str, ...] = ()
    emulator: tuple[str, ...] = ()
    tick: float = 0.0
    cycles_per_instruction: float = 1.0
    package: str = "gcc libc6-dev"
    samples: str = "io_native.c"

    @property
    def commands(self) -> tuple[str, ...]:
        """Programs that have to be installed."""
        return (self.compiler, *self.emulator[:1])


_NEAR = {
    "CODE_BASE": "0",
    "CODE_SIZE": "0x400000",
    "RAM_BASE": "0x20000000",
    "RAM_SIZE": "0x400000",
    "CONST_BASE": "0x21000000",
    "CONST_SIZE": "0x1000000",
}
_OUTSIDE = _NEAR | {"CONST_BASE": "0x60000000"}
_FAR = _OUTSIDE | {
    "CODE_SIZE": "0x80000",
    "RAM_BASE": "0x21000000",
    "CONST_SIZE": "0x10000000",
}
"""Memories near the core are small: constants and data lie in the large ones."""
_SECURE = _NEAR | {
    "CODE_BASE": "0x10000000",
    "RAM_BASE": "0x38000000",
    "CONST_BASE": "0x80000000",
}
"""Where the secure side, in which the core starts, sees its memories."""


def _arm(
    name: str, machine: str, tick: float, cycles: float, sizes: Mapping[str, str], *flags: str
) -> Core:
    return Core(
        name,
        "arm-none-eabi-gcc",
        (f"-mcpu={name}", "-mthumb", *flags, "-ffunction-sections", "-fdata-sections"),
        ("arm.c",),
        (
            "-nostartfiles",
            "--specs=rdimon.specs",
            "-Wl,--gc-sections",
            "-Tarm.ld",
            *(f"-Wl,--defsym={key}={value}" for key, value in sizes.items()),
        ),
        (
            "qemu-system-arm",
            *("-M", machine, "-display", "none", "-monitor", "none", "-serial", "null"),
            *("-semihosting-config", "enable=on,target=native", "-icount", "shift=0"),
            "-kernel",
        ),
        tick,
        cycles,
        "gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm",
        "io_files.c",
    )


CORES = {
    core.name: core
    for core in (
        Core("c99", "cc"),
        _arm("cortex-m4", "mps2-an386", 40.0, 1.3, _NEAR, "-mfpu=fpv4-sp-d16", "-mfloat-abi=hard"),
        _arm(
            "cortex-m7", "mps2-an500", 40.0, 0.8, _OUTSIDE, "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"
        ),
        _arm(
            "cortex-m33", "mps2-an505", 50.0, 1.3, _SECURE, "-mfpu=fpv5-sp-d16", "-mfloat-abi=hard"
        ),
        _arm("cortex-m55", "mps3-an547", 31.25, 1.5, _FAR, "-mfloat-abi=hard"),
        Core(
            "rv32imc",
            "riscv64-unknown-elf-gcc",
            ("-march=rv32imc", "-mabi=ilp32", "-DSELFTEST_QUIET", "-ffreestanding"),
            ("riscv.c",),
            ("-nostdlib", "-static", "-lgcc"),
            ("qemu-riscv32",),
            package="gcc-riscv64-unknown-elf qemu-user",
            samples="io_calls.c",
        ),
        Core(
            "aarch64",
            "aarch64-linux-gnu-gcc",
            (),
            (),
            ("-static",),
            ("qemu-aarch64",),
            package="gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user",
        ),
    )
}
"""By name."""


def core_of(name: str) -> Core:
    """A core by name.

    Raises:
        InputError: There is none.
    """
    if name not in CORES:
        raise InputError(
            f"core {name!r} is not known; known are {', '.join(CORES)}",
            hint=did_you_mean(name, tuple(CORES)),
        )
    return CORES[name]


def missing(core: Core) -> tuple[str, ...]:
    """Programs of a core that are not installed."""
    return tuple(command for command in core.commands if shutil.which(command) is None)


def how_to_install(core: Core) -> str:
    """The command that brings the programs of a core, on Debian."""
    return f"apt-get install --no-install-recommends {core.package}"


def build(
    core: Core,
    folder: Path,
    program: Path,
    optimization: str = "-O3",
    *,
    main: str,
    sources: Sequence[str] = _MODEL,
    **defines: str,
) -> None:
    """Compiles a bundle.

    Args:
        core: For which.
        folder: Of the bundle.
        program: What is written.
        optimization: Of the compiler.
        main: File of the bundle with ``main``.
        sources: The other files of the bundle.
        **defines: Further C files and headers: ``extra`` is compiled along, ``before`` is included
            before everything.

    Raises:
        MissingDependencyError: The compiler is not installed.
        CheckError: It refuses the sources.
    """
    lacking = missing(core)
    if lacking:
        raise MissingDependencyError(
            f"core {core.name}: {' and '.join(lacking)} not found",
            hint=how_to_install(core),
        )
    with as_file(files(_PACKAGE) / "boards") as boards:
        files_of = [str(folder / name) for name in (main, *sources)]
        around = [str(boards / name) for name in core.board]
        if "extra" in defines:
            around.append(str(boards / defines["extra"]))
        before = ["-include", str(boards / defines["before"])] if "before" in defines else []
        link = [text.replace("-Tarm.ld", f"-T{boards / 'arm.ld'}") for text in core.link]
        more = needed_by(folder, core.compiler, core.flags)
        command = [core.compiler, *core.flags, *FLAGS, optimization, *before, f"-I{folder}"]
        command += more.headers
        made = subprocess.run(
            [*command, *files_of, *more.archives, *around, *link, "-o", str(program)],
            capture_output=True,
            text=True,
        )
    if made.returncode:
        line = next((text for text in made.stderr.splitlines() if "error" in text), made.stderr)
        raise CheckError(f"core {core.name}: {core.compiler} refuses the sources: {line.strip()}")


def run(core: Core, program: Path, timeout_s: float = 600.0) -> subprocess.CompletedProcess[str]:
    """Runs a program on this machine or under QEMU; its output and status.

    Raises:
        CheckError: It does not end in time.
    """
    try:
        return subprocess.run(
            [*core.emulator, str(program)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckError(f"core {core.name}: the program runs longer than {timeout_s} s") from error


def flash_bytes(core: Core, folder: Path, optimization: str = "-O3") -> int:
    """Code and constants of a bundle as compiled for a core, without the compiler's library.

    Raises:
        CheckError: The compiler refuses the sources.
    """
    with tempfile.TemporaryDirectory() as scratch:
        return objects_bytes(core, compiled(core, folder, Path(scratch), optimization))


def compiled(core: Core, folder: Path, into: Path, optimization: str = "-O3") -> list[Path]:
    """Object files of a bundle's sources.

    Args:
        core: For which.
        folder: Of the bundle.
        into: Folder that they are written to.
        optimization: Of the compiler.

    Raises:
        CheckError: The compiler refuses the sources.
    """
    found: list[Path] = []
    more = needed_by(folder, core.compiler, core.flags)
    for name in _MODEL:
        result = into / f"{name}.o"
        command = [core.compiler, *core.flags, *FLAGS, optimization, *more.headers, "-c"]
        made = subprocess.run(
            [*command, str(folder / name), "-o", str(result)], capture_output=True, text=True
        )
        if made.returncode:
            raise CheckError(f"core {core.name}: {core.compiler} refuses {name}")
        found.append(result)
    if more.archives:  # what the model calls of them is its code, too
        called = into / "called.o"
        command = [core.compiler, *core.flags, "-r", "-nostdlib", *map(str, found), *more.archives]
        subprocess.run([*command, "-o", str(called)], check=True, capture_output=True)
        found = [called]
    return found


def objects_bytes(core: Core, objects: Sequence[Path]) -> int:
    """Code and constants of object files."""
    sizer, total = re.sub(r"(gcc|cc)$", "size", core.compiler), 0
    for path in objects:
        shown = subprocess.run([sizer, str(path)], capture_output=True, text=True)
        numbers = shown.stdout.splitlines()[1].split()
        total += int(numbers[0]) + int(numbers[1])
    return total


def check(core: Core, folder: Path, program: Path, optimization: str = "-O3") -> str:
    """Builds and runs a bundle's self test; what it says.

    Raises:
        MissingDependencyError: See :func:`build`.
        CheckError: A bit differs, or the program does not end as it should.
    """
    build(core, folder, program, optimization, main="selftest.c")
    ended = run(core, program)
    if ended.returncode:
        said = " ".join((ended.stdout + ended.stderr).split()) or "it says nothing"
        raise CheckError(
            f"core {core.name}: the self test ends with status {ended.returncode}: {said}"
        )
    return ended.stdout.strip() or "all samples equal"


def count(
    core: Core, folder: Path, program: Path, steps: int, optimization: str = "-O3"
) -> Sequence[float]:
    """Instructions of every operator, as QEMU executes them.

    Args:
        core: With a counter.
        folder: Of a bundle with ``count.c``.
        program: What is written.
        steps: Operators of the bundle.
        optimization: Of the compiler.

    Returns:
        Per operator; exact to a tick of the core.

    Raises:
        InputError: Nothing counts on this core.
        MissingDependencyError, CheckError: See :func:`check`.
    """
    if not core.tick:
        raise InputError(f"core {core.name}: nothing counts instructions there")
    ticks = _reported(core, folder, program, steps, optimization, "arm_count.c")
    return [numbers[0] * core.tick for numbers in ticks]


def times_ns(
    folder: Path, program: Path, steps: int, optimization: str = "-O3"
) -> Sequence[Interval]:
    """Nanoseconds of every operator on this machine by the clock, each the median of 31 runs of the
    whole network after five that are not told, with its interval.

    Args:
        folder: Of a bundle with ``count.c``.
        program: What is written.
        steps: Operators of the bundle.
        optimization: Of the compiler.

    Raises:
        MissingDependencyError, CheckError: See :func:`check`.
    """
    told = _reported(CORES["c99"], folder, program, steps, optimization, "clock_count.c")
    return [median_interval(samples) for samples in told]


def _reported(
    core: Core, folder: Path, program: Path, steps: int, optimization: str, counter: str
) -> list[list[int]]:
    """What a counter of the folder ``boards`` says of every operator, run by run."""
    build_counting(core, folder, program, optimization, counter)
    return reported(core, run(core, program), steps)


def build_counting(
    core: Core,
    folder: Path,
    program: Path,
    optimization: str = "-O3",
    counter: str = "arm_count.c",
) -> None:
    """Compiles a bundle whose operators report to a counter of the folder ``boards``.

    Raises:
        MissingDependencyError, CheckError: See :func:`build`.
    """
    extras = {"extra": counter, "before": "steps.h"}
    build(core, folder, program, optimization, main="count.c", **extras)


def reported(core: Core, ended: subprocess.CompletedProcess[str], steps: int) -> list[list[int]]:
    """What a counter said of every operator, run by run, in its unit.

    Raises:
        CheckError: The program did not end as it should.
    """
    found = dict(re.findall(r"step (\d+)((?: \d+)+)", ended.stdout))
    if ended.returncode or len(found) != steps:
        raise CheckError(f"core {core.name}: the count ends with status {ended.returncode}")
    return [[int(word) for word in found[str(step)].split()] for step in range(steps)]


def feed(core: Core, program: Path, samples: bytes, timeout_s: float = 3600.0) -> bytes:
    """Runs a program built from ``batch.c`` on samples; what it writes.

    Args:
        core: Whose program it is.
        program: In a folder that may be written.
        samples: Inputs of all samples, one after another.
        timeout_s: In seconds.

    Raises:
        CheckError: It does not end as it should.
    """
    folder = program.parent
    inputs, outputs = folder / "inputs.bin", folder / "outputs.bin"
    inputs.write_bytes(samples)
    outputs.write_bytes(b"")
    piped = core.samples != "io_files.c"
    try:
        with inputs.open("rb") as stdin, outputs.open("wb" if piped else "rb") as stdout:
            ended = subprocess.run(
                [*core.emulator, str(program)],
                stdin=stdin if piped else subprocess.DEVNULL,
                stdout=stdout if piped else subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                cwd=folder,
                timeout=timeout_s,
            )
    except subprocess.TimeoutExpired as error:
        raise CheckError(f"core {core.name}: the program runs longer than {timeout_s} s") from error
    if ended.returncode:
        said = " ".join(ended.stderr.decode(errors="replace").split()) or "it says nothing"
        raise CheckError(f"core {core.name}: the program ends with {ended.returncode}: {said}")
    return outputs.read_bytes()
