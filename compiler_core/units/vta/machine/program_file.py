"""Raw command streams in files: the format of the conformance vectors.

A file is an ``.npz`` with the arrays of :data:`ARRAYS`. Whoever wrote it is not trusted: every
array is checked before it is used, and each fault is one :class:`~compiler_core.errors.InputError`
that names file, array, value and what is allowed. Whether the *program* is right is the verifier's
question, not this module's.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.files.exhausted import cannot_be_read
from compiler_core.files.npz import MIB, NpzLimits, read_npz
from compiler_core.units.vta.machine.isa import (
    COMMON_FIELDS,
    INSTRUCTION_BYTES,
    MEMORY_FIELDS,
    Opcode,
)

ARRAYS = (
    "insn",
    "insn_pipelined",
    "regions",
    "pre_addr",
    "pre_len",
    "pre_data",
    "post_addr",
    "post_len",
    "post_data",
)
INSTRUCTION_LIMIT = 1 << 20
"""Instructions in a file; a whole ResNet-18 takes some ten thousand."""

SEGMENT_LIMIT = 1 << 20
"""Segments or regions in a file."""

DRAM_LIMIT_BYTES = 1 << 32
"""What a 32-bit address reaches."""

IMPLIED_DRAM_LIMIT_BYTES = 1 << 30
"""DRAM size that a file may imply; more has to be asked for explicitly."""

DEFAULT_DRAM_BYTES = 8192
_PAGE_BYTES = 4096
_FILE_LIMITS = NpzLimits(total_bytes=1024 * MIB, array_count=64)
_MANIFEST_LIMIT_BYTES = 16 * MIB
_HINT = "docs/programs.md lists the arrays of a program file"


@dataclass(frozen=True)
class Segment:
    """A byte range of DRAM and its content.

    Args:
        address: Physical address of the first byte.
        data: ``uint8[bytes]``.
    """

    address: int
    data: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Region:
    """One array in DRAM.

    Args:
        memory_type: Number of the memory type that its elements belong to.
        address: First byte.
        size_bytes: Length.
        pipelined_address: First byte where the pipelined stream expects it.
    """

    memory_type: int
    address: int
    size_bytes: int
    pipelined_address: int


@dataclass(frozen=True)
class ProgramFile:
    """A program and its memory.

    Args:
        path: Where it was read.
        instructions: ``uint8[n, 16]``.
        pipelined_instructions: ``uint8[n, 16]``, the same program with DRAM bases for 32-bit
            elements; for timing.
        segments: DRAM before the launch; what no segment covers is 0.
        regions: DRAM arrays, where the file lists them.
        expected: DRAM ranges that the program stores to, after FINISH, where the file has them.
        dram_size: Bytes of DRAM.
        ignored_arrays: Names of arrays in the file that the format does not know.
    """

    path: Path
    instructions: npt.NDArray[np.uint8]
    pipelined_instructions: npt.NDArray[np.uint8] | None
    segments: tuple[Segment, ...]
    regions: tuple[Region, ...] | None
    expected: tuple[Segment, ...] | None
    dram_size: int
    ignored_arrays: tuple[str, ...] = ()

    def dram(self) -> npt.NDArray[np.uint8]:
        """Builds the image before the launch, ``uint8[dram_size]``, anew at every call."""
        return overlay(np.zeros(self.dram_size, np.uint8), self.segments)

    def expected_dram(self) -> npt.NDArray[np.uint8] | None:
        """The whole image after FINISH, ``uint8[dram_size]``, where the file has it."""
        return None if self.expected is None else overlay(self.dram(), self.expected)


def overlay(image: npt.NDArray[np.uint8], segments: tuple[Segment, ...]) -> npt.NDArray[np.uint8]:
    """Copies segments into ``image``, in place, and returns it."""
    for segment in segments:
        image[segment.address : segment.address + segment.data.size] = segment.data
    return image


def read_program_file(path: str | Path, *, dram_size: int | None = None) -> ProgramFile:
    """Reads and checks a program file.

    Args:
        path: The ``.npz``.
        dram_size: Bytes of DRAM. Without it: what ``manifest.json`` beside the file says of it,
            else the largest region end rounded up to 4 KiB, else 8192.

    Raises:
        InputError: The file or a manifest entry is wrong, or a segment lies outside DRAM.
    """
    path = Path(path)
    # Every array is read, so that damage anywhere in the file is noticed.
    arrays = read_npz(path, limits=_FILE_LIMITS)
    instructions = _instructions(path, arrays, "insn")
    regions = _regions(path, arrays)
    size = _dram_size(path, dram_size, regions)
    return ProgramFile(
        path=path,
        instructions=instructions,
        pipelined_instructions=_pipelined(path, arrays, instructions),
        segments=_segments(path, arrays, "pre", size),
        regions=regions,
        expected=_segments(path, arrays, "post", size) if _has(arrays, "post") else None,
        dram_size=size,
        ignored_arrays=tuple(sorted(arrays.keys() - set(ARRAYS))),
    )


Arrays = Mapping[str, npt.NDArray[Any]]


def _has(arrays: Arrays, prefix: str) -> bool:
    return any(f"{prefix}_{part}" in arrays for part in ("addr", "len", "data"))


def _array(
    path: Path, arrays: Arrays, name: str, dtype: type[np.generic], shape: tuple[int | None, ...]
) -> npt.NDArray[Any]:
    if name not in arrays:
        raise InputError(
            f"{path}: array {name} is missing; the file has {', '.join(sorted(arrays)) or 'none'}",
            hint=_HINT,
        )
    array = arrays[name]
    fits = array.ndim == len(shape) and all(
        allowed is None or length == allowed
        for length, allowed in zip(array.shape, shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        allowed = ", ".join("n" if length is None else str(length) for length in shape)
        raise InputError(
            f"{path}: array {name} is {array.dtype}{list(array.shape)}; "
            f"allowed is {np.dtype(dtype)}[{allowed}]",
            hint=_HINT,
        )
    return array


def _instructions(path: Path, arrays: Arrays, name: str) -> npt.NDArray[np.uint8]:
    array = _array(path, arrays, name, np.uint8, (None, INSTRUCTION_BYTES))
    if len(array) > INSTRUCTION_LIMIT:
        raise InputError(
            f"{path}: array {name} has {len(array)} instructions; at most {INSTRUCTION_LIMIT} "
            "are read",
            hint=_HINT,
        )
    return array


def _pipelined(
    path: Path, arrays: Arrays, instructions: npt.NDArray[np.uint8]
) -> npt.NDArray[np.uint8] | None:
    """Reads the second stream, which may differ from the first in DRAM bases only.

    Timing relies on that: the verifier looks at the first stream.
    """
    if "insn_pipelined" not in arrays:
        return None
    pipelined = _instructions(path, arrays, "insn_pipelined")
    if len(pipelined) != len(instructions):
        raise InputError(
            f"{path}: array insn_pipelined has {len(pipelined)} instructions, insn has "
            f"{len(instructions)}; "
            "allowed is the same number",
            hint=_HINT,
        )
    base = MEMORY_FIELDS["dram_base"]
    base_bits = ((1 << base.width) - 1) << base.low
    base_bytes = np.frombuffer(base_bits.to_bytes(INSTRUCTION_BYTES, "little"), np.uint8)
    opcode = instructions[:, 0] & ((1 << COMMON_FIELDS["opcode"].width) - 1)
    moves = (opcode == Opcode.LOAD) | (opcode == Opcode.STORE)
    ignored = np.where(moves[:, None], base_bytes, 0).astype(np.uint8)
    differs = (((instructions ^ pipelined) & ~ignored) != 0).any(axis=1)
    if differs.any():
        raise InputError(
            f"{path}: array insn_pipelined differs from insn in instruction "
            f"{int(np.argmax(differs))}; "
            "allowed is a different dram_base of LOAD and STORE only",
            hint=_HINT,
        )
    return pipelined


def _regions(path: Path, arrays: Arrays) -> tuple[Region, ...] | None:
    if "regions" not in arrays:
        return None
    rows = _array(path, arrays, "regions", np.int64, (None, 4)).tolist()
    _require_count(path, "regions", len(rows))
    regions = tuple(Region(*row) for row in rows)
    for index, region in enumerate(regions):
        end = region.address + region.size_bytes
        if not 0 <= region.memory_type <= 4:
            raise InputError(
                f"{path}: array regions, row {index}: memory type {region.memory_type}; allowed "
                "are 0 to 4",
                hint=_HINT,
            )
        if min(region.address, region.size_bytes, region.pipelined_address) < 0:
            raise InputError(
                f"{path}: array regions, row {index}: {rows[index]}; no address or size may be "
                "negative",
                hint=_HINT,
            )
        if end > DRAM_LIMIT_BYTES:
            raise InputError(
                f"{path}: array regions, row {index} ends at {end:#x}; "
                f"allowed is up to {DRAM_LIMIT_BYTES:#x}",
                hint=_HINT,
            )
    return regions


def _require_count(path: Path, name: str, count: int) -> None:
    if count > SEGMENT_LIMIT:
        raise InputError(
            f"{path}: array {name} has {count} rows; at most {SEGMENT_LIMIT} are read", hint=_HINT
        )


def _segments(path: Path, arrays: Arrays, prefix: str, dram_size: int) -> tuple[Segment, ...]:
    addresses = _array(path, arrays, f"{prefix}_addr", np.int64, (None,))
    lengths = _array(path, arrays, f"{prefix}_len", np.int64, (len(addresses),))
    data = _array(path, arrays, f"{prefix}_data", np.uint8, (None,))
    _require_count(path, f"{prefix}_addr", len(addresses))
    segments, position = [], 0
    for index, (address, length) in enumerate(
        zip(addresses.tolist(), lengths.tolist(), strict=True)
    ):
        if length < 0:
            raise InputError(
                f"{path}: array {prefix}_len, entry {index}: length {length}; no length may be "
                "negative",
                hint=_HINT,
            )
        if address < 0 or address + length > dram_size:
            raise InputError(
                f"{path}: array {prefix}_addr, entry {index}: bytes {address} to "
                f"{address + length} lie outside "
                f"DRAM; allowed is 0 to {dram_size}",
                hint="set the size of DRAM with --dram-size",
            )
        segments.append(Segment(address, data[position : position + length]))
        position += length
    if position != data.size:
        raise InputError(
            f"{path}: array {prefix}_data has {data.size} bytes; {prefix}_len sums to {position}",
            hint=_HINT,
        )
    _require_disjoint(path, prefix, segments)
    return tuple(segments)


def _require_disjoint(path: Path, prefix: str, segments: list[Segment]) -> None:
    order = sorted(
        (index for index, segment in enumerate(segments) if segment.data.size),
        key=lambda index: segments[index].address,
    )
    for left, right in pairwise(order):
        if segments[left].address + segments[left].data.size > segments[right].address:
            raise InputError(
                f"{path}: array {prefix}_addr, entries {left} and {right} overlap at byte "
                f"{segments[right].address}; segments must be disjoint",
                hint=_HINT,
            )


def _dram_size(path: Path, given: int | None, regions: tuple[Region, ...] | None) -> int:
    if given is not None:
        return _require_size(given, "the DRAM size", DRAM_LIMIT_BYTES)
    manifest = path.parent / "manifest.json"
    implied = _manifest_dram_size(manifest, path.name)
    if implied is not None:
        return _require_size(
            implied, f"{manifest}: dram_size of {path.name}", IMPLIED_DRAM_LIMIT_BYTES
        )
    if not regions:
        return DEFAULT_DRAM_BYTES
    end = max(region.address + region.size_bytes for region in regions)
    pages = max(-(-end // _PAGE_BYTES), 1)
    return _require_size(
        pages * _PAGE_BYTES, f"{path}: the DRAM size implied by regions", IMPLIED_DRAM_LIMIT_BYTES
    )


def _require_size(size: object, what: str, limit: int) -> int:
    if not isinstance(size, int) or isinstance(size, bool) or not 1 <= size <= limit:
        raise InputError(
            f"{what} is {size!r}; allowed are 1 to {limit} bytes",
            hint=f"--dram-size takes up to {DRAM_LIMIT_BYTES} bytes",
        )
    return size


def _manifest_dram_size(manifest: Path, file_name: str) -> object:
    """What a manifest says about a file's DRAM size; None where it says nothing."""
    try:
        if not manifest.is_file():
            return None
        if manifest.stat().st_size > _MANIFEST_LIMIT_BYTES:
            raise InputError(
                f"{manifest}: {manifest.stat().st_size} bytes; at most {_MANIFEST_LIMIT_BYTES} "
                "are read",
                hint="give --dram-size and move the file elsewhere",
            )
        document = json.loads(manifest.read_bytes())
    except OSError as error:
        raise cannot_be_read(manifest, error, _HINT) from error
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{manifest}: not a JSON document ({error})", hint="give --dram-size"
        ) from error
    programs = document.get("programs") if isinstance(document, dict) else None
    for entry in programs if isinstance(programs, list) else ():
        if isinstance(entry, dict) and entry.get("file") == file_name:
            return entry.get("dram_size")
    return None
