"""Every kind of file that the tool reads: how to change one, and the commands that read it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from compiler_core.package.seal import sealed_bytes
from tests.fuzz.mutate_bytes import mutate_bytes
from tests.fuzz.mutate_npz import mutate_npz
from tests.fuzz.mutate_onnx import mutate_onnx
from tests.fuzz.mutate_text import mutate_json, mutate_toml
from tests.fuzz.values import plain

Mutate = Callable[[random.Random, bytes, bytes], bytes]
Prepare = Callable[[random.Random, Path, Path], None]


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: Of the kind.
        weight: How many of a hundred cases are of it.
        prepare: Writes a changed file into the case's folder.
        commands: Command lines that read it, one of which is run.
    """

    name: str
    weight: int
    prepare: Prepare
    commands: tuple[str, ...]


def _file(name: str, mutate: Mutate, *seeds: str, beside: tuple[str, ...] = ()) -> Prepare:
    def prepare(random_: random.Random, seeds_folder: Path, folder: Path) -> None:
        for other in beside:
            _copy(seeds_folder / other, folder / other)
        one, other = ((seeds_folder / random_.choice(seeds)).read_bytes() for _ in range(2))
        (folder / name).write_bytes(mutate(random_, one, other))

    return prepare


def _copy(source: Path, to: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, to)
    else:
        shutil.copy(source, to)


def _model(random_: random.Random, seeds: Path, folder: Path) -> None:
    for name in ("any.npz", "eval.npz"):
        _copy(seeds / name, folder / name)
    sources = ("model.onnx", "small.onnx", "small.onnx", "package/model.qdq.onnx")
    one, other = ((seeds / random_.choice(sources)).read_bytes() for _ in range(2))
    (folder / "weights.bin").write_bytes(bytes(70000))
    (folder.parent / "secret.bin").write_bytes(b"secret")
    (folder / "link.bin").symlink_to("/etc/passwd")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "fifo")
    (folder / "f.onnx").write_bytes(mutate_onnx(random_, one, other))


def _package(random_: random.Random, seeds: Path, folder: Path) -> None:
    """One file of a package changed; most often its digest is made to fit again."""
    for name in ("calib.npz", "eval.npz"):
        _copy(seeds / name, folder / name)
    _copy(seeds / "package", folder / "p")
    files = sorted(path for path in (folder / "p").rglob("*") if path.is_file())
    path = random_.choice(files)
    if random_.random() < 0.5:
        path = folder / "p" / random_.choice(("package.json", "config.toml", "report.json"))
    content = path.read_bytes()
    mutate = {".json": mutate_json, ".toml": mutate_toml, ".onnx": mutate_onnx}.get(
        path.suffix, mutate_bytes
    )
    changed = mutate(random_, content, (seeds / "model.onnx").read_bytes())
    if random_.random() < 0.05:
        path.unlink()
        path.symlink_to("/etc/passwd")
        return
    path.write_bytes(changed)
    if random_.random() < 0.85:
        _seal(random_, folder / "p")


def _seal(random_: random.Random, package: Path) -> None:
    """Digests of the manifest made right again, as far as it still is one."""
    manifest = package / "package.json"
    try:
        document = json.loads(manifest.read_bytes())
        for name, entry in document["files"].items():
            content = (package / name).read_bytes()
            entry["sha256"] = hashlib.sha256(content).hexdigest()
            entry["size_bytes"] = len(content)
        if random_.random() < 0.1:
            entry = next(iter(document["files"].values()))
            document["files"][
                random_.choice(("../eval.npz", "/etc/passwd", "a//b", "", "\x1b[31m"))
            ] = entry
        document.pop("schema", None)
        manifest.write_bytes(sealed_bytes(document))
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        OSError,
        RecursionError,
        StopIteration,
    ):
        return


def _database(name: str) -> Prepare:
    def prepare(random_: random.Random, seeds: Path, folder: Path) -> None:
        _copy(seeds / name, folder / "f.db")
        for other in ("model.onnx", "calib.npz", "eval.npz"):
            _copy(seeds / other, folder / other)
        if random_.random() < 0.4:
            content = (folder / "f.db").read_bytes()
            (folder / "f.db").write_bytes(mutate_bytes(random_, content, content[::-1]))
            return
        with closing(sqlite3.connect(folder / "f.db")) as database, database:
            for _ in range(random_.randint(1, 3)):
                _change_cell(random_, database)

    return prepare


