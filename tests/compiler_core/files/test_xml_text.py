"""Any text becomes part of a document that XML readers take."""

from __future__ import annotations

from xml.etree import ElementTree

from hypothesis import example, given
from hypothesis import strategies as st

from compiler_core.files.xml_text import xml_text


@given(st.text())
@example("<script>\"&'\x01\x0b]]>\ud800\ufffe")
def test_any_text_is_well_formed_and_comes_back(text: str) -> None:
    read = ElementTree.fromstring(f'<a b="{xml_text(text)}">{xml_text(text)}</a>')
    if text.isprintable():
        assert (read.text or "", read.get("b")) == (text, text)


def test_what_xml_cannot_hold_is_replaced() -> None:
    assert xml_text("a\x02<") == "a\\x02&lt;"
    assert xml_text("a\ufffe<") == "a\ufffd&lt;"
