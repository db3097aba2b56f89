"""The verifier ends soon and without a crash, whatever the bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compiler_core.units.vta.machine.assembly import assemble, assemble_micro_ops
from compiler_core.units.vta.machine.hardware import BufferDepth, VtaGeometry
from compiler_core.units.vta.verify import Severity, first_error, verify
from compiler_core.units.vta.verify.findings import MAX_FINDINGS_PER_CLASS, in_order
from tests.compiler_core.units.vta.vectors import GEOMETRY

"""Far above what is measured, far below what enumerating loops or comparing pairs would take."""

LOADS = """\
load.uop dram_base=0x400 x_size=2048
load.acc dram_base=0x100 x_size=2048
load.inp dram_base=0x400 x_size=2048
load.wgt push_next dram_base=0x40 x_size=1024
"""
PROGRAM_NAMES = ("conv3_16x28_to32_0", "random_2", "chain_overlap_1", "maxpool_0", "neg_sram_gemm")


def ordered(findings: tuple[object, ...]) -> bool:
    return in_order(findings) == findings  # type: ignore[arg-type]


def full_image() -> npt.NDArray[np.uint8]:
    image = np.zeros(1 << 20, np.uint8)
    text = "".join(f"uop dst={i} src={i} wgt={i % 1024}\n" for i in range(2048))
    image[0x1000:0x3000] = assemble_micro_ops(text)
    return image


@settings(max_examples=200)
@given(
    hnp.arrays(np.uint8, st.tuples(st.integers(0, 40), st.just(16))),
    st.sampled_from([0, 3, 4096, 40000]),
    st.booleans(),
)
def test_any_bytes_give_findings(
    rows: npt.NDArray[np.uint8], dram_size: int, known_codes: bool
) -> None:
    if known_codes:
        rows[:, 0] = rows[:, 0] & 0x78 | rows[:, 0] % 5
        rows[-1:] = [3] + [0] * 15
    findings = verify(rows, GEOMETRY, np.zeros(dram_size, np.uint8))
    assert ordered(findings)
    if not len(rows):
        assert [item.finding_class.value for item in findings] == ["missing_finish"]


@settings(max_examples=300)
@given(st.sampled_from(PROGRAM_NAMES), st.integers(0, 2**32))
def test_mutated_programs_give_findings(vta_vectors: Path, name: str, seed: int) -> None:
    with np.load(vta_vectors / f"{name}.npz", allow_pickle=False) as arrays:
        rows = arrays["insn"].copy()
    rng = np.random.default_rng(seed)
    for _ in range(rng.integers(1, 6)):
        rows[rng.integers(len(rows)), rng.integers(16)] ^= 1 << rng.integers(8)
    image = rng.integers(0, 256, 1 << 17, np.uint8)
    findings = verify(rows, GEOMETRY, image)
    assert ordered(findings)
    assert verify(rows, GEOMETRY, image) == findings


@pytest.mark.parametrize(
    "body",
    [
        "gemm pop_prev uop_end=2048 iter_out=16383 iter_in=16383",
        "gemm.reset pop_prev uop_end=1 iter_out=1024 iter_in=1024 dst_out=1 dst_in=1",
        "alu.add pop_prev uop_end=2048 iter_out=16383 iter_in=16383",
        "gemm pop_prev uop_end=8 iter_out=16383 iter_in=16383 dst_out=2047 src_in=2047 wgt_in=1023",
    ],
)
def test_loop_counts_cost_nothing(body: str) -> None:
    program = assemble(LOADS + body + "\nfinish")
    image = full_image()
    verify(program, GEOMETRY, image)  # following the counts would take hours


def long_program(body: str, repeats: int, end: str) -> npt.NDArray[np.uint8]:
    begin = assemble(LOADS + "load.uop pop_prev")
    return np.concatenate(
        [begin, np.tile(assemble(body), (repeats, 1)), assemble(f"{end}\nfinish pop_next")]
    )


@pytest.mark.parametrize(
    ("body", "repeats", "races"),
    [
        # Each STORE overwrites what each LOAD reads, and no token orders them.
        (
            "load.inp dram_base=0x400 y_size=32 x_size=64 x_stride=64\n"
            "store.out dram_base=0x400 y_size=32 x_size=64 x_stride=64",
            5_000,
            True,
        ),
        # Each GEMM touches all of all buffers.
        ("gemm uop_end=2048\nload.uop", 10_000, False),
        # Undefined sources in every instruction, with more executions than could be followed.
        ("alu.add uop_end=2048 iter_in=16383\nload.uop", 2_000, False),
        ("load.uop push_next\nstore.out pop_prev push_prev\nload.uop pop_next", 33_000, False),
    ],
)
def test_long_programs_take_linear_time(body: str, repeats: int, races: bool) -> None:
    end = "alu.add use_imm uop_end=2048 push_next\nstore.out pop_prev push_prev"
    program = long_program(body, repeats, end)
    image = full_image()
    findings = verify(program, GEOMETRY, image)  # quadratic time would be hours
    classes = [item.finding_class.value for item in findings if item.severity is Severity.ERROR]
    assert ("data_race" in classes) == races
    assert all(classes.count(name) <= MAX_FINDINGS_PER_CLASS for name in classes)


def test_a_buffer_deeper_than_the_machine_is_no_problem() -> None:
    """Depths are parameters: nothing is sized for 2048 elements."""
    deep = VtaGeometry(1, 16, 16, GEOMETRY.element_bytes, BufferDepth(2048, 5000, 3000, 7001))
    text = (
        "load.acc dram_base=0x100 x_size=7000 sram_base=1\nload.uop dram_base=0x400 x_size=1\n"
        "alu.add use_imm push_next uop_end=1 iter_out=5 iter_in=1400 "
        "dst_out=1400 src_out=1400 dst_in=1 src_in=1\n"
        "store.out pop_prev push_prev dram_base=0x4000 x_size=7000\nfinish pop_next"
    )
    image = np.zeros(1 << 20, np.uint8)
    (warning,) = verify(assemble(text), deep, image)
    assert warning.demanded == "1 elements from 0 on"
    error = first_error(
        verify(assemble(text.replace("pop_prev push_prev", "push_prev")), deep, image)
    )
    assert error is not None
    assert error.finding_class.value == "token_left_over"


def test_the_caller_s_arrays_may_be_views_and_read_only() -> None:
    program = assemble(LOADS + "gemm pop_prev uop_end=8\nfinish")
    wide = np.zeros((len(program), 32), np.uint8)
    wide[:, ::2] = program
    image = full_image()
    strided = np.repeat(image, 2)[::2]
    image.flags.writeable = False
    assert verify(wide[:, ::2], GEOMETRY, strided) == verify(program, GEOMETRY, image) == ()
    assert strided.flags.writeable
