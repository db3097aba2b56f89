"""What Perfetto makes of a trace: the rules by which its trace processor imports JSON.

The trace processor itself is a program that no package holds. Its rules, from its sources
`importers/json` (tokenizer and parser) and `importers/common/slice_tracker`: the numbers of an
event are microseconds and become whole nanoseconds; events are sorted by their time, equal ones
stay in the order of the file; a track is a thread of a process, and has the name that metadata give
it; a slice that begins inside another and ends after it is dropped, as is one at a depth of 512.
Colours (`cname`) are not read at all.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

_MOST_DEPTH = 512


@dataclass(frozen=True)
class Imported:
    """A slice as the trace processor's table holds it."""

    track: str
    name: str
    category: str
    start_ns: int
    duration_ns: int
    depth: int
    arguments: dict[str, Any]


def import_trace(content: bytes) -> tuple[list[Imported], list[str]]:
    """The slices of a trace, and what the trace processor would complain of.

    Raises:
        ValueError: It would refuse the file as a whole.
    """
    if content.lstrip()[:1] not in (b"{", b"["):
        raise ValueError("the first character is neither { nor [")
    document = json.loads(content)  # strict: control characters in strings are refused here, too
    events = document["traceEvents"] if isinstance(document, dict) else document
    problems: list[str] = []
    names: dict[tuple[int, int], str] = {}
    timed: list[tuple[int, dict[str, Any]]] = []
    for event in events:
        if len(event.get("ph", "")) != 1:
            problems.append(f"no phase: {event}")
        elif event["ph"] == "M":
            if event["name"] == "thread_name":
                names[event["pid"], event["tid"]] = event["args"]["name"]
        elif "ts" not in event or "dur" not in event:
            problems.append(f"no time: {event}")
        else:
            timed.append((_nanoseconds(event["ts"]), event))
    found: list[Imported] = []
    stacks: dict[tuple[int, int], list[Imported]] = defaultdict(list)
    for start, event in sorted(timed, key=lambda entry: entry[0]):
        thread = event["pid"], event["tid"]
        duration = _nanoseconds(event["dur"])
        if thread not in names or min(thread) < 1:
            problems.append(f"a thread without a name: {event}")
            continue
        stack = stacks[thread]
        if duration < 0 or not _closed(stack, start, duration):
            problems.append(f"dropped: {event}")
            continue
        if len(stack) >= _MOST_DEPTH:
            problems.append(f"too deep: {event}")
            continue
        item = Imported(
            names[thread],
            event["name"] or "[No name]",
            event.get("cat", ""),
            start,
            duration,
            len(stack),
            event.get("args", {}),
        )
        stack.append(item)
        found.append(item)
    return found, problems


def _nanoseconds(value: float) -> int:
    return value * 1000 if isinstance(value, int) else round(value * 1000)


def _closed(stack: list[Imported], start: int, duration: int) -> bool:
    """Closes what has ended; whether a new slice nests in what is still open."""
    while stack:
        end = stack[-1].start_ns + stack[-1].duration_ns
        both_empty = stack[-1].duration_ns == 0 and duration == 0
        if end > start or (end == start and both_empty):
            break
        stack.pop()
    ends = [item.start_ns + item.duration_ns for item in stack]
    return not any(start < end < start + duration for end in ends)
