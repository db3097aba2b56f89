"""The schema of a target description, and its translation to frozen values.

Field names are the keys of the TOML file; bounds are those of the instruction words where the
instruction set sets them, and otherwise wide enough for any plausible hardware while keeping every
simulation finite.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from compiler_core.targets.target import Cpu, Target
from compiler_core.units.unit import Machine

TARGET_SCHEMA = "nest-tune/target/1"


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


class UnitSection(Section):
    """What every kind of unit says of itself; a kind's own section adds the rest."""

    kind: Annotated[str, Field(min_length=1, max_length=32)]
    cores: Annotated[int, Field(ge=1, le=64)]
    clock_hz: Hertz


class CpuEnergySection(Section):
    float_multiply_add_pj: Energy
    operation_overhead_pj: Energy


class CpuSection(Section):
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
    cost_table: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}\.csv$")] | None = None


class TargetSections(Section):
    """A whole resolved description, without name, description and origins."""

    npu: UnitSection
    cpu: CpuSection

    def digest(self) -> str:
        """SHA-256 over the canonical JSON of all values."""
        values = self.model_dump(mode="json", exclude_none=True)
        text = json.dumps(values, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(f"{TARGET_SCHEMA}\n{text}".encode()).hexdigest()

    def target(self, name: str, description: str, machine: Machine) -> Target:
        """Translates the sections to the values that simulators and compilers take.

        Args:
            name, description: Of the target.
            machine: What the table ``npu`` says.
        """
        cpu = self.cpu
        return Target(
            name=name,
            description=description,
            npu=machine,
            npu_cores=self.npu.cores,
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
        )
