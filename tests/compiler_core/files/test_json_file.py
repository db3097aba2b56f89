"""JSON as it is written equals the standard library's, at any depth and for any text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.files.json_file import indented, json_bytes, parse_json

_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
)
_KEYS = st.text() | st.integers() | st.booleans() | st.none() | st.floats(0, 1e9)
_DOCUMENTS = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(_KEYS, inner),
    max_leaves=20,
)


@given(_DOCUMENTS)
def test_it_is_what_the_standard_library_writes(document):
    assert indented(document) == json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_json_lacks_are_refused(value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        indented({"a": [1, {"b": value}]})


@pytest.mark.parametrize("value", [b"bytes", {1, 2}, object()])
def test_values_that_json_lacks_are_refused(value):
    with pytest.raises(TypeError, match="not JSON serializable"):
        indented([value])


def test_what_is_written_reads_back():
    document = {"name": "a\u202eb", "list": [1, 2.5, None], "empty": {}}
    content = json_bytes("some/1", document)
    assert "\u202e" not in content.decode()
    assert parse_json(content, "some/1", "here") == document
