"""Hostile and damaged ``.npz`` files give one clear error; good ones come back whole."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compiler_core.errors import InputError
from compiler_core.files.npz import NpzLimits, read_npz, write_npz


def _npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def _header(text: str, version: bytes = b"\x01\x00") -> bytes:
    length = len(text).to_bytes(2 if version == b"\x01\x00" else 4, "little")
    return b"\x93NUMPY" + version + length + text.encode()


def _zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@given(
    st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
        hnp.arrays(
            st.sampled_from([np.uint8, np.int64, np.float32, np.dtype(">i4"), np.bool_]),
            hnp.array_shapes(min_dims=0, min_side=0, max_side=5),
        ),
        max_size=4,
    )
)
def test_what_is_written_is_read_back(arrays: dict[str, np.ndarray]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.npz"
        write_npz(path, arrays)
        result = read_npz(path)
        assert list(result) == list(arrays)
        for name, array in arrays.items():
            assert result[name].dtype == array.dtype.newbyteorder("=")
            assert result[name].shape == array.shape
            np.testing.assert_array_equal(result[name], array)
            assert result[name].flags.c_contiguous


def test_fortran_order_and_stored_members_are_read(tmp_path: Path) -> None:
    array = np.asfortranarray(np.arange(6).reshape(2, 3))
    path = _zip(tmp_path / "x.npz", {"x.npy": _npy(array)}, zipfile.ZIP_STORED)
    np.testing.assert_array_equal(read_npz(path)["x"], array)


def test_only_named_arrays_are_read(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.npz", {"x.npy": _npy(np.ones(3)), "y.npy": b"garbage"})
    assert list(read_npz(path, names={"x"})) == ["x"]
    with pytest.raises(InputError, match=r"y\.npy is not"):
        read_npz(path)


def test_writing_is_atomic_and_repeatable(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    write_npz(path, {"x": np.arange(9)})
    first = path.read_bytes()
    with pytest.raises(ValueError, match="allow_pickle"):
        write_npz(path, {"x": np.array([object()])})
    assert path.read_bytes() == first
    write_npz(path, {"x": np.arange(9)})
    assert path.read_bytes() == first
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="cannot be written"):
        write_npz(tmp_path / "none" / "x.npz", {"x": np.arange(9)})


class _Bomb:
    """Leaves a trace when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return os.mkdir, (str(self.path),)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    trace = tmp_path / "unpickled"
    data = _header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }\n")
    path = _zip(tmp_path / "x.npz", {"x.npy": data + pickle.dumps(_Bomb(trace))})
    with pytest.raises(InputError, match=r"array x .*never unpickled"):
        read_npz(path)
    _zip(path, {"x.npy": pickle.dumps(_Bomb(trace))})
    with pytest.raises(InputError, match="not a NumPy array"):
        read_npz(path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a NumPy array"),
        (b"\x93NUMPY\x04\x00", "not a NumPy array of format"),
        (_header("{'descr': '<i8', 'fortran_order': False, 'shape': (-1,), }"), "negative length"),
        (_header("{'descr': '<i8', 'fortran_order': False, 'shape': (2,), }"), "needs 16 bytes"),
        (_header("{'descr': '<i8', 'fortran_order': False, 'shape': (2**70,), }"), "damaged"),
        (
            _header(f"{{'descr': '<i8', 'fortran_order': False, 'shape': ({2**61}, {2**61}), }}"),
            "needs",
        ),
        (_header("{'descr': '<U4', 'fortran_order': False, 'shape': (), }"), "allowed are boo"),
        (
            _header("{'descr': [('a', '<i4')], 'fortran_order': False, 'shape': (), }"),
            "allowed are boo",
        ),
        (_header("__import__('os').abort()"), "damaged"),
        (_header("(" * 5000), "damaged"),
        (_header(" " * 20_000, b"\x02\x00"), "header of 20000 bytes"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\xff", "header of 4294967295 bytes"),
        (b"\x93NUMPY\x01\x00\x80\x00{", "damaged"),
    ],
)
def test_wrong_members(tmp_path: Path, data: bytes, message: str) -> None:
    path = _zip(tmp_path / "x.npz", {"x.npy": data})
    with pytest.raises(InputError, match=message) as caught:
        read_npz(path)
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 2


