"""The table of a VTA unit in a target file, and its translation to frozen values: the facet
:class:`~compiler_core.targets.unit_table.UnitTable`.

Field names are the keys of the TOML file; bounds are those of the instruction words where the
instruction set sets them.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from compiler_core.targets.schema import (
    Block,
    Bytes,
    Cycles,
    Energy,
    PowerOfTwo,
    Section,
    UnitSection,
)
from compiler_core.targets.unit_table import Figure
from compiler_core.units.vta.machine.hardware import (
    INT8_BITS,
    BufferDepth,
    ElementBytes,
    InstructionCosts,
    LinearCost,
    TimingProfile,
    VtaCore,
    VtaEnergy,
    VtaGeometry,
    VtaTiming,
    element_bytes_of,
)


class ElementBytesSection(Section):
    uop: Bytes
    inp: Bytes
    wgt: Bytes
    acc: Bytes
    out: Bytes


class BufferDepthSection(Section):
    """Elements per buffer; the limits are what a micro-op and the loop fields can address."""

    uop: Annotated[int, Field(ge=1, le=8192)]
    inp: Annotated[int, Field(ge=1, le=2048)]
    wgt: Annotated[int, Field(ge=1, le=1024)]
    acc: Annotated[int, Field(ge=1, le=2048)]


class GeometrySection(Section):
    """Shape of the GEMM unit; ``weight_bits`` are 8 and ``activation_lanes`` those of an output
    vector if it does not say."""

    batch: Block
    block_in: Block
    block_out: Block
    weight_bits: Literal[4, 8] | None = None
    activation_lanes: Block | None = None
    element_bytes: ElementBytesSection
    buffer_depth: BufferDepthSection

    @model_validator(mode="after")
    def _elements_match_blocks(self) -> Self:
        bits = self.weight_bits or INT8_BITS
        expected = element_bytes_of(self.batch, self.block_in, self.block_out, bits)
        for name, needed in vars(expected).items():
            seen = getattr(self.element_bytes, name)
            if seen != needed:
                raise ValueError(
                    f"element_bytes.{name} = {seen}, but it must be {needed} for blocks of "
                    f"{self.batch}x{self.block_in}x{self.block_out} with weights of "
                    f"{bits} bits and int32 accumulators"
                )
        lanes = self.activation_lanes or self.block_out
        if lanes % self.block_out:
            raise ValueError(
                f"activation_lanes = {lanes} must be a multiple of block_out = {self.block_out}"
            )
        return self


class LinearCostSection(Section):
    per_micro_op: Annotated[int, Field(ge=1, le=10_000)]
    fixed: Cycles

    def value(self) -> LinearCost:
        return LinearCost(per_micro_op=self.per_micro_op, fixed=self.fixed)


class CostsSection(Section):
    gemm: LinearCostSection
    gemm_reset: LinearCostSection
    alu_immediate: LinearCostSection
    alu_tensor: LinearCostSection
    no_operation: Annotated[int, Field(ge=1, le=1_000_000)]
    finish: Annotated[int, Field(ge=1, le=1_000_000)]


class TimingSection(Section):
    profile: Literal["rtl2020", "rtl-pipelined"]
    port_bytes: Annotated[int, Field(ge=1, le=128), PowerOfTwo]
    burst_beats: Annotated[int, Field(ge=1, le=256), PowerOfTwo]
    burst_boundary_bytes: Annotated[int, Field(ge=8, le=1 << 20), PowerOfTwo]
    memory_latency_cycles: Annotated[int, Field(ge=0, le=10_000)]
    outstanding_bursts: Annotated[int, Field(ge=1, le=1024)]
    queue_depth: Annotated[int, Field(ge=1, le=65536)]
    fetch_batch_instructions: Annotated[int, Field(ge=1, le=65536)]
    costs: CostsSection

    @model_validator(mode="after")
    def _fits_port(self) -> Self:
        if self.burst_boundary_bytes != self.burst_beats * self.port_bytes:
            raise ValueError(
                f"burst_boundary_bytes = {self.burst_boundary_bytes} must be burst_beats "
                f"x port_bytes = {self.burst_beats} x {self.port_bytes} "
                f"= {self.burst_beats * self.port_bytes}"
            )
        return self


class NpuEnergySection(Section):
    int8_multiply_pj: Energy
    int32_add_pj: Energy
    small_sram_64bit_pj: Energy
    large_sram_64bit_pj: Energy
    dram_64bit_pj: Energy


class VtaSection(UnitSection):
    kind: Literal["vta"]
    geometry: GeometrySection
    timing: TimingSection
    energy: NpuEnergySection


class VtaTable:
    """See :class:`~compiler_core.targets.unit_table.UnitTable`."""

    section = VtaSection

    def machine(self, section: VtaSection) -> VtaCore:
        return _vta_core(section)

    def figures(self, machine: VtaCore) -> tuple[Figure, ...]:
        timing = machine.timing
        port, latency = timing.port_bytes, timing.memory_latency_cycles
        return (
            Figure("port_bytes", port, "port", f"{port * 8} bit"),
            Figure("memory_latency_cycles", latency, "latency", f"{latency} cycles"),
            Figure("profile", timing.profile.value, "rules", timing.profile.value),
        )


TABLE = VtaTable()


def _vta_core(npu: VtaSection) -> VtaCore:
    geometry, timing, costs = npu.geometry, npu.timing, npu.timing.costs
    element_bytes = ElementBytes(**geometry.element_bytes.model_dump())
    return VtaCore(
        geometry=VtaGeometry(
            batch=geometry.batch,
            block_in=geometry.block_in,
            block_out=geometry.block_out,
            element_bytes=element_bytes,
            depth=BufferDepth(**geometry.buffer_depth.model_dump()),
            weight_bits=geometry.weight_bits or INT8_BITS,
            activation_lanes=geometry.activation_lanes or 0,
        ),
        timing=VtaTiming(
            profile=TimingProfile(timing.profile),
            element_bytes=element_bytes,
            port_bytes=timing.port_bytes,
            burst_beats=timing.burst_beats,
            burst_boundary_bytes=timing.burst_boundary_bytes,
            memory_latency_cycles=timing.memory_latency_cycles,
            outstanding_bursts=timing.outstanding_bursts,
            queue_depth=timing.queue_depth,
            fetch_batch_instructions=timing.fetch_batch_instructions,
            costs=InstructionCosts(
                gemm=costs.gemm.value(),
                gemm_reset=costs.gemm_reset.value(),
                alu_immediate=costs.alu_immediate.value(),
                alu_tensor=costs.alu_tensor.value(),
                no_operation=costs.no_operation,
                finish=costs.finish,
            ),
        ),
        energy=VtaEnergy(**npu.energy.model_dump()),
        clock_hz=npu.clock_hz,
    )
