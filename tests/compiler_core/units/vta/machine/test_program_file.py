"""Program files: what a good one gives, and one clear error for each kind of bad one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compiler_core.errors import InputError
from compiler_core.units.vta.machine.program_file import Region, read_program_file
from tests.compiler_core.units.vta.vectors import PROGRAMS, VECTORS


def _arrays(**changes: Any) -> dict[str, Any]:
    insn = np.zeros((2, 16), np.uint8)
    insn[1, 0] = 3
    arrays: dict[str, Any] = {
        "insn": insn,
        "insn_pipelined": insn,
        "pre_addr": np.array([4096, 4128]),
        "pre_len": np.array([16, 8]),
        "pre_data": np.arange(24, dtype=np.uint8),
        "post_addr": np.array([5000]),
        "post_len": np.array([4]),
        "post_data": np.full(4, 7, np.uint8),
        "regions": np.array([[2, 4096, 64, 4096], [4, 5000, 4, 8192]]),
    } | changes
    return {name: array for name, array in arrays.items() if array is not None}


def _file(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "p.npz"
    np.savez_compressed(path, **_arrays(**changes))
    return path


@pytest.mark.parametrize("entry", PROGRAMS, ids=lambda entry: entry["name"])
def test_every_vector_is_read(entry: dict[str, Any]) -> None:
    program = read_program_file(VECTORS / entry["file"])
    assert len(program.instructions) == entry["instructions"]
    assert program.dram_size == entry["dram_size"]
    assert (program.expected is not None) == (entry["expected"] == "success")
    assert program.ignored_arrays == ()


def test_a_good_file(tmp_path: Path) -> None:
    program = read_program_file(_file(tmp_path, extra=np.zeros(1)))
    assert program.dram_size == 8192
    assert program.regions is not None
    assert program.regions[1] == Region(4, 5000, 4, 8192)
    dram = program.dram()
    assert dram[4096:4112].tolist() == list(range(16))
    assert dram[4128:4136].tolist() == list(range(16, 24))
    assert np.count_nonzero(dram) == 23
    expected = program.expected_dram()
    assert expected is not None
    assert expected[5000:5004].tolist() == [7] * 4
    assert program.ignored_arrays == ("extra",)


def test_a_minimal_file(tmp_path: Path) -> None:
    optional = ("insn_pipelined", "post_addr", "post_len", "post_data", "regions")
    program = read_program_file(_file(tmp_path, **dict.fromkeys(optional)))
    assert program.dram_size == 8192
    assert program.regions is program.expected is program.pipelined_instructions is None
    assert program.expected_dram() is None


def test_dram_size_comes_from_the_argument_then_the_manifest_then_the_regions(
    tmp_path: Path,
) -> None:
    path = _file(tmp_path, regions=np.array([[2, 4096, 4097, 4096]]))
    assert read_program_file(path).dram_size == 12288
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps({"programs": [{"file": "q.npz", "dram_size": 5}]}))
    assert read_program_file(path).dram_size == 12288
    manifest.write_text(json.dumps({"programs": [1, {"file": "p.npz", "dram_size": 20480}]}))
    assert read_program_file(path).dram_size == 20480
    assert read_program_file(path, dram_size=6000).dram_size == 6000


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON document"),
        ("[" * 100_000, "not a JSON document"),
        ('{"programs": [{"file": "p.npz", "dram_size": -1}]}', "dram_size of p.npz is -1"),
        ('{"programs": [{"file": "p.npz", "dram_size": true}]}', "is True"),
        ('{"programs": [{"file": "p.npz", "dram_size": 1e9}]}', "is 1000000000.0"),
        ('{"programs": [{"file": "p.npz", "dram_size": 4294967296}]}', "allowed are 1 to 1073741"),
    ],
)
def test_wrong_manifests(tmp_path: Path, text: str, message: str) -> None:
    path = _file(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(InputError, match=message):
        read_program_file(path)
    assert read_program_file(path, dram_size=8192).dram_size == 8192


@pytest.mark.parametrize(
    "text", ["[]", "7", '{"programs": 3}', '{"programs": [{"file": "p.npz"}]}']
)
def test_manifests_of_other_kinds_do_not_matter(tmp_path: Path, text: str) -> None:
    path = _file(tmp_path)
    (tmp_path / "manifest.json").write_text(text)
    assert read_program_file(path).dram_size == 8192


@pytest.mark.parametrize("size", [0, -1, 2**32 + 1, True])
def test_wrong_dram_sizes(tmp_path: Path, size: int) -> None:
    with pytest.raises(InputError, match=r"the DRAM size is .* allowed are 1 to 4294967296"):
        read_program_file(_file(tmp_path), dram_size=size)


def _insn(n: int, **bytes_at: int) -> np.ndarray:
    array = np.zeros((n, 16), np.uint8)
    array[-1, 0] = 3
    for position, value in bytes_at.items():
        array[0, int(position[1:])] = value
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"insn": None}, "array insn is missing"),
        ({"pre_addr": None}, "array pre_addr is missing"),
        ({"pre_len": None}, "array pre_len is missing"),
        ({"pre_data": None}, "array pre_data is missing"),
        ({"post_len": None}, "array post_len is missing"),
        ({"insn": np.zeros((2, 16), np.int8)}, r"insn is int8\[2, 16\]; allowed is uint8\[n, 16\]"),
        ({"insn": np.zeros((2, 15), np.uint8)}, r"insn is uint8\[2, 15\]"),
        ({"insn": np.zeros(32, np.uint8)}, r"insn is uint8\[32\]"),
        ({"insn_pipelined": _insn(3)}, "insn_pipelined has 3 instructions, insn has 2"),
        ({"insn_pipelined": _insn(2, b1=4)}, "insn_pipelined differs from insn in instruction 0"),
        ({"insn_pipelined": _insn(2, b3=2)}, "insn_pipelined differs from insn in instruction 0"),
        ({"pre_addr": np.array([4096.0, 4128.0])}, "pre_addr is float64"),
        ({"pre_addr": np.array([4096, 4128], np.int32)}, r"allowed is int64\[n\]"),
        ({"pre_len": np.array([24])}, r"pre_len is int64\[1\]; allowed is int64\[2\]"),
        ({"pre_len": np.array([25, -1])}, "pre_len, entry 1: length -1"),
        ({"pre_len": np.array([16, 9])}, "pre_data has 24 bytes; pre_len sums to 25"),
        ({"pre_len": np.array([16, 7])}, "pre_data has 24 bytes; pre_len sums to 23"),
        ({"pre_addr": np.array([-1, 4128])}, "pre_addr, entry 0: bytes -1 to 15 lie outside"),
        ({"pre_addr": np.array([4096, 8185])}, "pre_addr, entry 1: bytes 8185 to 8193 lie outside"),
        ({"pre_addr": np.array([2**63 - 1, 0])}, "pre_addr, entry 0"),
        ({"pre_len": np.array([2**63 - 1, 0])}, "pre_addr, entry 0"),
        ({"pre_addr": np.array([4100, 4096])}, "entries 1 and 0 overlap at byte 4100"),
        ({"post_addr": np.array([9000])}, "post_addr, entry 0"),
        ({"post_data": np.zeros(4, np.int32)}, "post_data is int32"),
        (
            {"regions": np.zeros((2, 3), np.int64)},
            r"regions is int64\[2, 3\]; allowed is int64\[n, 4\]",
        ),
        ({"regions": np.array([[5, 0, 0, 0]])}, "row 0: memory type 5"),
        ({"regions": np.array([[1, 4096, -1, 0]])}, "no address or size may be negative"),
        ({"regions": np.array([[1, 2**32, 1, 0]])}, "row 0 ends at 0x100000001"),
        ({"regions": np.array([[1, 2**63 - 1, 2**63 - 1, 0]])}, "row 0 ends at"),
        ({"regions": np.array([[1, 2**32 - 1, 1, 0]])}, "implied by regions is 4294967296"),
        ({"insn": np.array([[object()] * 16])}, "never unpickled"),
    ],
)
def test_wrong_files(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = _file(tmp_path, **changes)
    with pytest.raises(InputError, match=message) as caught:
        read_program_file(path)
    assert str(path) in caught.value.message
    assert caught.value.exit_code == 2


def test_too_many_instructions(tmp_path: Path) -> None:
    path = _file(tmp_path, insn=np.zeros(((1 << 20) + 1, 16), np.uint8))
    with pytest.raises(InputError, match="1048577 instructions; at most 1048576"):
        read_program_file(path)


def test_dram_bases_of_the_pipelined_stream_may_differ(tmp_path: Path) -> None:
    moved = _insn(2, b3=0xFC, b4=0xFF, b5=0xFF, b6=0xFF, b7=0x03)
    program = read_program_file(_file(tmp_path, insn_pipelined=moved))
    assert program.pipelined_instructions is not None
    moved[1, 5] = 1
    with pytest.raises(InputError, match="instruction 1"):
        read_program_file(_file(tmp_path, insn_pipelined=moved))
