"""Tasks by id: what ``task list`` and ``compile`` found, so that a command can name a task alone.

One JSON file per task in the cache folder (``NEST_TUNE_CACHE``, else the user's own); an id is the
digest of its content, so a file that was changed is not believed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from compiler_core.errors import InputError
from compiler_core.files.exhausted import cannot_be_read, cannot_be_written, lack_of
from compiler_core.files.npz import MIB
from compiler_core.files.plain import from_plain, refuse_unknown, to_plain
from compiler_core.files.small_file import read_small_file
from compiler_core.files.whole_file import write_atomically
from compiler_core.tensor.task import Task
from compiler_core.units.registry import unit_kind

TASK_SCHEMA = "nest-tune/task/1"


def cache_folder() -> Path:
    """Folder of everything that can be found again."""
    given = os.environ.get("NEST_TUNE_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "nest-tune"


def remember(tasks: Iterable[Task]) -> None:
    """Writes each task that is not there yet.

    Raises:
        InputError: The cache folder cannot be written.
        ResourceError: Its disk is full.
    """
    folder = cache_folder() / "tasks"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        if lack_of(error) is not None:
            raise cannot_be_written(f"cache {folder}", error) from error
        raise InputError(
            f"cache {folder}: cannot be made: {error.strerror or error}",
            hint="set NEST_TUNE_CACHE to a folder that can be written",
        ) from error
    for task in tasks:
        path = folder / f"{task.id}.json"
        if not path.exists():
            text = task_text(task)
            write_atomically(path, lambda stream, text=text: stream.write(text.encode()))  # type: ignore[misc]


def task_text(task: Task) -> str:
    """A task as a JSON document."""
    return json.dumps({"schema": TASK_SCHEMA, "id": task.id, **to_plain(task)}, indent=2) + "\n"


def find(name: str) -> Task:
    """The task with this id, a unique beginning of one, or in this file.

    Raises:
        InputError: There is none, or more than one.
    """
    if name.endswith(".json"):
        return _read(Path(name))
    if not name or any(not (c.isascii() and (c.isalnum() or c in "-_")) for c in name):
        raise InputError(f"task {name!r}: not an id", hint=_HINT)
    folder = cache_folder() / "tasks"
    try:
        found = sorted(path for path in folder.glob(f"{name}*.json") if path.is_file())
    except OSError as error:
        raise cannot_be_read(f"cache {folder}", error) from error
    exact = [path for path in found if path.stem == name]
    if len(found) > 1 and not exact:
        ids = ", ".join(path.stem for path in found[:5])
        raise InputError(f"task {name!r}: {len(found)} tasks begin so: {ids}")
    if not found:
        raise InputError(f"task {name!r}: no task of that id is known here", hint=_HINT)
    path = (exact or found)[0]
    task = _read(path)
    if task.id != path.stem:
        raise InputError(f"task {path.stem}: its file was changed; it holds {task.id}", hint=_HINT)
    return task


_HINT = "nest-tune task list MODEL --target T shows the tasks of a model and makes them known"


def _read(path: Path) -> Task:
    content = read_small_file(path, MIB, f"task {path}")
    try:
        document = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"task {path}: not a JSON document: {error}") from error
    if not isinstance(document, dict) or document.get("schema") != TASK_SCHEMA:
        raise InputError(f"task {path}: schema {TASK_SCHEMA!r} is needed")
    refuse_unknown(document, ["schema", "id", "unit", "workload"], f"task {path}")
    unit = from_plain(str, document.get("unit"), f"task {path}: unit")
    try:
        read = unit_kind(unit).documents.workload
    except InputError as error:
        raise InputError(f"task {path}: unit: {error}", hint=error.hint) from error
    return Task(unit, read(document.get("workload"), f"task {path}: workload", bounded=True))
