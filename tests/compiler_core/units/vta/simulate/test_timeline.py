"""The timeline of a run: slices that account for every busy and every waiting cycle."""

from __future__ import annotations

import io
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler_core.files.trace import TraceSlice, write_trace
from compiler_core.targets.load import load_target
from compiler_core.units.vta.machine.hardware import TimingProfile
from compiler_core.units.vta.machine.isa import decode
from compiler_core.units.vta.machine.program_file import read_program_file
from compiler_core.units.vta.simulate.timeline import TRACKS, timeline
from compiler_core.units.vta.simulate.timing_result import Actor, TimingResult
from compiler_core.units.vta.tool.simulate import simulate

NAMES = ("conv3_16x28_to32_0", "residual_add_0", "queue_full", "fetch_bound", "finish_only")


def run(path: Path, clock_hz: float = 1e9) -> tuple[TimingResult, list[TraceSlice]]:
    """At 1 GHz a cycle is a nanosecond."""
    program = read_program_file(path)
    core = load_target("vta-rtl2020").npu
    result = simulate(program, core, profile=TimingProfile.RTL2020, trace=True).timing
    assert result is not None
    assert result.trace is not None
    slices = timeline(
        decode(program.instructions),
        result.trace,
        cycles=result.cycles,
        clock_hz=clock_hz,
        fetch_batch_instructions=core.timing.fetch_batch_instructions,
    )
    return result, list(slices)


@pytest.mark.parametrize("name", NAMES)
def test_slices_add_up_to_the_account_of_each_module(vta_vectors: Path, name: str) -> None:
    result, slices = run(vta_vectors / f"{name}.npz")
    total: dict[tuple[int, str], int] = defaultdict(int)
    for item in slices:
        key = item.name if item.category == "stall" else item.category
        total[item.track, key] += item.end_ns - item.start_ns
    for track, module in enumerate(TRACKS[1:], 1):
        activity = getattr(result, module)
        busy = activity.busy_cycles + activity.port_stall_cycles
        assert total[track, "wait: port"] == activity.port_stall_cycles
        assert total[track, "instruction"] == busy
        assert total[track, "wait: token"] <= activity.token_stall_cycles
        assert total[track, "wait: fetch"] <= activity.fetch_stall_cycles


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("clock_hz", [1e9, 333e6, 100e6])
def test_slices_of_a_track_are_disjoint_or_nested(
    vta_vectors: Path, name: str, clock_hz: float
) -> None:
    result, slices = run(vta_vectors / f"{name}.npz", clock_hz)
    end_of_run = round(result.cycles * 1e9 / clock_hz)
    for track in range(len(TRACKS)):
        own = sorted(
            (item for item in slices if item.track == track),
            key=lambda item: (item.start_ns, -item.end_ns),
        )
        open_until: list[int] = []
        for item in own:
            assert 0 <= item.start_ns <= item.end_ns <= end_of_run
            while open_until and open_until[-1] <= item.start_ns:
                open_until.pop()
            assert not open_until or item.end_ns <= open_until[-1]
            open_until.append(item.end_ns)


def test_every_instruction_that_ran_is_one_slice(vta_vectors: Path) -> None:
    result, slices = run(vta_vectors / "conv3_16x28_to32_0.npz")
    assert result.trace is not None
    shown = [item for item in slices if item.category == "instruction"]
    assert [item.arguments["instruction"] for item in shown] == list(range(len(shown)))
    assert len(shown) == len(result.trace.start_cycle)
    names = {item.name for item in shown}
    assert {"LOAD INP", "LOAD WGT", "GEMM", "GEMM reset", "ALU SHR", "STORE OUT"} <= names
    assert shown[-1].name == "FINISH"
    loads = [item for item in shown if item.name == "LOAD INP"]
    assert {item.track for item in loads} == {TRACKS.index("load")}
    assert np.count_nonzero(result.trace.actor == Actor.STORE) == sum(
        item.name == "STORE OUT" for item in shown
    )


def test_full_queue_is_seen_on_the_fetch_track(vta_vectors: Path) -> None:
    result, slices = run(vta_vectors / "queue_full.npz")
    waits = [item for item in slices if item.name == "wait: queue full"]
    assert result.fetch.queue_stall_cycles > 0
    assert waits
    assert {item.track for item in waits} == {0}


def test_file_is_trace_event_json_with_named_tracks(vta_vectors: Path) -> None:
    _, slices = run(vta_vectors / "residual_add_0.npz", 100e6)
    stream = io.BytesIO()
    write_trace(stream, 'a "title"', TRACKS, slices)
    document: dict[str, Any] = json.loads(stream.getvalue())
    events = document["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert names == {1: "fetch", 2: "load", 3: "compute", 4: "store"}
    assert events[0]["args"]["name"] == 'a "title"'
    spans = [event for event in events if event["ph"] == "X"]
    assert len(spans) == len(slices)
    # 10 ns a cycle, in microseconds.
    finish = next(event for event in spans if event["name"] == "FINISH")
    assert finish["ts"] * 100 == pytest.approx(finish["args"]["start_cycle"])
    assert not [event for event in spans if "cname" in event]  # which Perfetto ignores
