"""Workflows of hosted CI that run ``nest-tune ci check`` on lock files, one job for each.

Paths reach the shell through variables, never as a part of a script.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

from compiler_core.errors import InputError
from nest_tune.ci.pull_request_comment import COMMENT, COMPARE
from nest_tune.ci.workflow_jobs import WorkflowJob


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
    builds = any(job.packages for job in jobs)
    entries = [_entry(job, builds=builds) for job in jobs]
    if service is Service.GITLAB:
        return _gitlab(entries, _quoted(requirement), _quoted(python), builds=builds)
    return _github(entries, _quoted(requirement), _quoted(python), builds=builds, comment=comment)


def _entry(job: WorkflowJob, *, builds: bool) -> dict[str, str]:
    """A job of the matrix: variables by name, those that no job needs left out."""
    found = {"lock": _quoted(job.lock), "data": _quoted(job.data)}
    return {**found, "packages": _quoted(job.packages)} if builds else found


def _quoted(text: str) -> str:
    """A YAML string: printable JSON is one."""
    return json.dumps(text, ensure_ascii=False)


_HEAD = """\
# Compiles every lock file again and compares all numbers with it. Written by `nest-tune ci init`.
# To accept new numbers: nest-tune ci check LOCK --update, and commit the lock file.
"""
_BUILD = (
    'if [ -n "$PACKAGES" ]; then $(command -v sudo) sh -c "apt-get -q update && '
    'apt-get -qy install --no-install-recommends $PACKAGES"; fi'
)
"""Images of both services have no compilers for microcontrollers; containers have no sudo."""
_CHECK = (
    'if [ -n "$DATA" ]; then set -- --data "$DATA"; else set -- --without-data; fi; '
    'nest-tune ci check "$LOCK" "$@" --junit nest-tune.xml'
)


def _github(
    entries: Sequence[Mapping[str, str]],
    requirement: str,
    python: str,
    *,
    builds: bool,
    comment: bool,
) -> str:
    check, files = _CHECK, "nest-tune.xml"
    if comment:
        check += " --markdown nest-tune.md"
        files = "|\n            nest-tune.xml\n            nest-tune.md"
    matrix = "\n".join(
        "          - " + "\n            ".join(f"{key}: {value}" for key, value in entry.items())
        for entry in entries
    )
    packages = "\n      PACKAGES: ${{ matrix.packages }}" if builds else ""
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
      DATA: ${{{{ matrix.data }}}}{packages}
      REQUIREMENT: {requirement}
    steps:
      - uses: actions/checkout@v4
        with:
          lfs: true
      - uses: actions/setup-python@v5
        with:
          python-version: {python}
{f"      - run: {_BUILD}{chr(10)}" if builds else ""}\
      - run: python -m pip install "$REQUIREMENT"
      - run: {check}
{COMPARE if comment else ""}\
      - uses: actions/upload-artifact@v4
        if: always()
        with:
          name: nest-tune-${{{{ strategy.job-index }}}}
          path: {files}
{COMMENT if comment else ""}"""


def _gitlab(
    entries: Sequence[Mapping[str, str]], requirement: str, python: str, *, builds: bool
) -> str:
    matrix = "\n".join(
        "      - " + "\n        ".join(f"{key.upper()}: {value}" for key, value in entry.items())
        for entry in entries
    )
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
{f"    - {_BUILD}{chr(10)}" if builds else ""}\
    - python -m pip install "$REQUIREMENT"
    - {_CHECK}
  artifacts:
    when: always
    paths:
      - nest-tune.xml
    reports:
      junit: nest-tune.xml
"""
