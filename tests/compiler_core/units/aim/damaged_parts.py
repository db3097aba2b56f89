"""Files of a segment on AiM with something else written in them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from compiler_core.errors import InputError
from compiler_core.executable.executable import Executable, units_of
from compiler_core.units.aim.parts import PARTS
from compiler_core.units.facets.parts import SegmentEntry

DOCUMENT = "aim.json"


def written_again(executable: Executable) -> tuple[SegmentEntry, Mapping[str, bytes]]:
    """The first segment on the unit as its package tells it, and its files, which say all of it."""
    (segment, *_) = executable.unit_segments["aim"]
    units = units_of(executable.target, executable.unit_of(segment))
    entry = SegmentEntry(segment.name, segment.inputs, segment.outputs, (), {}, 0, units)
    files = PARTS.files(segment)
    assert PARTS.files(PARTS.read(entry, files, "here")) == files
    return entry, files


def require_refused(
    entry: SegmentEntry, files: Mapping[str, bytes], changes: Iterable[tuple[bytes, bytes, str]]
) -> None:
    """Each change of its document, by what is written and what then, is refused with a message."""
    told = files[DOCUMENT]
    for old, new, message in changes:
        assert old in told, old
        with pytest.raises(InputError, match=message):
            PARTS.read(entry, {**files, DOCUMENT: told.replace(old, new, 1)}, "here")
