"""Reading and writing ``.npz`` files whose author is not trusted.

NumPy's own reader may unpickle, and believes the sizes that a file declares. This one never
unpickles, checks every declared size against a limit before it reads, reads no more than was
declared, and answers every fault with one :class:`~compiler_core.errors.InputError` that names
file, array, value seen and what is allowed.
"""

from __future__ import annotations

import ast
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.files.exhausted import cannot_be_read
from compiler_core.files.whole_file import write_atomically

MIB = 1 << 20
_CHUNK_BYTES = MIB
_HEADER_BYTES_MAX = 10_000
_NPY_MAGIC = b"\x93NUMPY"
_DIMENSIONS_MAX = 32
_CHARACTER_MAX = 0x10FFFF
_PLAIN_TYPE = re.compile(r"[<>|=]?(b1|[iu][1248]|f[248])")
_TEXT_TYPE = re.compile(r"[<>|=]?U[1-9][0-9]{0,6}")
_DAMAGE = (
    zipfile.BadZipFile,
    zipfile.LargeZipFile,
    zlib.error,
    struct.error,
    EOFError,
    NotImplementedError,
    ValueError,
    OverflowError,
    RuntimeError,
)
"""What :mod:`zipfile` and :mod:`zlib` raise on damaged bytes."""

_Read = Callable[[str, IO[bytes], int], None]
"""Takes an array's name, its stream and the bytes in it."""

_HINT = "write it again with numpy.savez_compressed: plain arrays of numbers, no Python objects"
_SMALLER_HINT = "a file of this kind is much smaller: write only its own arrays, or split it"


@dataclass(frozen=True)
class NpzLimits:
    """What a file may claim.

    Attributes:
        total_bytes: Sum of the uncompressed sizes of all arrays that are read.
        array_count: Arrays in the file.
        directory_bytes: Size of the zip directory.
        total_hint: What to do about a file with more than ``total_bytes``.
    """

    total_bytes: int = 1024 * MIB
    array_count: int = 256
    directory_bytes: int = MIB
    total_hint: str = _SMALLER_HINT


class _GuardedFile:
    """File whose single reads are bounded: :mod:`zipfile` reads the directory in one piece of the
    declared size.
    """

    def __init__(self, file: IO[bytes], read_bytes_max: int) -> None:
        self._file = file
        self.read_bytes_max = read_bytes_max

    def read(self, size: int = -1) -> bytes:
        if size > self.read_bytes_max:
            raise zipfile.BadZipFile(
                f"a zip directory of {size} bytes, at most {self.read_bytes_max} are read"
            )
        return self._file.read(size if size >= 0 else self.read_bytes_max)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def seekable(self) -> bool:
        return True


