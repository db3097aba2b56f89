"""Encoding and decoding of instructions and micro-ops."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from compiler_core.units.vta.machine.isa import (
    COLUMN,
    COMMON_FIELDS,
    FORMATS,
    INSTRUCTION_DTYPE,
    MICRO_OP_FIELDS,
    Opcode,
    decode,
    decode_micro_ops,
    encode,
    encode_micro_ops,
    reserved_bits,
)
from tests.compiler_core.units.vta.vectors import PROGRAMS, VECTORS

FIELD_CASES = [
    (opcode, name, field)
    for opcode, fields in FORMATS.items()
    for name, field in (COMMON_FIELDS | fields).items()
    if name != "opcode"
]


def plain_decode(row: bytes) -> dict[str, int]:
    """Field by field from one big integer."""
    word = int.from_bytes(row, "little")
    opcode = word & 7
    fields = COMMON_FIELDS | (FORMATS[Opcode(opcode)] if opcode <= 4 else {})
    values = dict.fromkeys(COLUMN, 0)
    for name, (high, low, signed) in fields.items():
        value = word >> low & ((1 << high - low + 1) - 1)
        values[name] = value - (1 << high - low + 1) if signed and value >> high - low else value
    return values


def instruction(opcode: Opcode, **values: int) -> np.ndarray:
    row = np.zeros(1, INSTRUCTION_DTYPE)
    row["opcode"] = opcode
    for name, value in values.items():
        row[name] = value
    return row


@pytest.mark.parametrize(
    ("opcode", "name", "field"), FIELD_CASES, ids=[f"{o.name}-{n}" for o, n, _ in FIELD_CASES]
)
def test_every_field_round_trips_at_its_bits(opcode, name, field):
    low, high = field.limits
    for value in {low, -1 if field.signed else 1, high // 2, high}:
        encoded = encode(instruction(opcode, **{name: value}))
        word = int.from_bytes(encoded.tobytes(), "little")
        mask = (1 << field.width) - 1
        assert word == int(opcode) | (value & mask) << field.low
        assert decode(encoded)[name][0] == value


@pytest.mark.parametrize(
    ("opcode", "name", "field"), FIELD_CASES, ids=[f"{o.name}-{n}" for o, n, _ in FIELD_CASES]
)
def test_a_value_that_does_not_fit_is_refused(opcode, name, field):
    low, high = field.limits
    for value in (low - 1, high + 1):
        with pytest.raises(ValueError, match=rf"{name} = {value} is outside {low}\.\.{high}"):
            encode(instruction(opcode, **{name: value}))


def test_a_field_of_another_format_is_refused():
    with pytest.raises(ValueError, match="FINISH has no field x_size"):
        encode(instruction(Opcode.FINISH, x_size=1))


def test_fields_of_a_format_do_not_overlap():
    for fields in FORMATS.values():
        bits = [
            bit
            for field in (COMMON_FIELDS | fields).values()
            for bit in range(field.low, field.high + 1)
        ]
        assert len(bits) == len(set(bits))


@given(hnp.arrays(np.uint8, st.tuples(st.integers(0, 6), st.just(16))))
def test_decoding_equals_the_plain_reference(rows):
    decoded = decode(rows)
    for index, row in enumerate(rows):
        assert dict(zip(COLUMN, decoded[index].tolist(), strict=True)) == plain_decode(
            row.tobytes()
        )


@given(hnp.arrays(np.uint8, st.tuples(st.integers(0, 6), st.just(16))))
def test_bytes_round_trip_but_for_reserved_bits(rows):
    decoded = decode(rows)
    opaque = reserved_bits(decoded, rows)
    same = np.array(
        [np.array_equal(encode(decoded[i : i + 1])[0], rows[i]) for i in range(len(rows))], np.bool_
    )
    known = decoded["opcode"] <= max(Opcode)
    np.testing.assert_array_equal(same, ~opaque)
    assert (encode(decoded)[known & ~opaque] == rows[known & ~opaque]).all()


@given(hnp.arrays(np.uint32, st.integers(0, 8)))
def test_micro_ops_round_trip(words):
    data = words.astype("<u4").view(np.uint8)
    decoded = decode_micro_ops(data)
    for name, (high, low, _) in MICRO_OP_FIELDS.items():
        assert decoded[name].tolist() == [int(w) >> low & ((2 << high - low) - 1) for w in words]
    np.testing.assert_array_equal(encode_micro_ops(decoded), data)


def test_a_micro_op_index_that_does_not_fit_is_refused():
    decoded = decode_micro_ops(np.zeros(4, np.uint8))
    decoded["wgt"] = 1024
    with pytest.raises(ValueError, match=r"wgt is outside 0\.\.1023"):
        encode_micro_ops(decoded)


def test_conformance_programs_encode_to_their_bytes():
    assert len(PROGRAMS) == 85
    for program in PROGRAMS:
        with np.load(VECTORS / program["file"], allow_pickle=False) as arrays:
            rows = arrays["insn"]
        decoded = decode(rows)
        assert not reserved_bits(decoded, rows).any()
        known = decoded["opcode"] <= max(Opcode)
        np.testing.assert_array_equal(encode(decoded[known]), rows[known])
