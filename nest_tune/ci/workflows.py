"""Workflows of hosted CI that run ``nest-tune ci check`` on lock files, one job for each.

Paths reach the shell through variables, never as a part of a script.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from compiler_core.configuration.configuration import read_configuration
from compiler_core.configuration.lock import Lock
from compiler_core.errors import InputError
from compiler_core.files.file_digest import file_digest
from nest_tune.ci.pull_request_comment import COMMENT, COMPARE

MOST_JOBS = 200
"""What a matrix may hold at both services (256 and 200)."""


class Service(Enum):
    """Where the workflow runs."""

    GITHUB = "github"
    GITLAB = "gitlab"

    @property
    def path(self) -> Path:
        """Where the service looks for it, from the root of the repository."""
        if self is Service.GITHUB:
            return Path(".github/workflows/nest-tune.yml")
        return Path(".gitlab-ci.yml")


@dataclass(frozen=True)
class WorkflowJob:
    """One check.

    Attributes:
        lock: Lock file, relative to the root of the repository.
        data: Evaluation data of the lock, likewise; empty for none.
    """

    lock: str
    data: str = ""


@dataclass(frozen=True)
class WorkflowPlan:
    """What a workflow checks.

    Attributes:
        jobs: One per lock file.
        notes: What the service will not find.
    """

    jobs: tuple[WorkflowJob, ...]
    notes: tuple[str, ...]


def find_locks(root: Path) -> tuple[Path, ...]:
    """Lock files in a folder (not below it), by name."""
    return tuple(path for path in sorted(root.glob("*.toml")) if _is_lock(path))


def _is_lock(path: Path) -> bool:
    try:
        return read_configuration(path).lock is not None
    except InputError:
        return False


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
    jobs, notes, used = [], [], set()
    for path in dict.fromkeys(locks):
        lock = read_configuration(path).lock
        if lock is None:
            raise InputError(
                f"{path}: a configuration without [lock]: there is nothing to compare with",
                hint="nest-tune study export NAME -o best.toml writes one",
            )
        found = files.get(lock.evaluation) or _named_data(path, lock, root)
        used.add(lock.evaluation)
        if lock.clock is not None:
            notes.append(
                f"{path}: measured by the clock, which is compared on the same machine, as a ratio "
                "to the float model on one of its kind, and on no other: let the job run on a "
                "runner of your own (runs-on at GitHub, tags at GitLab)"
            )
        if lock.evaluation and found is None:
            notes.append(f"{path}: without its evaluation data (--data) accuracy is not compared")
        jobs.append(WorkflowJob(_inside(path, root), "" if found is None else _inside(found, root)))
        for name in (lock.model, lock.calibration, lock.target):
            place = path.absolute().parent / name
            is_file = name and (name != lock.target or name.endswith(".toml"))
            if is_file and not place.resolve().is_relative_to(root.resolve()):
                notes.append(f"{path}: {name} lies outside the repository: CI will not find it")
    for digest, path in files.items():
        if digest not in used:
            raise InputError(f"--data {path}: no lock file was measured on these data")
    return WorkflowPlan(tuple(jobs), tuple(notes))


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


def workflow(
    service: Service,
    jobs: Sequence[WorkflowJob],
    requirement: str,
    python: str,
    *,
    comment: bool = False,
) -> str:
    """The text of a workflow.

    Args:
        service: Where it runs.
        jobs: What it checks.
        requirement: What pip installs.
        python: Version, ``3.11``.
        comment: Whether a job comments on pull requests; at GitHub alone.

    Raises:
        InputError: The requirement is not one line of plain text.
    """
    if "$" in requirement or not requirement.isprintable() or not requirement.strip():
        raise InputError(f"--install {requirement!r}: one line without $ is needed")
    entries = [(_quoted(job.lock), _quoted(job.data)) for job in jobs]
    if service is Service.GITLAB:
        return _gitlab(entries, _quoted(requirement), _quoted(python))
    return _github(entries, _quoted(requirement), _quoted(python), comment=comment)


def _quoted(text: str) -> str:
    """A YAML string: printable JSON is one."""
    return json.dumps(text, ensure_ascii=False)


_HEAD = """\
# Compiles every lock file again and compares all numbers with it. Written by `nest-tune ci init`.
# To accept new numbers: nest-tune ci check LOCK --update, and commit the lock file.
"""
_CHECK = (
    'if [ -n "$DATA" ]; then set -- --data "$DATA"; else set -- --without-data; fi; '
    'nest-tune ci check "$LOCK" "$@" --junit nest-tune.xml'
)


def _github(
    entries: Sequence[tuple[str, str]], requirement: str, python: str, *, comment: bool
) -> str:
    check, files = _CHECK, "nest-tune.xml"
    if comment:
        check += " --markdown nest-tune.md"
        files = "|\n            nest-tune.xml\n            nest-tune.md"
    matrix = "\n".join(
        f"          - lock: {lock}\n            data: {data}" for lock, data in entries
    )
    return f"""\
{_HEAD}name: nest-tune
on:
  push:
  pull_request:
  workflow_dispatch:
permissions:
  contents: read
jobs:
  check:
    runs-on: ubuntu-latest
    timeout-minutes: 60
    strategy:
      fail-fast: false
      matrix:
        include:
{matrix}
    env:
      LOCK: ${{{{ matrix.lock }}}}
      DATA: ${{{{ matrix.data }}}}
      REQUIREMENT: {requirement}
    steps:
      - uses: actions/checkout@v4
        with:
          lfs: true
      - uses: actions/setup-python@v5
        with:
          python-version: {python}
      - run: python -m pip install "$REQUIREMENT"
      - run: {check}
{COMPARE if comment else ""}\
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: nest-tune-${{{{ strategy.job-index }}}}
          path: {files}
{COMMENT if comment else ""}"""


def _gitlab(entries: Sequence[tuple[str, str]], requirement: str, python: str) -> str:
    matrix = "\n".join(f"      - LOCK: {lock}\n        DATA: {data}" for lock, data in entries)
    image = _quoted(f"python:{json.loads(python)}-slim")
    return f"""\
{_HEAD}nest-tune:
  stage: test
  image: {image}
  timeout: 1 hour
  parallel:
    matrix:
{matrix}
  variables:
    REQUIREMENT: {requirement}
  script:
    - python -m pip install "$REQUIREMENT"
    - {_CHECK}
  artifacts:
    when: always
    paths:
      - nest-tune.xml
    reports:
      junit: nest-tune.xml
"""
