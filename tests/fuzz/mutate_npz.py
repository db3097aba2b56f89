"""Zip files of arrays: values, types and shapes changed, headers forged, bombs."""

from __future__ import annotations

import io
import random
import struct
import zipfile

import numpy as np
import numpy.typing as npt

from tests.fuzz.mutate_bytes import mutate_bytes
from tests.fuzz.values import TEXTS, integer

_DTYPES = (
    "f4",
    "f8",
    "f2",
    "i1",
    "u1",
    "i2",
    "i4",
    "i8",
    "u8",
    "?",
    ">f4",
    "c8",
    "U3",
    "O",
    "M8[s]",
)


def mutate_npz(random_: random.Random, content: bytes, other: bytes) -> bytes:
    """An ``.npz`` file changed by array, by header, by zip structure or by byte."""
    match random_.randrange(10):
        case 0 | 1:
            return mutate_bytes(random_, content, other)
        case 2:
            return _forged(random_, content)
        case 3:
            return _bomb(random_)
        case _:
            arrays = dict(np.load(io.BytesIO(content), allow_pickle=False))
            for _ in range(random_.randint(1, 2)):
                _change(random_, arrays)
            stream = io.BytesIO()
            with np.errstate(all="ignore"):
                np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
            return stream.getvalue()


def _change(random_: random.Random, arrays: dict[str, npt.NDArray[np.generic]]) -> None:
    if not arrays:
        arrays["x"] = np.zeros(3, "f4")
        return
    name = random_.choice(list(arrays))
    array = arrays[name]
    match random_.randrange(11):
        case 0:
            del arrays[name]
        case 1:
            dtype = random_.choice(_DTYPES)
            with np.errstate(all="ignore"):
                try:
                    arrays[name] = array.astype(dtype)
                except (ValueError, TypeError):
                    arrays[name] = np.zeros(array.shape, dtype)
        case 2:
            shape = [random_.choice((0, 1, 2, 3, 8)) for _ in range(random_.randint(0, 5))]
            arrays[name] = np.zeros(shape, array.dtype)
        case 3:
            arrays[
                random_.choice(
                    [t for t in TEXTS if t and "\0" not in t and "/" not in t and len(t) < 200]
                )
            ] = array
        case 4:
            flat = np.array(array).reshape(-1)
            if flat.size:
                at = random_.randrange(flat.size)
                with np.errstate(all="ignore"):
                    try:
                        flat[at] = random_.choice(
                            (float("nan"), float("inf"), 1e30, -1, 2**31, integer(random_))
                        )
                    except (OverflowError, ValueError):
                        flat[at] = 0
            arrays[name] = flat.reshape(array.shape)
        case 5:
            arrays[name] = np.array(array)[: random_.randint(0, 3)] if array.ndim else array
        case 6:
            arrays[name] = np.asfortranarray(np.array(array)[..., None])
        case 7:
            if array.dtype.kind in "iu" and array.size:
                flat = np.array(array).reshape(-1)
                info = np.iinfo(flat.dtype)
                flat[random_.randrange(flat.size)] = random_.choice((info.min, info.max, 0, 1))
                arrays[name] = flat.reshape(array.shape)
        case 8:
            other = random_.choice(list(arrays))
            arrays[name], arrays[other] = arrays[other], arrays[name]
        case 9:  # as an element of a sequence, or as one no more
            arrays[
                name.rpartition("/")[0] or f"{name}/{random_.choice((0, 1, 2, 7, 10**30, ''))}"
            ] = arrays.pop(name) if random_.random() < 0.5 else array
        case 10:
            words = [text for text in TEXTS if "\0" not in text]
            count = random_.choice((0, 1, 2, 6))
            arrays[name] = np.array([random_.choice(words) for _ in range(count)], dtype="U")


def _forged(random_: random.Random, content: bytes) -> bytes:
    """Headers that claim what is not there."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = random_.choice(list(members))
    shape = random_.choice(
        (
            "(9999999999999,)",
            "(-1,)",
            "(0, 99999999999)",
            "(1,)*9",
            "((1,),)",
            "(True,)",
            "(2**40,)",
            "(" + "1," * 40 + ")",
            "(" * 300 + ")" * 300,
            "(1e3,)",
            "()",
            "(18446744073709551616,)",
        )
    )
    kind = random_.choice(
        (
            "'<f4'",
            "'|O'",
            "'<U99999999'",
            "[('a','<f4')]",
            "'<f4" + "," * 50 + "'",
            "'<M8[s]'",
            "3",
            "'V8'",
        )
    )
    order = random_.choice(("False", "True", "1"))
    header = f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, }}".encode()
    version = random_.choice((1, 2, 3, 9))
    length = random_.choice((len(header), 65535, 0, 3))
    size = (
        struct.pack("<H", length)
        if version == 1
        else struct.pack("<I", random_.choice((length, 2**32 - 1)))
    )
    members[name] = b"\x93NUMPY" + bytes((version, 0)) + size + header + b"\0" * 64
    return _zip(members, random_)


def _bomb(random_: random.Random) -> bytes:
    """Compressed zeros, many members, names that lead outside, members of the same name."""
    match random_.randrange(4):
        case 0:
            header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (200000000,), }\n"
            body = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header
            return _zip(
                {random_.choice(("x.npy", "insn.npy", "zzz.npy")): body + bytes(200_000_000)}, None
            )
        case 1:
            return _zip({f"a{i}.npy": b"" for i in range(random_.choice((300, 3000)))}, None)
        case 2:
            return _zip(
                {
                    random_.choice(
                        ("../x.npy", "/x.npy", "x", "x.npy/", "\x1b[31m.npy")
                    ): b"\x93NUMPY"
                },
                None,
            )
        case _:
            return _zip({"x.npy": b"PK\x03\x04" * 9}, random_)


def _zip(members: dict[str, bytes], random_: random.Random | None) -> bytes:
    stream = io.BytesIO()
    method = zipfile.ZIP_DEFLATED
    if random_ is not None:
        method = random_.choice(
            (zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        )
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), data, method)
    return stream.getvalue()
