"""What pip has to install so that CI runs the nest-tune that wrote its workflow."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from urllib.parse import unquote, urlsplit

from compiler_core.errors import InputError

_NAME = "nest-tune"
_SOURCES = "SOURCES_OF_NEST_TUNE"
_COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class Requirement:
    """A line for pip.

    Attributes:
        line: ``nest-tune==0.2.0``, or with the address and commit that it was installed from.
        note: What the reader has to know of it; empty for nothing.
    """

    line: str
    note: str = ""


def own_requirement() -> Requirement:
    """The installed version: of the index, or where it came from (PEP 610)."""
    try:
        distribution = metadata.distribution(_NAME)
    except metadata.PackageNotFoundError:
        return Requirement(_NAME, "this nest-tune is not installed: its version is not pinned")
    pinned = f"{_NAME}=={distribution.version.partition('+')[0]}"
    origin = distribution.read_text("direct_url.json")
    if origin is None:
        return Requirement(pinned)
    found = _of_repository(origin)
    if found is not None:
        return Requirement(found)
    return Requirement(
        pinned,
        f"this nest-tune was installed from a file or folder: unless {pinned} is published where "
        "CI installs from, put a wheel into the repository: pip wheel --no-deps --wheel-dir wheels "
        f"{shlex.quote(_place(origin))}; then this command again with --force --install "
        "wheels/nest_tune-*.whl",
    )


def require_in_repository(line: str, root: Path) -> str:
    """A wheel or archive as CI finds it; other requirements as they are.

    Args:
        line: What ``--install`` says.
        root: The repository's root.

    Raises:
        InputError: It names a file that CI will not find.
    """
    if not line.endswith((".whl", ".tar.gz")) or urlsplit(line).scheme or " @ " in line:
        return line
    path = Path(line)
    if not path.is_file():
        raise InputError(f"--install {line}: no such file")
    if not path.resolve().is_relative_to(root.resolve()):
        raise InputError(
            f"--install {line}: lies outside the repository: CI will not find it",
            hint="copy it into the repository",
        )
    return "./" + path.resolve().relative_to(root.resolve()).as_posix()


def _place(origin: str) -> str:
    """The file or folder that this machine has installed from, or what stands for it."""
    try:
        parts = urlsplit(json.loads(origin)["url"])
    except (ValueError, KeyError, TypeError, AttributeError):
        return _SOURCES
    return unquote(parts.path) if parts.scheme == "file" and parts.path else _SOURCES


def _of_repository(origin: str) -> str | None:
    """The line for an installation from a repository; ``None`` for what only this machine has."""
    try:
        document = json.loads(origin)
        kind = document["vcs_info"]["vcs"]
        commit, url = document["vcs_info"]["commit_id"], document["url"]
    except (ValueError, KeyError, TypeError):
        return None
    if kind != "git" or not isinstance(commit, str) or not _COMMIT.fullmatch(commit):
        return None
    parts = urlsplit(url) if isinstance(url, str) else None
    if parts is None or parts.scheme != "https" or parts.username or parts.password:
        return None
    return f"{_NAME} @ git+{url}@{commit}"
