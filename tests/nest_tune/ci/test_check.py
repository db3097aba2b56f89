"""From an exported lock to a failed check, end to end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from compiler_core.configuration.configuration import (
    configuration_text,
    parse_configuration,
    read_configuration,
)
from nest_tune.ci.result import TOTALS

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def lock(small_study: Any, nest_tune: Run) -> Path:
    """Trial 0 as a lock file, beside the model."""
    path: Path = small_study.folder / "best.toml"
    code, _, errors = nest_tune(
        "study", "export", "small:0", "-o", path, "--storage", small_study.storage
    )
    assert code == 0, errors
    return path


def checked(nest_tune: Run, *arguments: object) -> tuple[int, dict[str, Any]]:
    code, output, _ = nest_tune("ci", "check", *arguments, "--json")
    document: dict[str, Any] = json.loads(output)
    assert next(iter(document.items())) == ("schema", "nest-tune/ci-check/1")
    return code, document


def test_lock_of_the_chosen_trial_holds(small_study: Any, nest_tune: Run) -> None:
    lock = small_study.folder / "chosen.toml"
    code, _, errors = nest_tune("study", "export", "small", "-o", lock, "--storage",
                                small_study.storage)  # fmt: skip
    assert code == 0, errors
    code, document = checked(nest_tune, lock, "--data", small_study.evaluation)
    assert (code, document["differences"]) == (0, [])


def tampered(lock: Path, layer: str, key: str, value: str) -> None:
    """Changes one knob of the schedule of ``layer``."""
    configuration = read_configuration(lock)
    assert configuration.lock is not None
    task = configuration.lock.layers[layer].task
    text = lock.read_text()
    head, mark, rest = text.partition(f"[schedule.{task}]\n")
    assert mark
    changed = re.sub(rf"^{key} = .*$", f"{key} = {value}", rest, count=1, flags=re.MULTILINE)
    assert changed != rest
    lock.write_text(head + mark + changed)


def test_unchanged_lock_holds(lock: Path, small_study: Any, nest_tune: Run) -> None:
    code, document = checked(nest_tune, lock, "--data", small_study.evaluation)
    assert code == 0
    assert document["ok"] is True
    assert document["differences"] == []
    assert document["compared"] > 100


def test_lock_of_joined_layers_holds_and_names_another_lowering(
    lock: Path, small_study: Any, nest_tune: Run
) -> None:
    apart = lock.read_text()
    assert "launches" not in apart  # the study's trials have a launch per operator
    data = ("--data", small_study.evaluation)
    lock.write_text(apart.replace("[measured]", "[launches]\nmerge = true\n\n[measured]", 1))
    code, document = checked(nest_tune, lock, *data)
    assert code == 4
    totals = {d["metric"]: d for d in document["differences"] if d["where"] == TOTALS}
    assert totals["latency_ms"]["measured"] < totals["latency_ms"]["expected"]
    nest_tune("ci", "check", lock, *data, "--update")
    code, document = checked(nest_tune, lock, *data)
    assert (code, document["differences"]) == (0, [])
    found = read_configuration(lock)
    assert found.launches.borders
    assert found.lock is not None
    programs = [found.lock.layers[name].program for name in found.launches.borders]
    assert len(set(programs)) == len(programs) > 1
    joined = lock.read_text()
    lock.write_text(re.sub(r"^lowering = \d+$", "lowering = 1", joined, flags=re.MULTILINE))
    code, _, errors = nest_tune("ci", "check", lock, *data)
    assert code == 2
    assert "the borders between layers are for version 1 of the lowering" in errors
    lock.write_text(apart.replace("[measured]", "[launches]\nmerge = false\n\n[measured]", 1))
    code, document = checked(nest_tune, lock, *data)
    assert (code, document["differences"]) == (0, [])


def test_one_tampered_tile_is_found_and_named(
    lock: Path, small_study: Any, nest_tune: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    summary, junit = tmp_path / "summary.md", tmp_path / "check.xml"
    tampered(lock, "first", "tile_height", "1")
    code, document = checked(nest_tune, lock, "--junit", junit)
    assert code == 4
    assert document["ok"] is False
    assert document["first_layer"] == "first"
    assert [d["where"] for d in document["differences"] if d["metric"] == "schedule"] == ["first"]
    assert {"cycles", "schedule", "program"} <= {
        d["metric"] for d in document["differences"] if d["where"] == "first"
    }
    totals = {d["metric"]: d for d in document["differences"] if d["where"] == TOTALS}
    assert totals["npu_cycles"]["measured"] != totals["npu_cycles"]["expected"]

    suite = ElementTree.parse(junit).getroot()[0]
    failed = {case.get("name") for case in suite if case.find("failure") is not None}
    assert int(suite.get("failures", "0")) == len(failed)
    assert "first" in failed
    assert "dequantize" not in {name.partition(" ")[0] for name in failed if name}

    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    code, output, errors = nest_tune("ci", "check", lock, "--format", "md")
    assert code == 4
    assert "first layer that differs is first" in errors
    assert "| first | cycles |" in output
    assert summary.read_text().strip() == output.strip()

    # Accepting it makes it hold, with the same accuracy as before.
    before = read_configuration(lock).measured
    code, document = checked(nest_tune, lock, "--update")
    assert (code, document["updated"], document["ok"]) == (0, True, False)
    after = read_configuration(lock).measured
    assert after["npu_cycles"] != before["npu_cycles"]
    assert after["accuracy"] == before["accuracy"]
    code, document = checked(nest_tune, lock, "--data", small_study.evaluation)
    assert (code, document["ok"]) == (0, True)


def test_numbers_within_their_tolerance_pass(lock: Path, nest_tune: Run) -> None:
    text = lock.read_text()
    (old, *_) = re.findall(r"^latency_ms = (\S+)$", text.partition("[measured]")[2], re.MULTILINE)
    head, mark, tail = text.partition("[measured]")
    changed = tail.replace(f"latency_ms = {old}", f"latency_ms = {float(old) * 0.99!r}", 1)
    lock.write_text(head + mark + changed)
    code, document = checked(nest_tune, lock)
    (only,) = document["differences"]
    assert (code, only["metric"]) == (4, "latency_ms")
    assert only["percent"] == pytest.approx(100 / 0.99 - 100)
    assert "(+1.01 %)" in nest_tune("ci", "check", lock)[1]
    code, document = checked(nest_tune, lock, "--tolerance", "latency_ms=2%")
    assert (code, document["ok"], document["within_tolerance"]) == (0, True, 1)
    assert checked(nest_tune, lock, "--tolerance", "latency_ms=1%")[0] == 4
    for wrong in ("latency=2%", "latency_ms", "latency_ms=x", "latency_ms=-1%", "latency_ms=100%"):
        code, _, errors = nest_tune("ci", "check", lock, "--tolerance", wrong)
        assert code == 2
        assert f"--tolerance {wrong}" in errors


def test_tile_that_does_not_fit_names_its_layer(lock: Path, nest_tune: Run) -> None:
    tampered(lock, "second", "tile_height", "4096")
    code, document = checked(nest_tune, lock)
    assert code == 4
    (only,) = document["differences"]
    assert only["metric"] == "compile"
    assert only["where"] == "second"
    assert checked(nest_tune, lock, "--update")[0] == 4


def test_exponent_changes_the_accuracy_that_is_compared(
    lock: Path, small_study: Any, nest_tune: Run
) -> None:
    text = lock.read_text()
    lock.write_text(re.sub(r"^first_relu = .*$", "first_relu = 4", text, flags=re.MULTILINE))
    code, document = checked(nest_tune, lock, "--data", small_study.evaluation)
    assert code == 4
    assert "accuracy" in {d["metric"] for d in document["differences"]}


def test_task_that_is_gone_is_a_difference(lock: Path, nest_tune: Run) -> None:
    """Clipping at another exponent makes another workload: its locked schedule has no task."""
    text = lock.read_text()
    lock.write_text(re.sub(r"^first_relu = .*$", "first_relu = 0", text, flags=re.MULTILINE))
    code, document = checked(nest_tune, lock)
    assert code == 4
    assert document["first_layer"] in ("first", "second")
    assert document["differences"][0]["metric"] == "task"


def test_other_data_are_refused_until_accepted(
    lock: Path, small_study: Any, nest_tune: Run, tmp_path: Path
) -> None:
    with np.load(small_study.evaluation) as stored:
        arrays = {name: stored[name][:50] for name in stored.files}
    other = tmp_path / "other.npz"
    np.savez(other, **arrays)
    code, _, errors = nest_tune("ci", "check", lock, "--data", other)
    assert code == 2
    assert "--update" in errors
    assert nest_tune("ci", "check", lock, "--data", other, "--update")[0] == 0
    updated = read_configuration(lock)
    assert updated.lock is not None
    assert updated.lock.samples == 50
    assert nest_tune("ci", "check", lock, "--data", other)[0] == 0


def test_changed_digest_of_the_target_is_a_difference(lock: Path, nest_tune: Run) -> None:
    configuration = read_configuration(lock)
    lock.write_text(lock.read_text().replace(configuration.target.digest, "0" * 64))
    code, document = checked(nest_tune, lock)
    assert code == 4
    (only,) = document["differences"]
    assert (only["metric"], only["where"]) == ("target digest", TOTALS)


def test_lock_reads_as_it_was_written(lock: Path, hostile_name: str) -> None:
    content = lock.read_bytes()
    configuration = parse_configuration(content, "lock")
    assert configuration_text(configuration).encode() == content
    assert configuration.lock is not None
    assert hostile_name in configuration.lock.layers
    assert configuration.lock.model == "<img src=x onerror=alert(1)>.onnx"


def test_package_of_a_lock_does_not_carry_it(
    lock: Path, small_study: Any, nest_tune: Run, tmp_path: Path
) -> None:
    package = tmp_path / "package"
    words = ("compile", small_study.model, "--target", "vta", "--config", lock, "-o", package)
    assert nest_tune(*words)[0] == 0
    assert read_configuration(package / "config.toml").lock is None
    locked = read_configuration(lock)
    assert read_configuration(package / "config.toml").schedules == locked.schedules


def test_configuration_without_a_lock_is_refused(lock: Path, nest_tune: Run) -> None:
    lock.write_text(lock.read_text().partition("\n[lock]")[0])
    code, _, errors = nest_tune("ci", "check", lock)
    assert code == 2
    assert "study export" in errors


@pytest.mark.parametrize("value", ['"missing.onnx"', '"a\\u0000b"', "1", '"."'])
def test_damaged_locks_are_wrong_input(lock: Path, nest_tune: Run, value: str) -> None:
    text = re.sub(r"^model = .*$", lambda _: f"model = {value}", lock.read_text(), flags=re.M)
    lock.write_text(text)
    code, _, errors = nest_tune("ci", "check", lock)
    assert code == 2
    assert errors.rstrip().splitlines()[-2].startswith("error: ")
