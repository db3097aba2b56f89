"""What a workflow checks: lock files of both kinds, with what each check reads and installs."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from compiler_core.configuration.configuration import read_configuration
from compiler_core.configuration.lock import Lock
from compiler_core.errors import InputError
from compiler_core.files.file_digest import file_digest
from compiler_core.targets.source_kinds import candidates_for
from nest_tune.ci.source_lock import is_source_lock, read_source_lock

MOST_JOBS = 200
"""What a matrix may hold at both services (256 and 200)."""
MOST_BYTES = 100 << 20
"""Of a file, at GitHub."""


@dataclass(frozen=True)
class WorkflowJob:
    """One check.

    Attributes:
        lock: Lock file, relative to the root of the repository.
        data: Evaluation data of the lock, likewise; empty for none.
        packages: Of Debian and Ubuntu, that build what is checked; empty for none.
    """

    lock: str
    data: str = ""
    packages: str = ""


@dataclass(frozen=True)
class WorkflowPlan:
    """What a workflow checks.

    Attributes:
        jobs: One per lock file.
        notes: What the service will not find.
        files: What the checks read, relative to the root of the repository.
    """

    jobs: tuple[WorkflowJob, ...]
    notes: tuple[str, ...]
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Locked:
    """A lock file, read.

    Attributes:
        lock: What it says.
        is_source: Whether it is one of generated sources.
        calibrates: Whether its check calibrates again.
    """

    lock: Lock
    is_source: bool
    calibrates: bool


def find_locks(root: Path) -> tuple[Path, ...]:
    """Lock files in a folder (not below it), by name."""
    return tuple(path for path in sorted(root.glob("*.toml")) if _is_lock(path))


def _is_lock(path: Path) -> bool:
    try:
        _read(path)
    except InputError:
        return False
    return True


def _read(path: Path) -> _Locked:
    """A lock file of either kind.

    Raises:
        InputError: It cannot be read, or is a configuration alone.
    """
    if is_source_lock(path):
        return _Locked(read_source_lock(path).lock, True, False)
    configuration = read_configuration(path)
    if configuration.lock is None:
        raise InputError(
            f"{path}: a configuration without [lock]: there is nothing to compare with",
            hint="nest-tune study export NAME -o best.toml writes one",
        )
    return _Locked(configuration.lock, False, configuration.scheme.quantization().needs_statistics)


def plan_jobs(locks: Sequence[Path], data: Sequence[Path], root: Path) -> WorkflowPlan:
    """What to check: each lock with those of the data that it was measured on.

    Args:
        locks: Lock files.
        data: Evaluation data; a lock takes the file whose digest it holds.
        root: Of the repository.

    Raises:
        InputError: A file is no lock, is measured on no lock, or lies outside the repository.
    """
    if not 0 < len(locks) <= MOST_JOBS:
        raise InputError(
            f"{len(locks)} lock files; from 1 to {MOST_JOBS} can be checked",
            hint="nest-tune study export NAME -o best.toml writes one",
        )
    files = {file_digest(path): path for path in data}
    jobs: list[WorkflowJob] = []
    notes: list[str] = []
    needed: list[str] = []
    used = set()
    for path in dict.fromkeys(locks):
        read = _read(path)
        lock = read.lock
        found = files.get(lock.evaluation) or _named_data(path, lock, root)
        used.add(lock.evaluation)
        notes += _notes(path, read, has_data=found is not None)
        within = "" if found is None else _inside(found, root)
        jobs.append(WorkflowJob(_inside(path, root), within, _packages(path, read)))
        needed.append(jobs[-1].lock)
        for name in _named(read):
            place = (path.absolute().parent / name).resolve()
            if place.is_relative_to(root.resolve()):
                needed.append(place.relative_to(root.resolve()).as_posix())
            else:
                notes.append(f"{path}: {name} lies outside the repository: CI will not find it")
        if jobs[-1].data:
            needed.append(jobs[-1].data)
    for digest, path in files.items():
        if digest not in used:
            raise InputError(f"--data {path}: no lock file was measured on these data")
    return WorkflowPlan(tuple(jobs), tuple(notes), tuple(dict.fromkeys(needed)))


def too_large(files: Sequence[str], root: Path) -> tuple[str, ...]:
    """What GitHub refuses of the files of a plan, in words for people."""
    found = []
    for name in files:
        size = (root / name).stat().st_size if (root / name).is_file() else 0
        if size > MOST_BYTES:
            found.append(
                f"{name} has {size:,} bytes, and GitHub takes no file of more than "
                f"{MOST_BYTES:,}: git lfs track {shlex.quote(name)}, which the workflow fetches, "
                "or a study with fewer evaluation samples"
            )
    return tuple(found)


def _packages(path: Path, read: _Locked) -> str:
    """What builds the sources of a lock; empty where none are built."""
    if not read.is_source:
        return ""
    target = _target(path, read.lock)
    return candidates_for(target).packages(target)


def _named(read: _Locked) -> list[str]:
    """Files that a check reads beside the lock and the evaluation data, as the lock writes them."""
    lock = read.lock
    target = lock.target if lock.target.endswith(".toml") else ""
    calibration = lock.calibration if read.calibrates else ""
    return [name for name in (lock.model, calibration, target) if name]


def _target(path: Path, lock: Lock) -> str:
    """The target of a lock, found from here."""
    if not lock.target.endswith(".toml"):
        return lock.target
    return str(path.absolute().parent / lock.target)


def _notes(path: Path, read: _Locked, *, has_data: bool) -> list[str]:
    """What the service has not that a check compares."""
    found, lock = [], read.lock
    if lock.clock is not None:
        found.append(
            f"{path}: measured by the clock, which is compared on the same machine, as a ratio "
            "to the float model on one of its kind, and on no other: let the job run on a "
            "runner of your own (runs-on at GitHub, tags at GitLab)"
        )
    if read.is_source and "sources" in lock.versions:
        found.append(
            f"{path}: sizes and counts are those of {lock.versions['sources'].partition('; ')[2]}; "
            "where the job's image has other versions, let it run in one that has these (container "
            "at GitHub, image at GitLab)"
        )
    if lock.evaluation and not has_data:
        found.append(f"{path}: without its evaluation data (--data) accuracy is not compared")
    return found


def _named_data(path: Path, lock: Lock, root: Path) -> Path | None:
    """The evaluation data that a lock names, where they are in the repository as they were."""
    place = path.absolute().parent / lock.evaluation_file
    if not lock.evaluation_file or not place.resolve().is_relative_to(root.resolve()):
        return None
    return place if place.is_file() and file_digest(place) == lock.evaluation else None


def _inside(path: Path, root: Path) -> str:
    """A path as the workflow writes it.

    Raises:
        InputError: It lies outside, or the services would read more into it than a name.
    """
    absolute, base = path.resolve(), root.resolve()
    if not absolute.is_relative_to(base):
        raise InputError(
            f"{path}: not in {root}", hint="run the command at the root of the repository"
        )
    text = absolute.relative_to(base).as_posix()
    if "$" in text or not text.isprintable():
        raise InputError(f"{text!r}: a name in a workflow may hold no $ and no control character")
    return text
