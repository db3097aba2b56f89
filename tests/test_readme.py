"""The commands in the README give the output that stands there; the examples of docs run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

ROOT = Path(__file__).resolve().parent.parent


def examples() -> Iterator[tuple[str, str]]:
    """Command and output of each indented block that starts with ``$ nest-tune``."""
    text = (ROOT / "README.md").read_text()
    for block in re.findall(r"(?:^    .*\n?)+", text, re.MULTILINE):
        lines = [line[4:].rstrip() for line in block.splitlines()]
        if lines[0].startswith("$ nest-tune "):
            yield lines[0].removeprefix("$ nest-tune "), "\n".join(lines[1:])


def test_readme_has_examples() -> None:
    assert len(list(examples())) >= 2


def test_commands_print_what_the_readme_says(tmp_path: Path) -> None:
    """One after another in one folder, as a reader does; progress on standard error is left out."""
    for name in ("examples", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    for command, output in examples():
        done = subprocess.run(
            [sys.executable, "-m", "nest_tune", *shlex.split(command)],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=False,
        )
        text = done.stdout if done.returncode == 0 else done.stdout + done.stderr
        assert "\n".join(line.rstrip() for line in text.splitlines()) == output, command


def test_program_of_the_docs_stores_what_they_say(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "programs.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    arguments = ["simulate", "answer.npz", "--target", "vta", "--outputs", "after.npz"]
    for command in (["-c", example], ["-m", "nest_tune", *arguments]):
        done = subprocess.run(
            [sys.executable, *command],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
    with np.load(tmp_path / "after.npz") as after:
        assert after["dram"][0x2000:0x2010].tolist() == [42] * 16
        assert not after["dram"][0x2010:].any()


def test_picture_is_of_the_study_that_is_shown() -> None:
    """Text that can be selected, both schemes, nothing from elsewhere; the README's own figures."""
    readme = (ROOT / "README.md").read_text()
    assert "](docs/picture.svg)" in readme
    svg = (ROOT / "docs" / "picture.svg").read_text()
    texts = [e.text for e in ElementTree.fromstring(svg).iter() if e.tag.endswith("}text")]
    (trials,) = re.findall(r"^study digits: (\d+) trials", readme, re.MULTILINE)
    (chosen,) = re.findall(r"^chosen: trial (\d+)", readme, re.MULTILINE)
    assert f"{trials} trials of study digits on vta-pynq" in texts
    assert f"One run of trial {chosen}" in texts
    (latency,) = re.findall(rf"^ {chosen} +(\S+) .* chosen$", readme, re.MULTILINE)
    assert f"trial {chosen}: latency_ms {float(latency):.4g}" in svg
    assert "prefers-color-scheme: dark" in svg
    assert "<script" not in svg
    assert re.findall(r"https?://[^\"]*", svg) == ["http://www.w3.org/2000/svg"]
