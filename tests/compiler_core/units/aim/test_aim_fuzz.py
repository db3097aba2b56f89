"""Changed programs, as text and as files: each is answered or refused in words, and none hangs."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest

from compiler_core.errors import InputError
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.tool.simulation import SIMULATION
from compiler_core.units.aim.verify.findings import FindingClass
from tests.compiler_core.units.aim.vectors import FOLDER, arrays, lines
from tests.fuzz.mutate_bytes import mutate_bytes

MACHINE = AimMachine()
CLASSES = {kind.value for kind in FindingClass}
FILES = sorted((FOLDER / "data").glob("*.npz"), key=lambda path: path.stat().st_size)[:8]
NAMES = [name for name, entry in lines().items() if len(entry["trace"]) < 40]


def _answered(path: Path) -> bool:
    """Whether a program runs; what is wrong with others is said."""
    complaint = ""
    try:
        found = SIMULATION.run(path, MACHINE, trace=True)
    except InputError as error:
        complaint = error.message
    if complaint:
        assert "\n" not in complaint
        assert len(complaint) < 800
        return False
    if found.refused is not None:
        assert found.refused.error_class in CLASSES
        assert found.refused.advice
        return False
    assert found.slices is not None
    assert sum(1 for _ in found.slices()) == sum(found.counters["commands"].values())
    return True


def _changed_file(source: random.Random, content: bytes, other: bytes, path: Path) -> bytes:
    if source.random() < 0.5:
        return mutate_bytes(source, content, other)
    held = arrays(path)
    name = source.choice(list(held))
    array = held[name].copy()
    if array.size and array.dtype.names and source.random() < 0.8:
        field = source.choice(array.dtype.names)
        array[field][source.randrange(len(array))] = source.choice((0, 1, 7, 16, 64, 127))
    elif array.size and not array.dtype.names:
        array.reshape(-1)[source.randrange(array.size)] = source.choice((0, 1, 31, 32, 120))
    else:
        array = np.repeat(array, source.choice((0, 2)), axis=0)
    stream = io.BytesIO()
    np.savez(stream, **(held | {name: array}))  # type: ignore[arg-type]
    return stream.getvalue()


@pytest.mark.parametrize("seed", range(60))
def test_changed_files(seed: int, tmp_path: Path) -> None:
    source = random.Random(seed)
    one, other = (source.choice(FILES) for _ in range(2))
    path = tmp_path / "p.npz"
    path.write_bytes(_changed_file(source, one.read_bytes(), other.read_bytes(), one))
    _answered(path)


@pytest.mark.parametrize("seed", range(60))
def test_changed_texts(seed: int, tmp_path: Path) -> None:
    source = random.Random(seed)
    one, other = ("\n".join(lines()[source.choice(NAMES)]["trace"]) for _ in range(2))
    path = tmp_path / "p.txt"
    if seed % 3 == 0:
        path.write_bytes(mutate_bytes(source, one.encode(), other.encode()))
    else:
        words = one.split(" ")
        for _ in range(source.randint(1, 3)):
            words[source.randrange(len(words))] = source.choice(
                ("0", "1", "64", "0xffffffff", "16", "-1", "EOC", "\n", "AiM", "9" * 400)
            )
        path.write_text(" ".join(words))
    _answered(path)


def test_some_are_answered(tmp_path: Path) -> None:
    for number, file in enumerate(FILES):
        path = tmp_path / f"{number}.npz"
        path.write_bytes(file.read_bytes())
        assert _answered(path)
