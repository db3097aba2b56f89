"""A target: a system on chip as frozen values, and where each of its numbers comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Any

from compiler_core.files.plain import PlainReader
from compiler_core.units.registry import read_machine


class OriginKind(Enum):
    """How far a number can be trusted."""

    MEASURED = "measured"
    EXTRAPOLATED = "extrapolated"
    ASSUMED = "assumed"


@dataclass(frozen=True)
class Origin:
    """Where a number comes from: its kind, the source in words, and the target that states it."""

    kind: OriginKind
    source: str
    stated_by: str


@dataclass(frozen=True)
class Quantity:
    """One number of a target description.

    ``key`` is its dotted place in the file (``npu.timing.queue_depth``); a plain count has no unit.
    """

    key: str
    value: int | float
    unit: str
    origin: Origin


@dataclass(frozen=True)
class Cpu:
    """The host processor; all rates are those of the whole cluster."""

    name: str
    cores: int
    clock_hz: float
    float_macs_per_cycle: float
    int8_macs_per_cycle: float
    elements_per_cycle: float
    copy_bytes_per_cycle: float
    operator_overhead_s: float
    float_multiply_add_pj: float
    operation_overhead_pj: float


@dataclass(frozen=True)
class CpuRow:
    """One operator measured on a CPU; times in microseconds, ``low`` and ``high`` are quartiles."""

    operator: str
    signature: str
    count: int
    median_us: float
    low_us: float
    high_us: float
    repeats: int


@dataclass(frozen=True)
class CpuTable:
    """A table of measured operators.

    Attributes:
        name: For messages: the file's name.
        rows: By signature.
        digest: SHA-256 of what was read.
    """

    name: str
    rows: Mapping[str, CpuRow]
    digest: str


@dataclass(frozen=True)
class Target:
    """A system on chip: cores of a unit that share one memory port, and the CPU that launches them.

    ``npu`` is the :class:`~compiler_core.units.unit.Machine` that each core is. Where there are no
    cores, it means nothing. ``by_clock`` says that latencies are measured
    on the machine that compiles, and so are not deterministic. ``cpu_table`` holds measured times
    of operators, which count instead of the CPU's rates.

    ``digest`` is the SHA-256 of every resolved number and rule, and of the table, without name,
    description and origins: two targets with the same digest give the same cycles, times and
    energies.
    """

    name: str
    description: str
    npu: Annotated[Any, PlainReader(read_machine)]
    npu_cores: int
    cpu: Cpu
    launch_overhead_s: float
    digest: str
    by_clock: bool = False
    cpu_table: CpuTable | None = field(default=None, compare=False)


@dataclass(frozen=True)
class TargetDescription:
    """A target together with the origin of each number.

    ``lineage`` names the descriptions it was resolved from, the most derived one first.
    """

    target: Target
    quantities: tuple[Quantity, ...]
    lineage: tuple[str, ...]
