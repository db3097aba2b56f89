"""Fixed samples of changed files of every kind keep the contract; ``make fuzz`` runs them all."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz.fuzz import share
from tests.fuzz.kinds import KINDS
from tests.fuzz.mutate_onnx import mutate_onnx
from tests.fuzz.sandbox import Verdict

ROOT = Path(__file__).resolve().parents[2]


def _fuzz(folder: Path, *options: str) -> list[dict[str, Any]]:
    """Results of the cases that these options say, all of which have to be fine."""
    command = [sys.executable, "-m", "tests.fuzz.fuzz", "--folder", str(folder), *options]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, f"{result.stdout}\n{result.stderr}"
    return [
        json.loads(line)
        for file in folder.glob("results-*")
        for line in file.read_text().splitlines()
    ]


def test_one_of_each_kind_ends_as_the_contract_says(tmp_path: Path) -> None:
    found = _fuzz(tmp_path, "--each", "1", "--seed", "1", "--process-every", "12")
    assert len(found) == len(KINDS)
    assert {row["case"].split("/")[1] for row in found} == {kind.name for kind in KINDS}
    assert sum(row["process"] for row in found) == -(-len(found) // 12)
    assert {row["code"] for row in found} > {0, 2}  # some are read, some are refused


@pytest.mark.slow
def test_a_fixed_sample_ends_as_the_contract_says(tmp_path: Path) -> None:
    found = _fuzz(tmp_path, "--cases", "400", "--process-every", "25")
    assert len(found) == 400


def test_the_same_case_is_the_same_file() -> None:
    import random

    content = (ROOT / "examples" / "digits" / "model.onnx").read_bytes()
    for number in range(40):
        one, other = (mutate_onnx(random.Random(number), content, content) for _ in range(2))
        assert one == other


def test_every_kind_has_commands_and_weight() -> None:
    assert all(kind.commands and kind.weight > 0 for kind in KINDS)
    assert sum(kind.weight for kind in KINDS) >= 90


@pytest.mark.parametrize(
    ("behaviour", "verdict"),
    [
        ("70", Verdict.INTERNAL),
        ("raise", Verdict.CODE),
        ("crash", Verdict.CRASH),
        ("memory", Verdict.LARGE),
        ("escape", Verdict.RAW),
        ("2", Verdict.FINE),
    ],
)
def test_the_sandbox_sees_what_breaks_the_contract(
    behaviour: str, verdict: Verdict, tmp_path: Path
) -> None:
    script = f"""
import os, sys
from pathlib import Path
from tests.fuzz.sandbox import run_case
def command(arguments):
    if arguments[0] == "raise":
        raise ValueError
    if arguments[0] == "crash":
        os.abort()
    if arguments[0] == "memory":
        held = bytearray(1200 << 20)
        held[:: 4096] = b"x" * len(held[:: 4096])
        return 0
    if arguments[0] == "escape":
        os.write(1, bytes([27]))
        return 0
    return int(arguments[0])
outcome = run_case(command, [{behaviour!r}], Path({str(tmp_path)!r}), input_bytes=0)
print(outcome.verdict.name)
"""
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == verdict.name


@pytest.mark.parametrize("wrong", ["2/2", "-1/2", "0/0", "1", "a/b", "1/"])
def test_a_share_that_does_not_exist_is_refused(wrong: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="INDEX/COUNT"):
        share(wrong)


def test_shares_make_the_whole() -> None:
    assert [share(f"{index}/3") for index in range(3)] == [(0, 3), (1, 3), (2, 3)]
