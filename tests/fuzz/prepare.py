"""Writing changed files: each function fills the folder of a case with what its commands read."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from compiler_core.package.seal import sealed_bytes
from tests.fuzz.mutate_bytes import mutate_bytes
from tests.fuzz.mutate_npz import mutate_npz
from tests.fuzz.mutate_onnx import mutate_onnx
from tests.fuzz.mutate_text import mutate_json, mutate_toml
from tests.fuzz.seed_models import MODELS
from tests.fuzz.values import plain

Mutate = Callable[[random.Random, bytes, bytes], bytes]
Prepare = Callable[[random.Random, Path, Path], None]

EXAMPLE = ("model.onnx", "calib.npz", "eval.npz")


def changed_file(name: str, mutate: Mutate, *seeds: str, beside: tuple[str, ...] = ()) -> Prepare:
    def prepare(random_: random.Random, seeds_folder: Path, folder: Path) -> None:
        for other in beside:
            _copy(seeds_folder / other, folder / other)
        one, other = ((seeds_folder / random_.choice(seeds)).read_bytes() for _ in range(2))
        (folder / name).write_bytes(mutate(random_, one, other))

    return prepare


def changed_journal(random_: random.Random, seeds: Path, folder: Path) -> None:
    """The journal of a study, Optuna's lines or the project's own beside them changed."""
    for name in EXAMPLE:
        _copy(seeds / name, folder / name)
    changed = random_.choice(("", ".records"))
    for ending in ("", ".records"):
        content = (seeds / f"study.log{ending}").read_bytes()
        if ending == changed:
            content = changed_lines(random_, content, content)
        (folder / f"f.log{ending}").write_bytes(content)


def _copy(source: Path, to: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, to)
    else:
        shutil.copy(source, to)


def changed_model(random_: random.Random, seeds: Path, folder: Path) -> None:
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


def changed_package(random_: random.Random, seeds: Path, folder: Path) -> None:
    """One file of the example's package changed."""
    _changed_package(random_, seeds, folder, "package", ("calib.npz", "eval.npz"))


def other_package(random_: random.Random, seeds: Path, folder: Path) -> None:
    """One file of a package of another model changed: parts for the CPU among them."""
    name = random_.choice(sorted(MODELS))
    _copy(seeds / f"{name}.onnx", folder / "model.onnx")
    _copy(seeds / f"{name}.npz", folder / "any.npz")
    _changed_package(random_, seeds, folder, f"package-{name}", ())


def memory_package(random_: random.Random, seeds: Path, folder: Path) -> None:
    """One file of a package with a part on processing in memory changed."""
    _changed_package(random_, seeds, folder, "package-memory", ("cell.onnx", "cell.npz"))


def _changed_package(
    random_: random.Random, seeds: Path, folder: Path, package: str, beside: tuple[str, ...]
) -> None:
    """One file changed; most often its digest is made to fit again."""
    for name in beside:
        _copy(seeds / name, folder / name)
    _copy(seeds / package, folder / "p")
    files = sorted(path for path in (folder / "p").rglob("*") if path.is_file())
    path = random_.choice(files)
    if random_.random() < 0.3:
        path = folder / "p" / random_.choice(("package.json", "config.toml", "report.json"))
    elif random_.random() < 0.6:  # what describes a part, and what the CPU runs
        path = random_.choice([file for file in files if file.suffix in (".json", ".onnx")])
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


def other_model(random_: random.Random, seeds: Path, folder: Path) -> None:
    """A model of another form, changed, with its own data."""
    name, other = random_.choice(sorted(MODELS)), random_.choice(sorted(MODELS))
    _copy(seeds / f"{name}.npz", folder / "any.npz")
    contents = ((seeds / f"{model}.onnx").read_bytes() for model in (name, other))
    (folder / "f.onnx").write_bytes(mutate_onnx(random_, *contents, amplify=False))


def changed_cell(random_: random.Random, content: bytes, other: bytes) -> bytes:
    """A model with a recurrent cell, changed."""
    return mutate_onnx(random_, content, other, amplify=False)


def other_data(random_: random.Random, seeds: Path, folder: Path) -> None:
    """Data of such a model, changed: text, sequences, optionals, narrow numbers."""
    name, other = random_.choice(sorted(MODELS)), random_.choice(sorted(MODELS))
    _copy(seeds / f"{name}.onnx", folder / "model.onnx")
    _copy(seeds / f"package-{name}", folder / "package")
    _copy(seeds / f"{name}.npz", folder / "calib.npz")
    contents = ((seeds / f"{data}.npz").read_bytes() for data in (name, other))
    (folder / "f.npz").write_bytes(mutate_npz(random_, *contents))


def changed_manifest(random_: random.Random, seeds: Path, folder: Path) -> None:
    """A program with a changed manifest beside it."""
    _copy(seeds / "program0.npz", folder / "f.npz")
    document = {"programs": [{"file": "f.npz", "dram_size": 1 << 16, "name": "f"}]}
    content = json.dumps(document).encode()
    (folder / "manifest.json").write_bytes(mutate_json(random_, content, b"{}"))


def changed_cache(random_: random.Random, seeds: Path, folder: Path) -> None:
    """One file of the cache changed; the model is the one that it was filled by."""
    for name in (*EXAMPLE, "schedule.toml"):
        _copy(seeds / name, folder / name)
    cache = folder.parent / "cache"
    _copy(seeds / "cache", cache)
    files = sorted(path for path in cache.rglob("*") if path.is_file())
    for path in random_.sample(files, min(random_.randint(1, 3), len(files))):
        mutate = mutate_npz if path.suffix == ".npz" else mutate_json
        path.write_bytes(mutate(random_, path.read_bytes(), b"{}"))


def changed_database(name: str) -> Prepare:
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


def changed_lines(random_: random.Random, content: bytes, other: bytes) -> bytes:
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
