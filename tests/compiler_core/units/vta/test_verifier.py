"""Each class of findings with a small program, and the conformance programs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from compiler_core.units.vta.machine.assembly import assemble, assemble_micro_ops
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.verify import (
    Finding,
    FindingClass,
    Severity,
    first_error,
    verify,
)
from tests.compiler_core.units.vta.vectors import GEOMETRY, PROGRAMS, VECTORS

VALID = """\
load.inp   dram_base=0x200 x_size=8
load.wgt   push_next dram_base=0x40
load.wgt   push_next dram_base=0x40 x_size=1
load.uop   dram_base=0x400 x_size=16
gemm.reset pop_prev uop_end=8
gemm       pop_prev push_prev uop_end=8
alu.shr    push_next use_imm uop_end=8 imm=4
store.out  pop_prev push_prev dram_base=0x300 x_size=8
load.inp   pop_next push_next dram_base=0x208 x_size=8
finish     pop_prev pop_next
"""
"""Multiplies 8 vectors by a weight, shifts, stores, and loads the next 8 in their place."""
MICRO_OPS = "".join(f"uop dst={i} src={i}\n" for i in range(16))


def dram_image(size: int = 0x8000) -> npt.NDArray[np.uint8]:
    """Micro-ops 0..15 at 0x1000: dst = src = own number, wgt = 0; the rest is zero."""
    image = np.zeros(size, np.uint8)
    data = assemble_micro_ops(MICRO_OPS)
    image[0x1000 : 0x1000 + len(data)] = data
    return image


def check(text: str, geometry: VtaGeometry = GEOMETRY) -> tuple[Finding, ...]:
    return verify(assemble(text), geometry, dram_image())


def changed(*changes: tuple[str, str]) -> str:
    """The valid program with some of its text replaced, each exactly once."""
    text = VALID
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def test_the_valid_program_has_no_findings() -> None:
    assert check(VALID) == ()
    assert first_error(()) is None


SHIFT = "alu.shr    push_next use_imm uop_end=8 imm=4"
UOP = "load.uop dram_base=0x400 x_size=16\n"
INIT = UOP + "load.acc dram_base=0x100 x_size=32\n"
SINGLE = [
    # Decoding.
    (".word 5\nfinish", "unknown_opcode", 0, "opcode"),
    (".word 7\nfinish", "unknown_opcode", 0, "opcode"),
    ("alu.4 uop_end=1\nfinish", "unknown_alu_opcode", 0, "alu_opcode"),
    ("load.5 x_size=1\nfinish", "unknown_memory_type", 0, "memory_type"),
    ("store.7\nfinish", "unknown_memory_type", 0, "memory_type"),
    # FINISH position.
    ("load.inp\n", "missing_finish", None, "opcode"),
    ("", "missing_finish", None, "opcode"),
    ("load.uop\nfinish\nload.uop\nfinish", "finish_not_last", 1, "opcode"),
    ("finish\nload.uop", "finish_not_last", 0, "opcode"),
    # Flags.
    ("load.inp push_prev\nfinish", "illegal_dependence_flag", 0, "push_prev"),
    ("load.wgt pop_prev\nfinish", "illegal_dependence_flag", 0, "pop_prev"),
    ("store.out push_next\nfinish", "illegal_dependence_flag", 0, "push_next"),
    ("load.uop\nstore.out pop_next\nfinish", "illegal_dependence_flag", 1, "pop_next"),
    # Loops and fields.
    (UOP + "gemm uop_end=1 iter_in=0\nfinish", "zero_length_loop", 1, "iter_in"),
    (UOP + "alu.add uop_end=1 iter_out=0\nfinish", "zero_length_loop", 1, "iter_out"),
    (UOP + "gemm uop_begin=3 uop_end=3\nfinish", "zero_length_loop", 1, "uop_begin..uop_end"),
    (UOP + "alu.min uop_begin=3 uop_end=2\nfinish", "zero_length_loop", 1, "uop_begin..uop_end"),
    ("load.out\nfinish", "illegal_field", 0, "memory_type"),
    ("store.acc\nfinish", "illegal_field", 0, "memory_type"),
    ("store.out x_size=1 dram_base=0x400 x_pad_0=1\nfinish", "illegal_field", 0, "padding"),
    ("load.acc x_size=1 y_size=0 dram_base=0x400\nfinish", "illegal_field", 0, "y_size"),
    ("load.acc x_size=1 dram_base=0x3f\nfinish", "illegal_field", 0, "dram_base"),
    (".word 0x83\n", "illegal_field", 0, "reserved bits"),
    # Ranges.
    (
        "load.inp x_size=16 sram_base=2040 dram_base=0x100\nfinish",
        "sram_out_of_range",
        0,
        "inp SRAM",
    ),
    ("load.wgt x_size=2 sram_base=1023 dram_base=0x10\nfinish", "sram_out_of_range", 0, "wgt SRAM"),
    (
        "load.uop x_size=2 sram_base=2047 dram_base=0x400\nfinish",
        "sram_out_of_range",
        0,
        "uop SRAM",
    ),
    (
        "load.acc x_size=1 sram_base=2040 dram_base=0x40 y_pad_0=4 x_pad_1=1\nfinish",
        "sram_out_of_range",
        0,
        "acc SRAM",
    ),
    ("store.out x_size=2049 dram_base=0x100\nfinish", "sram_out_of_range", 0, "out SRAM"),
    (INIT + "gemm uop_end=16 iter_in=3 dst_in=1020\nfinish", "sram_out_of_range", 2, "acc SRAM"),
    (INIT + "gemm uop_end=1 iter_out=3 src_out=1024\nfinish", "sram_out_of_range", 2, "inp SRAM"),
    (
        INIT + "gemm uop_end=1 iter_in=2 wgt_in=1023 iter_out=2 wgt_out=1\nfinish",
        "sram_out_of_range",
        2,
        "wgt SRAM",
    ),
    (INIT + "alu.add uop_end=1 iter_in=3 src_in=1024\nfinish", "sram_out_of_range", 2, "acc SRAM"),
    (INIT + "alu.add uop_end=2049\nfinish", "sram_out_of_range", 2, "uop SRAM"),
    ("load.inp x_size=1 dram_base=0x800\nfinish", "dram_out_of_range", 0, "DRAM"),
    ("load.inp x_size=1 dram_base=0xffffffff\nfinish", "dram_out_of_range", 0, "DRAM"),
    (
        "load.inp x_size=1 y_size=3 x_stride=65535 dram_base=0x100\nfinish",
        "dram_out_of_range",
        0,
        "DRAM",
    ),
    # Tokens.
    ("load.uop pop_prev\nfinish", "deadlock", 0, "load->compute tokens"),
    ("store.out pop_prev\nload.uop push_next\nfinish", "deadlock", 0, "compute->store tokens"),
    (
        changed(("gemm       pop_prev push_prev", "gemm       pop_prev")),
        "deadlock",
        8,
        "compute->load tokens",
    ),
    (
        "load.uop push_next\nload.uop push_next\nstore.out pop_prev\nfinish",
        "token_left_over",
        1,
        "compute->store tokens",
    ),
    (
        changed(("finish     pop_prev pop_next", "finish     pop_prev")),
        "token_left_over",
        7,
        "store->compute tokens",
    ),
    ("load.inp\nfinish", "finish_not_ordered", 1, "load module"),
    ("store.out\nfinish", "finish_not_ordered", 1, "store module"),
    # Races.
    (
        changed(
            ("gemm       pop_prev push_prev", "gemm       pop_prev"),
            ("load.inp   pop_next", "load.inp  "),
        ),
        "data_race",
        8,
        "inp SRAM",
    ),
    # Hardware rules.
    ("load.uop dram_base=0x400 y_size=2 x_size=1\nfinish", "hardware_rule", 0, "y_size"),
    ("load.uop dram_base=0x400 x_size=1 x_pad_0=1\nfinish", "hardware_rule", 0, "uop padding"),
    (
        changed(("dram_base=0x40 x_size=1", "dram_base=0x40 x_size=1 y_pad_1=1")),
        "hardware_rule",
        2,
        "wgt padding",
    ),
    (changed(("imm=4", "imm=32")), "hardware_rule", 6, "imm"),
    (changed(("imm=4", "imm=-32")), "hardware_rule", 6, "imm"),
    (changed(("imm=4", "imm=4 dst_in=1")), "hardware_rule", 6, "src_in"),
    (changed(("imm=4", "imm=4 src_out=1")), "hardware_rule", 6, "src_out"),
    (
        changed(("gemm       pop_prev", "gemm.reset pop_prev"), (SHIFT, "load.uop push_next")),
        "hardware_rule",
        7,
        "acc SRAM",
    ),
    (
        changed((SHIFT, "load.acc push_next dram_base=0x100 x_size=1 sram_base=7")),
        "hardware_rule",
        7,
        "acc SRAM",
    ),
    # Micro-ops that nothing has loaded.
    ("alu.add use_imm uop_end=1\nfinish", "uninitialised_read", 0, "uop SRAM"),
]


@pytest.mark.parametrize(("text", "name", "instruction", "resource"), SINGLE)
def test_first_error(text: str, name: str, instruction: int | None, resource: str) -> None:
    error = first_error(check(text))
    assert error is not None
    assert (error.finding_class.value, error.instruction, error.resource) == (
        name,
        instruction,
        resource,
    )
    assert error.demanded
    assert error.allowed
    assert error.demanded in error.message
    assert error.allowed in error.message


def test_every_class_has_a_program() -> None:
    covered = {name for _, name, _, _ in SINGLE}
    assert covered == {item.value for item in FindingClass}


@pytest.mark.parametrize(
    ("loops", "illegal"),
    [
        ("uop_end=8", False),
        ("uop_end=1", False),
        ("uop_end=1 iter_in=2", True),
        ("uop_end=1 iter_in=8 dst_in=1", False),
        ("uop_end=1 iter_in=1 iter_out=3 dst_out=1 dst_in=9", False),
        ("uop_end=2 iter_in=2 dst_in=1", True),  # 0 1 | 1 2
        ("uop_end=2 iter_in=2 dst_in=2", False),
        ("uop_end=2 iter_in=2", True),  # 0 1 | 0 1
        ("uop_end=3 iter_in=2", False),  # 0 1 2 | 0 1 2
        ("uop_end=3 iter_in=2 dst_in=1", True),  # 0 1 2 | 1 2 3
        ("uop_end=1 iter_out=2 iter_in=3 dst_in=1 dst_out=1", True),  # 0 1 2 | 1
        ("uop_end=1 iter_out=2 iter_in=3 dst_in=1 dst_out=0", False),  # 0 1 2 | 0
        ("uop_end=1 iter_out=16383 iter_in=16383", True),
    ],
)
@pytest.mark.parametrize("kind", ["gemm", "gemm.reset"])
def test_gemm_repeats_no_accumulator_within_two(kind: str, loops: str, illegal: bool) -> None:
    found = check(INIT + f"{kind} {loops}\nfinish")
    repeated = [f for f in found if f.resource == "micro-op dst"]
    assert bool(repeated) == illegal


@pytest.mark.parametrize(
    ("loops", "illegal"),
    [
        ("uop_end=2 iter_in=2", False),  # 0 1 | 0 1: distance 2 is legal here
        ("uop_end=2 iter_in=2 dst_in=1 src_in=1", True),  # 0 1 | 1 2
        ("uop_end=1 iter_out=2", True),
        ("uop_end=1 iter_out=2 iter_in=3 dst_in=1 src_in=1 dst_out=2 src_out=2", True),
        ("uop_end=1 iter_out=2 iter_in=3 dst_in=1 src_in=1 dst_out=3 src_out=3", False),
    ],
)
def test_immediate_alu_repeats_no_destination_at_once(loops: str, illegal: bool) -> None:
    found = check(INIT + f"alu.add use_imm imm=1 {loops}\nfinish")
    assert [f.resource for f in found] == ["micro-op dst"] * illegal
    tensor = check(INIT + f"alu.add {loops}\nfinish")
    assert tensor == ()


def test_a_micro_op_of_an_immediate_alu_has_equal_indices() -> None:
    image = dram_image()
    image[0x1000:0x1004] = assemble_micro_ops("uop dst=3 src=4")
    program = assemble(INIT + "alu.add use_imm uop_end=1\nfinish")
    (found,) = verify(program, GEOMETRY, image)
    assert (found.finding_class, found.resource) == (FindingClass.HARDWARE_RULE, "micro-op src")


def test_tensor_shifts_are_a_warning() -> None:
    (found,) = check(INIT + "alu.shr uop_end=2\nfinish")
    assert found.severity is Severity.WARNING
    assert first_error((found,)) is None


def test_a_deeper_micro_op_buffer_still_obeys_the_hardware() -> None:
    deep = replace(GEOMETRY, depth=replace(GEOMETRY.depth, uop=8192))
    loads = "load.uop dram_base=0x400 x_size=4000\nload.acc dram_base=0x100 x_size=32\n"
    found = check(loads + "alu.add use_imm uop_begin=2048 uop_end=2049\nfinish", deep)
    assert [(f.finding_class, f.resource) for f in found] == [
        (FindingClass.HARDWARE_RULE, "uop SRAM")
    ]


def test_what_the_store_path_holds_follows_from_the_last_write() -> None:
    """A reset after the last GEMM takes away what STORE would write."""
    late_reset = changed(
        (
            "alu.shr    push_next use_imm uop_end=8 imm=4",
            "gemm.reset push_next uop_begin=2 uop_end=4",
        )
    )
    (found,) = check(late_reset)
    assert (found.finding_class, found.demanded) == (
        FindingClass.HARDWARE_RULE,
        "2 elements from 2 on",
    )


def test_uninitialised_reads_are_warnings() -> None:
    no_reset = changed(("gemm.reset pop_prev uop_end=8", "load.uop   pop_prev"))
    (found,) = check(no_reset)
    assert (found.finding_class, found.severity) == (
        FindingClass.UNINITIALISED_READ,
        Severity.WARNING,
    )
    assert (found.instruction, found.resource) == (7, "acc SRAM")
    fewer = changed(("dram_base=0x200 x_size=8", "dram_base=0x200 x_size=5"))
    (found,) = check(fewer)
    assert (found.instruction, found.resource) == (5, "inp SRAM")
    assert found.demanded == "3 elements from 5 on"


def test_an_accumulator_nobody_stores_may_stay_undefined() -> None:
    assert check(UOP + "alu.add use_imm uop_end=1\nfinish") == ()


def test_undefined_values_spread_through_tensor_alus() -> None:
    image = dram_image()
    image[0x1000:0x100C] = assemble_micro_ops("uop dst=0 src=9\nuop dst=1 src=2\nuop dst=3 src=3")
    program = assemble(
        "load.uop dram_base=0x400 x_size=3\n"
        "load.acc dram_base=0x100 x_size=4\n"
        "alu.add uop_end=3\n"
        "alu.add uop_begin=2 uop_end=3 push_next\n"
        "store.out pop_prev push_prev dram_base=0x300 x_size=2\n"
        "finish pop_next"
    )
    (found,) = verify(program, GEOMETRY, image)
    assert found.finding_class is FindingClass.UNINITIALISED_READ
    assert found.demanded == "1 elements from 0 on"


STORE_FOUR = "store.out pop_prev push_prev dram_base=0x300 x_size=4\n"
ADD_FOUR = INIT + "alu.add use_imm uop_end=4 push_next\n"
RACES = [
    (
        "inp SRAM",
        changed(
            ("gemm       pop_prev push_prev", "gemm       pop_prev"),
            ("load.inp   pop_next", "load.inp  "),
        ),
    ),
    (
        "wgt SRAM",
        "load.acc dram_base=0x100 x_size=8\n"
        "load.inp push_next dram_base=0x200 x_size=8\n"
        "load.wgt push_next dram_base=0x40 x_size=1\n"
        + UOP
        + "gemm uop_end=8 pop_prev\nfinish pop_prev",
    ),
    ("acc SRAM", ADD_FOUR + STORE_FOUR + "alu.add use_imm uop_end=1\nfinish pop_next"),
    (
        "DRAM",
        ADD_FOUR
        + STORE_FOUR
        + "load.inp push_next dram_base=0x303 x_size=1\nload.uop pop_prev\nfinish pop_next",
    ),
    (
        "DRAM",
        ADD_FOUR
        + "load.inp push_next dram_base=0x303 x_size=1\n"
        + STORE_FOUR
        + "load.uop pop_prev\nfinish pop_next",
    ),
]


@pytest.mark.parametrize(("resource", "text"), RACES)
def test_races_that_a_run_in_program_order_does_not_notice(resource: str, text: str) -> None:
    """Tokens balance, FINISH is ordered, program order gives the right data."""
    errors = [f for f in check(text) if f.severity is Severity.ERROR]
    assert errors
    assert {(f.finding_class, f.resource) for f in errors} == {(FindingClass.DATA_RACE, resource)}


def test_tokens_through_a_third_module_order_two_others() -> None:
    """Store -> compute -> load: the load may read what the store wrote."""
    text = (
        INIT + "alu.add use_imm uop_end=4 push_next\n"
        "store.out pop_prev push_prev dram_base=0x300 x_size=4\n"
        "load.uop pop_next push_prev\n"
        "load.inp pop_next push_next dram_base=0x300 x_size=4\n"
        "finish pop_prev"
    )
    assert check(text) == ()


def test_neighbouring_and_interleaved_places_do_not_race() -> None:
    """Two halves of a buffer, rows with gaps, adjacent DRAM: nothing is shared."""
    even, odd = "sram_base=0 dram_base=0x100", "sram_base=8 dram_base=0x120"
    text = (
        f"load.acc {even} x_size=8\n" + UOP + "alu.add use_imm uop_end=8 push_next\n"
        "store.out pop_prev push_prev dram_base=0x300 y_size=4 x_size=1 x_stride=2\n"
        f"load.acc {odd} x_size=8\n"
        "load.inp push_next dram_base=0x301 y_size=4 x_size=1 x_stride=2\n"
        "load.uop pop_prev\nfinish pop_next"
    )
    assert check(text) == ()
    shared = text.replace(
        "load.inp push_next dram_base=0x301", "load.inp push_next dram_base=0x300"
    )
    (found,) = check(shared)
    assert found.demanded == "64 bytes from 0x3000 on"


def test_transfers_without_columns_touch_nothing() -> None:
    assert check("load.uop y_size=9 y_pad_0=3 sram_base=0xffff dram_base=0xffffffff\nfinish") == ()


def test_micro_ops_that_the_program_stores_are_rejected() -> None:
    text = (
        INIT + "alu.add use_imm uop_end=4 push_next\n"
        "store.out pop_prev push_prev dram_base=0x300 x_size=4\n"
        "load.uop pop_next dram_base=0xc0f x_size=2 sram_base=0x10\n"
        "finish"
    )
    (found,) = check(text)
    assert (found.finding_class, found.instruction) == (FindingClass.HARDWARE_RULE, 4)
    assert found.resource == "micro-ops in DRAM"
    assert "written by instruction 3" in found.demanded
    assert check(text.replace("dram_base=0xc0f", "dram_base=0xc10")) == ()


def test_counters_hold_255_tokens() -> None:
    def bursts(count: int) -> str:
        pops = "store.out pop_prev\n" * (count - 1) + "store.out pop_prev push_prev\n"
        return "load.uop push_next\n" * count + pops + "finish pop_next"

    assert check(bursts(255)) == ()
    (found,) = check(bursts(256))
    assert (found.finding_class, found.instruction) == (FindingClass.ILLEGAL_FIELD, 255)
    ping_pong = "load.uop push_next\nstore.out pop_prev push_prev\nload.uop pop_next\n" * 300
    assert check(ping_pong + "finish") == ()
    # In program order never two at once, but nothing holds the producer back.
    lagging = "load.uop push_next\nstore.out pop_prev\n" * 256
    (found,) = check(lagging + "load.uop push_next\nstore.out pop_prev push_prev\nfinish pop_next")
    assert found.demanded == "256 outstanding"


def test_a_full_queue_keeps_the_waking_instruction_from_being_fetched() -> None:
    waiting = "store.out pop_prev\n" + "store.out\n" * 512
    error = first_error(check(waiting + "load.uop push_next\nfinish"))
    assert error is not None
    assert error.finding_class is FindingClass.DEADLOCK
    assert "never fetched" in error.message
    shorter = "store.out pop_prev\n" + "store.out\n" * 511
    error = first_error(check(shorter + "load.uop push_next\nfinish"))
    assert error is not None
    assert "program order is not executable" in error.message


def test_findings_come_in_the_order_in_which_they_are_reported() -> None:
    text = "store.acc pop_next\nload.inp x_size=3 dram_base=0xffffffff\nload.uop push_next\n"
    classes = [f.finding_class for f in check(text)]
    assert classes == [
        FindingClass.MISSING_FINISH,
        FindingClass.ILLEGAL_DEPENDENCE_FLAG,
        FindingClass.ILLEGAL_FIELD,
        FindingClass.DRAM_OUT_OF_RANGE,
    ]


@pytest.mark.parametrize(
    ("instructions", "dram"),
    [
        (np.zeros((2, 15), np.uint8), dram_image()),
        (np.zeros(16, np.uint8), dram_image()),
        (np.zeros((1, 16), np.int8), dram_image()),
        (np.zeros((1, 16), np.uint8), np.zeros(64, np.int8)),
        (np.zeros((1, 16), np.uint8), np.zeros((4, 16), np.uint8)),
    ],
)
def test_arrays_of_another_type_or_shape_are_refused(
    instructions: npt.NDArray[np.uint8], dram: npt.NDArray[np.uint8]
) -> None:
    with pytest.raises(ValueError, match=r"(is|are) needed"):
        verify(instructions, GEOMETRY, dram)


def test_conformance_programs() -> None:
    assert len(PROGRAMS) == 85
    for program in PROGRAMS:
        with np.load(VECTORS / program["file"], allow_pickle=False) as arrays:
            instructions, data = arrays["insn"], arrays["pre_data"]
            segments = np.stack([arrays["pre_addr"], arrays["pre_len"]], axis=1).tolist()
        image = np.zeros(program["dram_size"], np.uint8)
        at = 0
        for address, length in segments:
            image[address : address + length] = data[at : at + length]
            at += length
        findings = verify(instructions, GEOMETRY, image)
        if program["expected"] == "success":
            assert findings == (), program["name"]
        else:
            error = first_error(findings)
            assert error is not None, program["name"]
            assert error.finding_class.value == program["expected_error"], program["name"]