def _change_cell(random_: random.Random, database: sqlite3.Connection) -> None:
    tables = [
        row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type='table'")
    ]
    table = random_.choice(sorted(tables))
    columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
    rows = [row[0] for row in database.execute(f'SELECT rowid FROM "{table}"')]
    if random_.random() < 0.05:
        database.execute(f'DROP TABLE "{table}"')
        return
    if not rows or not columns:
        return
    row, column = random_.choice(rows), random_.choice(columns)
    old = database.execute(f'SELECT "{column}" FROM "{table}" WHERE rowid=?', (row,)).fetchone()[0]
    value: object
    if isinstance(old, str) and old[:1] in "{[" and random_.random() < 0.7:
        value = mutate_json(random_, old.encode(), b"{}").decode("utf-8", "replace")
    elif isinstance(old, bytes):
        value = mutate_bytes(random_, old, old)
    else:
        value = plain(random_)
    if isinstance(value, dict | list | bool):
        value = json.dumps(value)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        value = 2**63 - 1
    if isinstance(value, str):
        value = value.encode("utf-8", "replace").decode()
    try:
        database.execute(f'UPDATE "{table}" SET "{column}"=? WHERE rowid=?', (value, row))
    except sqlite3.Error:
        database.execute(f'DELETE FROM "{table}" WHERE rowid=?', (row,))


def _lines(random_: random.Random, content: bytes, other: bytes) -> bytes:
    """JSON lines: some changed as JSON, some as bytes, some doubled or dropped."""
    lines = content.splitlines()
    for _ in range(random_.randint(1, 4)):
        if not lines:
            break
        at = random_.randrange(len(lines))
        match random_.randrange(5):
            case 0:
                del lines[at]
            case 1:
                lines.insert(at, lines[at])
            case 2:
                lines[at] = mutate_bytes(random_, lines[at], other)
            case _:
                lines[at] = mutate_json(random_, lines[at], b"{}")
    return b"\n".join(lines) + random_.choice((b"", b"\n", b"\r\n\0"))


_STUDY_COMMANDS = (
    "study list --storage {s}", "study show fuzz --storage {s}", "study trials fuzz --storage {s}",
    "study best fuzz --storage {s}", "study show fuzz:1 --storage {s} --json",
    "study export fuzz --storage {s} -o best.toml", "study resume fuzz --storage {s} --trials +0",
    "study report fuzz --storage {s} -o r.html", "study explain fuzz --storage {s}",
    "study compare fuzz fuzz --storage {s} --format md", "study verify fuzz --storage {s}",
    "compile --study fuzz model.onnx --target vta --storage {s} --calibration calib.npz -o out",
)  # fmt: skip


def _stored(url: str) -> tuple[str, ...]:
    return tuple(command.format(s=url) for command in _STUDY_COMMANDS)


_EXAMPLE = ("model.onnx", "calib.npz", "eval.npz")
_CALIBRATION = "--calibration any.npz"
_START = "study start --target vta --name n --trials 2 --dry-run"

