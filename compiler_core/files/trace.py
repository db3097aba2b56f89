"""Writes timelines as Chrome trace events, the JSON that Perfetto and chrome://tracing open.

Perfetto takes the colour of a slice from its name and ignores any other wish: what has to look
alike is named alike, what has to be told apart stands on a track of its own.

Source: the Trace Event Format (complete events ``X`` and metadata events ``M``).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO

_PROCESS = 1


@dataclass(frozen=True)
class TraceSlice:
    """A named span on one track, in nanoseconds; spans of a track are disjoint or nested: Perfetto
    drops one that partly overlaps another.

    ``track`` is the index of the track; ``arguments`` are shown when the slice is selected.
    """

    track: int
    name: str
    category: str
    start_ns: float
    end_ns: float
    arguments: Mapping[str, int | float | str] = field(default_factory=dict)


def write_trace(
    stream: IO[bytes], title: str, tracks: Sequence[str], slices: Iterable[TraceSlice]
) -> None:
    """Writes one process with its tracks, in the given order, and their slices."""
    stream.write(b'{"displayTimeUnit": "ns", "traceEvents": [\n')
    stream.write(_line(_metadata("process_name", 0, {"name": title})))
    for index, name in enumerate(tracks):
        for key, value in (("name", name), ("sort_index", index)):
            event = _metadata(f"thread_{key}", index + 1, {key: value})
            stream.write(b",\n" + _line(event))
    for item in slices:
        event = {
            "ph": "X",
            "pid": _PROCESS,
            "tid": item.track + 1,
            "name": item.name,
            "cat": item.category,
            "ts": item.start_ns / 1000,
            "dur": (item.end_ns - item.start_ns) / 1000,
        }
        if item.arguments:
            event["args"] = dict(item.arguments)
        stream.write(b",\n" + _line(event))
    stream.write(b"\n]}\n")


def _metadata(name: str, thread: int, arguments: dict[str, object]) -> dict[str, object]:
    return {"ph": "M", "pid": _PROCESS, "tid": thread, "name": name, "args": arguments}


def _line(event: dict[str, object]) -> bytes:
    return json.dumps(event, separators=(",", ":"), allow_nan=False).encode()