def test_wrong_directories(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    good = _npy(np.ones(3))
    with pytest.raises(InputError, match=r"entry 'x\.txt'"):
        read_npz(_zip(path, {"x.txt": good}))
    with pytest.raises(InputError, match=r"3 entries .* at most 2"):
        read_npz(
            _zip(path, dict.fromkeys(["a.npy", "b.npy", "c.npy"], good)),
            limits=NpzLimits(array_count=2),
        )
    with pytest.raises(InputError, match="zip method 14"):
        read_npz(_zip(path, {"x.npy": good}, zipfile.ZIP_LZMA))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", good)
        with pytest.warns(UserWarning, match="Duplicate"):
            archive.writestr("x.npy", good)
    with pytest.raises(InputError, match="'x' is there twice"):
        read_npz(path)
    path.write_bytes(good)
    with pytest.raises(InputError, match=r"not an \.npz"):
        read_npz(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_npz(tmp_path / "none.npz")
    with pytest.raises(InputError, match="is a folder"):
        read_npz(tmp_path)


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.npz", {"x.npy": _npy(np.ones(3))})
    data = bytearray(path.read_bytes())
    data[data.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match="encrypted"):
        read_npz(path)


def test_bombs_are_refused_before_they_are_read(tmp_path: Path) -> None:
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({1 << 24},), }}"
    bomb = _header(header) + bytes(1 << 24)
    path = _zip(tmp_path / "x.npz", {"x.npy": bomb})
    assert path.stat().st_size < 1 << 16
    assert read_npz(path)["x"].size == 1 << 24
    with pytest.raises(InputError, match="claims 16777"):
        read_npz(path, limits=NpzLimits(total_bytes=1 << 24))
    _zip(path, {f"{k}.npy": bomb for k in range(3)})
    with pytest.raises(InputError, match="array '2' claims"):
        read_npz(path, limits=NpzLimits(total_bytes=40_000_000))


def test_a_member_larger_than_declared_is_not_read_on(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.npz", {"x.npy": _npy(np.zeros(1 << 20, np.uint8))})
    data = bytearray(path.read_bytes())
    entry = data.rindex(b"PK\x01\x02")
    data[entry + 24 : entry + 28] = (100_000).to_bytes(4, "little")
    path.write_bytes(data)
    with pytest.raises(InputError, match="needs 1048576 bytes; the file has 99872"):
        read_npz(path)


def test_a_huge_directory_is_not_read(tmp_path: Path) -> None:
    members = {f"{k:0200d}.npy": b"" for k in range(600)}
    path = _zip(tmp_path / "x.npz", members)
    with pytest.raises(InputError, match="zip directory"):
        read_npz(path, limits=NpzLimits(directory_bytes=100_000))


def test_flipped_data_fails_its_checksum(tmp_path: Path) -> None:
    path = _zip(tmp_path / "x.npz", {"x.npy": _npy(np.arange(64))}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    data[300] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"array x is damaged.*CRC"):
        read_npz(path)


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    write_npz(path, {"x": np.arange(20), "y": np.ones(3, np.float32)})
    data = path.read_bytes()
    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(InputError):
            read_npz(path)


def test_any_flipped_bytes_give_arrays_or_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    write_npz(path, {"x": np.arange(20), "y": np.ones(3, np.float32)})
    data = path.read_bytes()
    rng = np.random.default_rng(0)
    outcomes = set()
    for _ in range(2000):
        wrong = bytearray(data)
        for position in rng.integers(0, len(data), rng.integers(1, 4)):
            wrong[position] = rng.integers(0, 256)
        path.write_bytes(wrong)
        try:
            read_npz(path)
            outcomes.add("read")
        except InputError:
            outcomes.add("refused")
    assert outcomes == {"read", "refused"}


def test_text_is_read_where_it_is_asked_for(tmp_path: Path) -> None:
    texts = np.array([["a", "grün"], ["", "\U0001f600"]])
    write_npz(tmp_path / "x.npz", {"x": texts, "n": np.arange(3)})
    found = read_npz(tmp_path / "x.npz", text=True)
    assert found["x"].tolist() == texts.tolist()
    with pytest.raises(
        InputError, match="array x has type <U4; allowed are booleans, integers and"
    ):
        read_npz(tmp_path / "x.npz")


@pytest.mark.parametrize("code", [0x110000, 0xD800, 0xFFFFFFFF])
def test_text_that_holds_no_characters(tmp_path: Path, code: int) -> None:
    head = _npy(np.array(["a"]))[:-4]
    path = _zip(tmp_path / "x.npz", {"x.npy": head + code.to_bytes(4, "little")})
    with pytest.raises(InputError, match="which is no character"):
        read_npz(path, text=True)


@pytest.mark.parametrize("kind", ["<U0", "<U99999999", "|S3", "|O", "<M8[s]", "|V4", "<c8"])
def test_types_that_are_never_read(tmp_path: Path, kind: str) -> None:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': (1000000000,)}}\n"
    path = _zip(tmp_path / "x.npz", {"x.npy": _header(header)})
    with pytest.raises(InputError, match="has type"):
        read_npz(path, text=True)