KINDS: tuple[Kind, ...] = (
    Kind(
        "model",
        34,
        _model,
        (
            f"compile f.onnx --target vta {_CALIBRATION} -o out",
            f"compile f.onnx --target vta {_CALIBRATION} -o out --emit graph,tensor,commands",
            f"compile f.onnx --target vta-x2 {_CALIBRATION} -o out --json",
            "task list f.onnx --target vta",
            "plan show f.onnx --target vta --svg p.svg",
            "plan best f.onnx --target vta --time-limit 1 -o p.toml",
            "space show f.onnx --target vta",
            f"quantize profile f.onnx {_CALIBRATION} -o prof",
            f"{_START} --model f.onnx {_CALIBRATION} --evaluation any.npz",
        ),
    ),
    Kind(
        "target",
        8,
        _file(
            "f.toml",
            mutate_toml,
            "full.toml",
            "short.toml",
            beside=("full.toml", "model.onnx", "program0.npz"),
        ),
        (
            "target check f.toml",
            "target show f.toml",
            "simulate program0.npz --target f.toml",
            "task list model.onnx --target f.toml",
            "plan show model.onnx --target f.toml",
        ),
    ),
    Kind(
        "study",
        8,
        _file("f.toml", mutate_toml, "study.toml", beside=_EXAMPLE),
        (
            "study start f.toml --dry-run",
            "study start f.toml --dry-run --json",
        ),
    ),
    Kind(
        "plan",
        4,
        _file("f.toml", mutate_toml, "plan.toml", beside=_EXAMPLE),
        (
            "plan check model.onnx --target vta --plan f.toml --fix fixed.toml",
            "plan show model.onnx --target vta --plan f.toml",
            "compile model.onnx --target vta --plan f.toml --calibration calib.npz -o out",
        ),
    ),
    Kind(
        "configuration",
        8,
        _file("f.toml", mutate_toml, "package/config.toml", "lock.toml", beside=_EXAMPLE),
        (
            "compile model.onnx --target vta --config f.toml --calibration calib.npz -o out",
            "ci check f.toml",
            "ci check f.toml --data eval.npz --junit j.xml --format md",
            "plan show model.onnx --target vta --config f.toml",
            "task list model.onnx --target vta --config f.toml",
            "ci init github f.toml",
        ),
    ),
    Kind(
        "data",
        8,
        _file(
            "f.npz",
            mutate_npz,
            "calib.npz",
            "eval.npz",
            "any.npz",
            beside=("model.onnx", "calib.npz", "package"),
        ),
        (
            "compile model.onnx --target vta --calibration f.npz -o out",
            "run package --inputs f.npz --outputs y.npz",
            "run package --inputs f.npz --outputs y.npz --check",
            "evaluate package --data f.npz",
            "evaluate package --data f.npz --against model.onnx",
            f"{_START} --model model.onnx --calibration calib.npz --evaluation f.npz",
        ),
    ),
    Kind(
        "program",
        7,
        _file("f.npz", mutate_npz, *(f"program{i}.npz" for i in range(8))),
        (
            "simulate f.npz --target vta",
            "simulate f.npz --target vta --outputs after.npz --trace t.json",
            "simulate f.npz --target vta --profile rtl2020 --json",
        ),
    ),
    Kind(
        "package",
        8,
        _package,
        (
            "run p --inputs calib.npz --outputs y.npz",
            "run p --inputs calib.npz --outputs y.npz --check --dump-launches d",
            "profile p",
            "profile p --by instruction --trace t.json",
            "evaluate p --data eval.npz",
        ),
    ),
    Kind(
        "schedule",
        3,
        _file("f.toml", mutate_toml, "schedule.toml", beside=("task.json",)),
        ("task measure task.json --target vta --schedule f.toml",),
    ),
    Kind(
        "task",
        2,
        _file("f.json", mutate_json, "task.json", beside=("schedule.toml",)),
        (
            "task measure f.json --target vta --schedule schedule.toml",
            "task tune f.json --target vta --trials 2 --sampler random --storage sqlite:///r.db",
        ),
    ),
    Kind(
        "profile",
        3,
        _file("f", mutate_npz, "profile", beside=_EXAMPLE),
        (
            "compile model.onnx --target vta --profile f -o out",
            "quantize sensitivity model.onnx --target vta --profile f --data eval.npz --limit 2",
        ),
    ),
    Kind(
        "records",
        2,
        _file("f.jsonl", _lines, "records.jsonl"),
        (
            "record import f.jsonl --storage sqlite:///new.db",
            "record import f.jsonl --storage journal:///new.log",
        ),
    ),
    Kind(
        "cost table",
        1,
        _file("f.csv", mutate_bytes, "cpu.csv", beside=_EXAMPLE),
        ("plan show model.onnx --target vta --cpu-table f.csv",),
    ),
    Kind(
        "cost model",
        1,
        _file("f.json", mutate_json, "cost.json"),
        ("cost-model show --model f.json",),
    ),
    Kind(
        "record database",
        2,
        _database("records.one.db"),
        (
            "record list --storage sqlite:///f.db",
            "record verify --storage sqlite:///f.db",
            "record export --storage sqlite:///f.db -o e.jsonl",
            "cost-model show --storage sqlite:///f.db",
        ),
    ),
    Kind("study database", 3, _database("study.one.db"), _stored("sqlite:///f.db")),
    Kind(
        "study journal",
        2,
        _file("f.log", _lines, "study.log", beside=_EXAMPLE),
        _stored("journal:///f.log"),
    ),
)
