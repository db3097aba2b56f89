"""The schema of a target description, and its translation to frozen values.

Field names are the keys of the TOML file; bounds are those of the instruction words where the
instruction set sets them, and otherwise wide enough for any plausible hardware while keeping every
simulation finite.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from compiler_core.targets.target import (
    MAIN_MEMORY,
    MOST_CORES,
    UNIT_NAME,
    Access,
    Cpu,
    Memory,
    Target,
    Unit,
)
from compiler_core.units.names import CPU
from compiler_core.units.unit import Machine

TARGET_SCHEMA = "nest-tune/target/1"

RUNTIME_CPU = "onnx"
"""Kind of a CPU on which onnxruntime runs parts of a model."""


def _power_of_two(value: int) -> int:
    if value & (value - 1):
        raise ValueError("must be a power of two")
    return value


PowerOfTwo = AfterValidator(_power_of_two)
Block = Annotated[int, Field(ge=1, le=64), PowerOfTwo]
Bytes = Annotated[int, Field(ge=1, le=65536), PowerOfTwo]
Cycles = Annotated[int, Field(ge=0, le=1_000_000)]
Hertz = Annotated[float, Field(ge=1e3, le=1e11)]
Rate = Annotated[float, Field(gt=0, le=1e6)]
Energy = Annotated[float, Field(ge=0, le=1e9)]


class Section(BaseModel):
    """A table of the file: strict types, no unknown keys, no NaN or infinity."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


MemoryName = Annotated[str, Field(pattern=rf"^{UNIT_NAME.pattern}$")]


class UnitSection(Section):
    """What every kind of unit says of itself; a kind's own section adds the rest.

    ``memory`` is where it works, the main memory if it does not say; ``access`` whether it shares
    that memory while it runs, as it does if it does not say.
    """

    kind: Annotated[str, Field(min_length=1, max_length=32)]
    cores: Annotated[int, Field(ge=1, le=MOST_CORES)]
    clock_hz: Hertz
    memory: MemoryName | None = None
    access: Literal["shared", "exclusive"] | None = None


class MemorySection(Section):
    """A memory; each channel, for reading and for writing, moves ``bytes_per_s``."""

    bytes_per_s: Annotated[float, Field(ge=1e3, le=1e15)]


class CpuEnergySection(Section):
    float_multiply_add_pj: Energy
    operation_overhead_pj: Energy


class CpuSection(Section):
    kind: Literal["onnx"] | None = None
    name: Annotated[str, Field(min_length=1, max_length=80)]
    cores: Annotated[int, Field(ge=1, le=1024)]
    clock_hz: Hertz
    float_macs_per_cycle: Rate
    int8_macs_per_cycle: Rate
    elements_per_cycle: Rate
    copy_bytes_per_cycle: Rate
    operator_overhead_us: Annotated[float, Field(ge=0, le=1e6)]
    launch_cycles: Annotated[int, Field(ge=0, le=1_000_000_000)]
    energy: CpuEnergySection
    memory: MemoryName | None = None
    cost_table: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}\.csv$")] | None = None


@dataclass(frozen=True)
class TargetSections:
    """A whole resolved description, without name, description and origins.

    Attributes:
        npu: The unit that is named after its kind, where there is one.
        units: Units by name.
        memories: Memories by name; the main one may be missing.
        cpu: The CPU.
    """

    npu: UnitSection | None
    units: Mapping[str, UnitSection]
    memories: Mapping[str, MemorySection]
    cpu: CpuSection

    def named(self) -> dict[str, UnitSection]:
        """All units by name, that of ``npu`` first."""
        first = {} if self.npu is None else {self.npu.kind: self.npu}
        return {**first, **self.units}

    def digest(self) -> str:
        """SHA-256 over the canonical JSON of all values."""
        cpu = self.cpu.model_copy(update={"kind": None})  # the only one, said or not
        values: dict[str, Any] = {CPU: _plain(cpu)}
        if self.npu is not None:
            values["npu"] = _plain(self.npu)
        for key, sections in (("units", self.units), ("memories", self.memories)):
            if sections:
                values[key] = {name: _plain(section) for name, section in sections.items()}
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"{TARGET_SCHEMA}\n{text}".encode()).hexdigest()

    def target(self, name: str, description: str, machines: Mapping[str, Machine]) -> Target:
        """Translates the sections to the values that simulators and compilers take.

        Args:
            name, description: Of the target.
            machines: What each unit's section says, by the unit's name.

        Raises:
            InputError: Units and memories do not fit together.
        """
        cpu = self.cpu
        speeds = {MAIN_MEMORY: None, **{n: m.bytes_per_s for n, m in self.memories.items()}}
        memories = tuple(Memory(memory, speed) for memory, speed in speeds.items())
        return Target(
            name=name,
            description=description,
            units=tuple(
                Unit(
                    unit,
                    machines[unit],
                    section.cores,
                    section.memory or MAIN_MEMORY,
                    Access(section.access or Access.SHARED.value),
                )
                for unit, section in self.named().items()
            ),
            memories=memories,
            cpu=Cpu(
                name=cpu.name,
                cores=cpu.cores,
                clock_hz=cpu.clock_hz,
                float_macs_per_cycle=cpu.float_macs_per_cycle,
                int8_macs_per_cycle=cpu.int8_macs_per_cycle,
                elements_per_cycle=cpu.elements_per_cycle,
                copy_bytes_per_cycle=cpu.copy_bytes_per_cycle,
                operator_overhead_s=cpu.operator_overhead_us * 1e-6,
                float_multiply_add_pj=cpu.energy.float_multiply_add_pj,
                operation_overhead_pj=cpu.energy.operation_overhead_pj,
            ),
            launch_overhead_s=cpu.launch_cycles / cpu.clock_hz,
            digest=self.digest(),
            cpu_memory=cpu.memory or MAIN_MEMORY,
        )


def _plain(section: Section) -> dict[str, Any]:
    return section.model_dump(mode="json", exclude_none=True)