def read_npz(
    path: str | Path,
    *,
    names: Collection[str] | None = None,
    limits: NpzLimits | None = None,
    text: bool = False,
    records: Mapping[str, np.dtype[Any]] | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Reads the arrays of an ``.npz`` file.

    Args:
        path: The file.
        names: Arrays to read; others are left unread. ``None`` reads all.
        limits: What the file may claim; the defaults suit program files.
        text: Take arrays of text (``<U``), too, which hold characters and no Python objects.
        records: Arrays that may hold exactly these records of plain numbers.

    Returns:
        Arrays by name, in file order, C-contiguous, in native byte order; booleans, integers,
        floats and, where asked for, text.

    Raises:
        InputError: The file cannot be opened, is damaged, breaks a limit or holds something else.
    """
    found: dict[str, npt.NDArray[Any]] = {}
    file = Path(path)

    def read(name: str, stream: IO[bytes], size: int) -> None:
        found[name] = _read_array(file, name, stream, size, text, (records or {}).get(name))

    _visit(file, names, limits or NpzLimits(), read)
    return found


def npz_shapes(path: str | Path) -> dict[str, tuple[int, ...]]:
    """Shapes of the arrays of an ``.npz`` file, whose content is left unread.

    Raises:
        InputError: As :func:`read_npz`.
    """
    found: dict[str, tuple[int, ...]] = {}
    file = Path(path)

    def read(name: str, stream: IO[bytes], _: int) -> None:
        found[name] = _read_header(file, name, stream, text=True)[0]

    _visit(file, None, NpzLimits(), read)
    return found


def _visit(path: Path, names: Collection[str] | None, limits: NpzLimits, read: _Read) -> None:
    """Has ``read`` take every array that is asked for from its stream."""
    try:
        if path.exists() and not path.is_file():
            # A pipe would be waited for, and cannot be read from its end as a zip file is.
            kind = "a folder" if path.is_dir() else "no regular file"
            raise InputError(
                f"{path}: is {kind}; an .npz file is needed",
                hint="give the path of a file; what comes from a pipe, write to a file first",
            )
        with path.open("rb") as file:
            if file.read(4) not in (b"PK\x03\x04", b"PK\x05\x06"):
                raise InputError(
                    f"{path}: not an .npz file (no zip signature at its start)",
                    hint='numpy.savez("x.npz", x=array) writes one; of an .npy file the array is '
                    "what numpy.load gives",
                )
            _visit_archive(path, file, names, limits, read)
    except OSError as error:
        raise cannot_be_read(path, error) from error


def _visit_archive(
    path: Path,
    file: IO[bytes],
    names: Collection[str] | None,
    limits: NpzLimits,
    read: _Read,
) -> None:
    guarded = _GuardedFile(file, limits.directory_bytes)
    try:
        archive = zipfile.ZipFile(guarded)
    except _DAMAGE as error:
        raise InputError(
            f"{path}: damaged or truncated zip directory ({_text(error)}); "
            f"allowed are {limits.directory_bytes} directory bytes",
            hint=_HINT,
        ) from error
    guarded.read_bytes_max = max(limits.directory_bytes, _CHUNK_BYTES)
    members = _check_directory(path, archive.infolist(), names, limits)
    for name, member in members.items():
        try:
            with archive.open(member) as stream:
                read(name, stream, member.file_size)
        except _DAMAGE as error:
            raise InputError(
                f"{path}: array {name} is damaged or truncated ({_text(error)})", hint=_HINT
            ) from error


def _text(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _check_directory(
    path: Path,
    infos: list[zipfile.ZipInfo],
    names: Collection[str] | None,
    limits: NpzLimits,
) -> dict[str, zipfile.ZipInfo]:
    if len(infos) > limits.array_count:
        raise InputError(
            f"{path}: {len(infos)} entries in the zip directory; at most {limits.array_count} "
            "are allowed",
            hint=_SMALLER_HINT,
        )
    members: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for info in infos:
        name = info.filename.removesuffix(".npy")
        if name == info.filename or not name:
            raise InputError(
                f"{path}: entry {info.filename!r}; allowed are arrays named NAME.npy", hint=_HINT
            )
        if name in members:
            raise InputError(f"{path}: array {name!r} is there twice", hint=_HINT)
        members[name] = info
        if names is not None and name not in names:
            continue
        if info.flag_bits & 1 or info.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise InputError(
                f"{path}: array {name!r} is encrypted or uses zip method {info.compress_type}; "
                "allowed are 0 (stored) and 8 (deflated)",
                hint=_HINT,
            )
        total += info.file_size
        if total > limits.total_bytes:
            raise InputError(
                f"{path}: array {name!r} claims {info.file_size} bytes, {total} with those "
                "before it; "
                f"at most {limits.total_bytes} are read",
                hint=limits.total_hint,
            )
    return {name: info for name, info in members.items() if names is None or name in names}


def _read_array(
    path: Path,
    name: str,
    stream: IO[bytes],
    size: int,
    text: bool,
    record: np.dtype[Any] | None = None,
) -> npt.NDArray[Any]:
    shape, fortran_order, dtype, header_bytes = _read_header(path, name, stream, text, record)
    data_bytes = math.prod(shape) * dtype.itemsize
    if data_bytes != size - header_bytes:
        raise InputError(
            f"{path}: array {name} of shape {shape} and type {dtype} needs {data_bytes} bytes; "
            f"the file has {size - header_bytes} for it",
            hint=_HINT,
        )
    data = bytearray(data_bytes)
    view = memoryview(data)
    done = 0
    while done < data_bytes:
        chunk = stream.read(min(_CHUNK_BYTES, data_bytes - done))
        if not chunk:
            raise EOFError(f"{data_bytes} bytes declared, {done} there")
        view[done : done + len(chunk)] = chunk
        done += len(chunk)
    # One more read lets zipfile compare the checksum.
    stream.read(1)
    if dtype.kind == "U":
        _check_characters(
            path, name, np.frombuffer(data, np.dtype("u4").newbyteorder(dtype.byteorder))
        )
    array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran_order else "C")
    return np.ascontiguousarray(array, dtype.newbyteorder("=")).reshape(shape)


def _check_characters(path: Path, name: str, codes: npt.NDArray[np.uint32]) -> None:
    """Refuses numbers that are no characters: NumPy believes them until they are looked at."""
    wrong = (codes > _CHARACTER_MAX) | ((codes >= 0xD800) & (codes <= 0xDFFF))
    if wrong.any():
        raise InputError(
            f"{path}: array {name} of text holds {int(codes[wrong][0]):#x}, which is no character",
            hint=_HINT,
        )


def _read_header(
    path: Path,
    name: str,
    stream: IO[bytes],
    text: bool,
    record: np.dtype[Any] | None = None,
) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Reads an array's header: shape, whether it is in Fortran order, type, header bytes."""
    prefix = stream.read(8)
    version = tuple(prefix[6:8])
    if prefix[:6] != _NPY_MAGIC or version not in ((1, 0), (2, 0), (3, 0)):
        raise InputError(
            f"{path}: {name}.npy is not a NumPy array of format 1.0, 2.0 or 3.0", hint=_HINT
        )
    length_bytes = 2 if version == (1, 0) else 4
    length = int.from_bytes(stream.read(length_bytes), "little")
    if length > _HEADER_BYTES_MAX:
        raise InputError(
            f"{path}: array {name} has a header of {length} bytes; "
            f"at most {_HEADER_BYTES_MAX} are read",
            hint=_HINT,
        )
    header = _parse_header(stream.read(length))
    if header is None:
        raise InputError(f"{path}: array {name} has a damaged header", hint=_HINT)
    description, fortran_order, shape = header
    if any(axis < 0 for axis in shape):
        raise InputError(
            f"{path}: array {name} has a negative length in its shape {shape}", hint=_HINT
        )
    if record is not None and description == record.descr:
        return shape, fortran_order, record, 8 + length_bytes + length
    plain = isinstance(description, str) and (
        _PLAIN_TYPE.fullmatch(description) or (text and _TEXT_TYPE.fullmatch(description))
    )
    if not isinstance(description, str) or not plain:
        allowed = "booleans, integers, floats and text" if text else "booleans, integers and floats"
        raise InputError(
            f"{path}: array {name} has type {str(description)[:80]}; allowed are {allowed} "
            "(Python objects are never unpickled)",
            hint=_HINT,
        )
    return shape, fortran_order, np.dtype(description), 8 + length_bytes + length


def _parse_header(text: bytes) -> tuple[object, bool, tuple[int, ...]] | None:
    """Type, order and shape of a header, or None where it is not one.

    NumPy's own parser falls back to a tokenizer for files of old Python versions, whose errors are
    not documented; those files are not read here.
    """
    try:
        header = ast.literal_eval(text.decode("utf-8").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        return None
    shape, fortran_order = header["shape"], header["fortran_order"]
    if not isinstance(fortran_order, bool) or not isinstance(shape, tuple):
        return None
    if len(shape) > _DIMENSIONS_MAX or any(type(axis) is not int for axis in shape):
        return None
    return header["descr"], fortran_order, shape


def write_npz(path: str | Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Writes arrays as a compressed ``.npz`` file that appears whole or not at all.

    The bytes depend on the arrays only (no time stamps).

    Args:
        path: The file; one that exists is replaced.
        arrays: Booleans, integers, floats and text (``<U``), by name.

    Raises:
        InputError: The file cannot be written.
    """
    write_atomically(
        Path(path),
        lambda stream: np.savez_compressed(stream, allow_pickle=False, **dict(arrays)),
    )
