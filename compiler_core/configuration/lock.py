"""What a lock file holds beside its configuration: where it came from and what was measured.

A lock is about one compile, so the final package does not carry it: the same configuration compiles
to the same bytes wherever the model lies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from compiler_core.clock.machine import ClockMachine
from compiler_core.files.counts import require_counts
from compiler_core.files.plain import ONLY_WHERE_OTHER, from_plain


@dataclass(frozen=True)
class LockedLayer:
    """One step of execution as it was compiled and timed.

    Attributes:
        unit, operator: See :class:`~compiler_core.executable.report.LayerReport`.
        cycles: NPU clock cycles; 0 on the CPU.
        latency_ms, energy_mj: Of this step.
        instructions: Of its program.
        dram_bytes: That the program moves.
        task: Id of its task; empty on the CPU.
        schedule: Digest of its schedule; empty on the CPU.
        program: SHA-256 of its instructions, in a program of several layers, too; empty on the CPU.
    """

    unit: str
    operator: str
    cycles: int = 0
    latency_ms: float = 0.0
    energy_mj: float = 0.0
    instructions: int = 0
    dram_bytes: int = 0
    task: str = ""
    schedule: str = ""
    program: str = ""


@dataclass(frozen=True)
class LockedClock:
    """Repeats by the clock, which a check tests new ones against.

    Attributes:
        machine: Where.
        samples_ms, float_samples_ms: Of the model, and of its float model in the same rounds.
    """

    machine: ClockMachine
    samples_ms: tuple[float, ...]
    float_samples_ms: tuple[float, ...]


@dataclass(frozen=True)
class Lock:
    """A compile taken down.

    Attributes:
        model: Path of the ONNX file, relative to the lock file, with ``/``.
        target: Name, or path of a ``.toml`` file like ``model``.
        metric: Of accuracy; empty where none was measured.
        evaluation: SHA-256 of the file that accuracy was measured on; empty for none.
        samples: How many samples it holds.
        constants: SHA-256 of all memory images before the first launch.
        shapes: Of inputs with dynamic axes.
        versions: Of what compiled it; for people, never compared.
        layers: Steps in execution order, by a unique name.
        calibration: Path of the calibration data, like ``model``; empty for none.
        calibration_digest: SHA-256 of that file.
        evaluation_file: Path of the evaluation data, like ``model``; empty for none.
        judged_output: The only output that accuracy was measured on; empty for all.
        clock: Repeats, where latency was measured by the clock; there are no layers then.
    """

    model: str
    target: str
    metric: str = ""
    evaluation: str = ""
    samples: int = 0
    constants: str = ""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    layers: Mapping[str, LockedLayer] = field(default_factory=dict)
    calibration: str = ""
    calibration_digest: str = ""
    evaluation_file: str = ""
    judged_output: str = ""
    clock: LockedClock | None = field(default=None, metadata={ONLY_WHERE_OTHER: True})


def read_lock(value: Any, where: str) -> Lock:
    """A lock from plain values.

    Args:
        value: Plain.
        where: What errors call its place.

    Raises:
        InputError: A key is unknown or of the wrong type, or a number is below 0 or beyond any
            machine.
    """
    lock = from_plain(Lock, value, where)
    require_counts(lock, where, hint="nest-tune study export NAME -o best.toml writes it again")
    return lock
