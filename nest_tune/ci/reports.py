"""The result of a check for people and machines: Markdown, JUnit XML, plain lines."""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree import ElementTree

from compiler_core.files.xml_text import xml_characters
from nest_tune.ci.difference import Difference
from nest_tune.ci.result import TOTALS, CheckResult
from nest_tune.markdown import cell

_MOST_ROWS = 50


def headline(result: CheckResult) -> str:
    """The result in one sentence."""
    if result.ok:
        passed = len(result.let_pass)
        some = f", {passed} of them within their tolerance" if passed else ""
        return f"{result.lock}: all {result.count} numbers hold{some}"
    where = result.first_layer
    place = f"; the first layer that differs is {where}" if where is not None else ""
    return f"{result.lock}: {len(result.differences)} of {result.count} numbers differ{place}"


def markdown(result: CheckResult) -> str:
    """A section for a pull request or a step summary."""
    sign = "passed" if result.ok else "failed"
    lines = [f"### nest-tune check {sign}", "", cell(headline(result)), ""]
    if result.differences:
        lines += ["| where | metric | expected | measured | change |", "|---|---|---:|---:|---:|"]
        for item in result.differences[:_MOST_ROWS]:
            cells = (item.where, item.metric, *item.texts(), item.change)
            lines.append(f"| {' | '.join(map(cell, cells))} |")
        if left := len(result.differences) - _MOST_ROWS:
            lines += ["", f"and {left} more"] if left > 0 else []
        lines += ["", "`nest-tune ci check LOCK --update` accepts these numbers.", ""]
    if result.notes:
        lines += [*(f"- {cell(note)}" for note in result.notes), ""]
    return "\n".join(lines)


def junit(result: CheckResult) -> bytes:
    """One test case per layer and one for each number of the whole model."""
    cases = list(_cases(result))
    failed = sum(bool(found) for _, _, found in cases)
    suite = ElementTree.Element(
        "testsuite",
        {"name": "nest-tune ci check", "tests": str(len(cases)), "failures": str(failed)},
    )
    suite.set("errors", "0")
    suite.set("skipped", "0")
    for group, name, found in cases:
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": group, "name": xml_characters(name)}
        )
        if found:
            failure = ElementTree.SubElement(
                case, "failure", {"type": "regression", "message": xml_characters(str(found[0]))}
            )
            failure.text = xml_characters("\n".join(map(str, found)))
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    text: bytes = ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)
    return text + b"\n"


def _cases(result: CheckResult) -> Iterator[tuple[str, str, list[Difference]]]:
    differences: dict[str, list[Difference]] = {}
    for item in result.differences:
        differences.setdefault(item.where, []).append(item)
    for where, metrics in result.compared.items():
        mine = differences.get(where, [])
        if where != TOTALS:
            yield "layer", where, mine
            continue
        for metric in metrics:
            yield "model", metric, [item for item in mine if item.metric == metric]
