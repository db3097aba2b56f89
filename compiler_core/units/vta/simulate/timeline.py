"""A timing simulation as slices of a timeline: one track per module, stalls by their cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from compiler_core.files.trace import TraceSlice
from compiler_core.units.vta.machine.isa import AluOpcode, MemoryType, Opcode
from compiler_core.units.vta.simulate.timing_result import Actor, TimingTrace

TRACKS = ("fetch", "load", "compute", "store")

_TRACK = {Actor.FETCH: 0, Actor.LOAD: 1, Actor.COMPUTE: 2, Actor.STORE: 3}
_TOKEN, _FETCH, _PORT, _QUEUE = "wait: token", "wait: fetch", "wait: port", "wait: queue full"


def timeline(
    decoded: npt.NDArray[np.void],
    trace: TimingTrace,
    *,
    cycles: int,
    clock_hz: float,
    fetch_batch_instructions: int,
) -> Iterator[TraceSlice]:
    """Yields the slices of a run, in whole nanoseconds.

    Args:
        decoded: Structured array ``[n]`` of ``INSTRUCTION_DTYPE``.
        trace: Of the same instructions.
        cycles: Of the whole run; what had not ended before FINISH ends there.
        clock_hz: Clock of the core.
        fetch_batch_instructions: How many instructions fetch reads at once.
    """

    def nanoseconds(cycle: int) -> int:
        return round(cycle * 1e9 / clock_hz)

    yield from _fetch(trace, fetch_batch_instructions, nanoseconds)
    columns = zip(
        trace.actor.tolist(),
        trace.start_cycle.tolist(),
        trace.end_cycle.tolist(),
        trace.fetch_wait_cycles.tolist(),
        trace.token_wait_cycles.tolist(),
        trace.port_stall_cycles.tolist(),
        strict=True,
    )
    for index, (actor, start, end, fetch_wait, token_wait, port_stall) in enumerate(columns):
        if start < 0:
            continue
        end = end if end >= 0 else max(cycles, start)
        track = _TRACK[Actor(actor)]
        arrived = start - token_wait
        for cause, begin, length in (
            (_FETCH, arrived - fetch_wait, fetch_wait),
            (_TOKEN, arrived, token_wait),
        ):
            if length > 0:
                yield TraceSlice(
                    track,
                    cause,
                    "stall",
                    nanoseconds(begin),
                    nanoseconds(begin + length),
                    {"cycles": length, "before_instruction": index},
                )
        arguments = {"instruction": index, "start_cycle": start, "cycles": end - start}
        yield TraceSlice(
            track,
            _name(decoded[index]),
            "instruction",
            nanoseconds(start),
            nanoseconds(end),
            arguments=arguments | _details(decoded[index]),
        )
        if port_stall > 0:
            # A sum over the instruction's bursts, drawn as one slice at its start.
            yield TraceSlice(
                track,
                _PORT,
                "stall",
                nanoseconds(start),
                nanoseconds(min(start + port_stall, end)),
                {"cycles": port_stall, "in_instruction": index},
            )


def _fetch(
    trace: TimingTrace, batch_instructions: int, nanoseconds: Callable[[int], int]
) -> Iterator[TraceSlice]:
    handed_out = trace.handed_out_cycle[trace.handed_out_cycle >= 0]
    track, before = _TRACK[Actor.FETCH], 0
    for first in range(0, len(handed_out), batch_instructions):
        batch = handed_out[first : first + batch_instructions]
        begin = int(batch[0])
        yield TraceSlice(
            track,
            f"read {len(batch)} instructions",
            "fetch",
            nanoseconds(before),
            nanoseconds(begin),
            arguments={"first_instruction": first, "cycles": begin - before},
        )
        gaps = np.flatnonzero(np.diff(batch) > 1) + 1
        edges = [0, *gaps.tolist(), len(batch)]
        for low, high in pairwise(edges):
            start, end = int(batch[low]), int(batch[high - 1]) + 1
            if low > 0:
                waited = int(batch[low - 1]) + 1
                yield TraceSlice(
                    track,
                    _QUEUE,
                    "stall",
                    nanoseconds(waited),
                    nanoseconds(start),
                    {"cycles": start - waited, "before_instruction": first + low},
                )
            yield TraceSlice(
                track,
                "hand out",
                "fetch",
                nanoseconds(start),
                nanoseconds(end),
                arguments={"first_instruction": first + low, "instructions": high - low},
            )
        before = int(batch[-1]) + 1


def _name(row: np.void) -> str:
    opcode = Opcode(int(row["opcode"]))
    if opcode in (Opcode.LOAD, Opcode.STORE):
        if row["x_size"] == 0:
            return f"{opcode.name} nop"
        return f"{opcode.name} {MemoryType(int(row['memory_type'])).name}"
    if opcode is Opcode.GEMM and row["reset"]:
        return "GEMM reset"
    if opcode is Opcode.ALU:
        return f"ALU {AluOpcode(int(row['alu_opcode'])).name}"
    return opcode.name


def _details(row: np.void) -> dict[str, int]:
    opcode = Opcode(int(row["opcode"]))
    if opcode in (Opcode.LOAD, Opcode.STORE):
        names = ("sram_base", "dram_base", "y_size", "x_size", "x_stride")
        return {name: int(row[name]) for name in names}
    if opcode in (Opcode.GEMM, Opcode.ALU):
        micro_ops = row["iter_out"] * row["iter_in"] * (row["uop_end"] - row["uop_begin"])
        return {"micro_ops": int(micro_ops)}
    return {}
