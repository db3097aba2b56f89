"""One command of the tool in a child process that can do no harm: memory, time and files bounded.

The child is a fork of a process that has everything imported, so a case costs milliseconds. CPU
time is what a hang is judged by: how busy the machine is does not change it.
"""

from __future__ import annotations

import os
import resource
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

CPU_SECONDS_MAX = 10
WALL_SECONDS_MAX = 600
"""Ends what waits for ever; so long that a busy machine is not taken for that."""

GROWTH_BYTES_MAX = 1 << 30
"""What a command may take beside what the process holds and the size of its files."""

_ADDRESS_SPACE_MARGIN = 3 << 30
_FILE_BYTES_MAX = 256 << 20
ALLOWED_CODES = frozenset({0, 1, 2, 3, 4, 5})


class Verdict(Enum):
    """What became of a case."""

    FINE = "fine"
    INTERNAL = "internal error"
    CRASH = "killed by a signal"
    SLOW = "too slow"
    LARGE = "too much memory"
    CODE = "exit code outside the contract"
    RAW = "control characters in the output"


@dataclass(frozen=True)
class Outcome:
    """What a command did.

    Attributes:
        verdict: Whether it kept the contract.
        code: Exit code; minus the signal where one ended it.
        cpu_s: CPU time.
        growth_bytes: Peak of resident memory above that before it began.
        output: The end of what it printed, both streams.
    """

    verdict: Verdict
    code: int
    cpu_s: float
    growth_bytes: int
    output: str


def run_case(
    command: Callable[[Sequence[str]], int],
    arguments: Sequence[str],
    folder: Path,
    *,
    input_bytes: int,
    start_s: float = 0,
) -> Outcome:
    """Runs ``command(arguments)`` in ``folder`` in a child of its own.

    Args:
        command: Returns the exit code, ends the process, or makes another program of it.
        arguments: For it.
        folder: To work in.
        input_bytes: Size of its files, which memory may hold beside the bound.
        start_s: CPU time that it may take beside the bound.
    """
    log = folder / "output.log"
    before = _resident_bytes()
    child = os.fork()
    if child == 0:
        _child(command, arguments, folder, log, CPU_SECONDS_MAX + int(start_s))
    status, usage = _wait(child)
    code = os.waitstatus_to_exitcode(status)
    cpu = usage.ru_utime + usage.ru_stime
    growth = max(0, usage.ru_maxrss * 1024 - before)
    raw = log.read_bytes() if log.exists() else b""
    text = raw[-6000:].decode("utf-8", "replace")
    verdict = _verdict(code, cpu - start_s, growth, input_bytes, raw)
    return Outcome(verdict, code, cpu, growth, text)


def _verdict(code: int, cpu: float, growth: int, input_bytes: int, raw: bytes) -> Verdict:
    if code in (-signal.SIGXCPU, -signal.SIGKILL) or cpu >= CPU_SECONDS_MAX:
        return Verdict.SLOW
    if code == 70:
        return Verdict.INTERNAL
    if code < 0:
        return Verdict.CRASH
    if code not in ALLOWED_CODES:
        return Verdict.CODE
    if growth > GROWTH_BYTES_MAX + 4 * input_bytes:
        return Verdict.LARGE
    if any(byte < 32 and byte not in b"\n\t" for byte in raw) or b"\x7f" in raw:
        return Verdict.RAW
    return Verdict.FINE


def _child(
    command: Callable[[Sequence[str]], int],
    arguments: Sequence[str],
    folder: Path,
    log: Path,
    seconds: int,
) -> None:
    code = 99
    try:
        os.setsid()
        os.chdir(folder)
        stream = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(stream, 1)
        os.dup2(stream, 2)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        space = used + _ADDRESS_SPACE_MARGIN
        resource.setrlimit(resource.RLIMIT_AS, (space, space))
        resource.setrlimit(resource.RLIMIT_FSIZE, (_FILE_BYTES_MAX, _FILE_BYTES_MAX))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 5))
        code = command(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)


def _wait(child: int) -> tuple[int, resource.struct_rusage]:
    end = time.monotonic() + WALL_SECONDS_MAX
    pause = 0.001
    while time.monotonic() < end:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            return status, usage
        time.sleep(pause)
        pause = min(pause * 1.3, 0.05)
    os.killpg(child, signal.SIGKILL)
    _, status, usage = os.wait4(child, 0)
    return status, usage


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
