"""Two lock files are compared by what they measured, the largest change first."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from compiler_core.configuration.configuration import configuration_text, read_configuration

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def pair(small_study: Any, nest_tune: Run) -> tuple[Path, Path]:
    """A lock file, and one in which two layers and the latency changed."""
    old = small_study.folder / "old.toml"
    words = ("study", "export", "small:0", "-o", old, "--storage", small_study.storage)
    assert nest_tune(*words)[0] == 0
    found = read_configuration(old)
    assert found.lock is not None
    layers = dict(found.lock.layers)
    first, second = list(layers)[:2]
    layers[first] = replace(layers[first], latency_ms=layers[first].latency_ms + 0.5)
    layers[second] = replace(layers[second], latency_ms=layers[second].latency_ms * 0.9)
    measured = {**found.measured, "latency_ms": found.measured["latency_ms"] * 1.25}
    new = small_study.folder / "new <b>.toml"
    lock = replace(found.lock, layers=layers)
    new.write_text(configuration_text(replace(found, measured=measured, lock=lock)))
    return old, new


def test_every_change_is_told_in_per_cent(pair: tuple[Path, Path], nest_tune: Run) -> None:
    code, output, _ = nest_tune("ci", "diff", *pair, "--json")
    assert code == 0
    document = json.loads(output)
    found = document["differences"]
    first, second = list(read_configuration(pair[0]).lock.layers)[:2]  # type: ignore[union-attr]
    assert [(item["where"], item["metric"]) for item in found] == [
        ("whole model", "latency_ms"),
        (first, "latency_ms"),
        (second, "latency_ms"),
    ]
    assert found[0]["percent"] == pytest.approx(25)
    assert found[2]["percent"] == pytest.approx(-10)
    code, output, _ = nest_tune("ci", "diff", *pair)
    assert "1 numbers of the whole model and 2 layers differ" in output
    assert "(+25.00 %)" in output


def test_markdown_is_for_a_pull_request(pair: tuple[Path, Path], nest_tune: Run) -> None:
    code, output, _ = nest_tune("ci", "diff", *pair, "--format", "md")
    assert code == 0
    assert "| layer | metric | before | after | change |" in output
    assert "+25.00 %" in output
    assert "<b>" not in output


def test_equal_locks_differ_in_nothing(pair: tuple[Path, Path], nest_tune: Run) -> None:
    code, output, _ = nest_tune("ci", "diff", pair[0], pair[0])
    assert code == 0
    assert "every number is as in" in output


def test_a_file_without_a_lock_is_wrong_input(
    pair: tuple[Path, Path], nest_tune: Run, tmp_path: Path
) -> None:
    other = tmp_path / "plain.toml"
    other.write_text('schema = "nest-tune/config/1"\n')
    code, _, errors = nest_tune("ci", "diff", pair[0], other)
    assert code == 2
    assert "Traceback" not in errors
