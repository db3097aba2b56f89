"""What a workflow installs is what wrote it, or CI's user is told what to do."""

from __future__ import annotations

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from compiler_core.errors import InputError
from nest_tune.ci.requirement import own_requirement, require_in_repository

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Installed:
    """A distribution with an origin of its own."""

    def __init__(self, origin: str | None) -> None:
        self.version = "0.2.0.post3+g1234567"
        self.origin = origin

    def read_text(self, name: str) -> str | None:
        assert name == "direct_url.json"
        return self.origin


def requirement_from(origin: Any, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    text = origin if isinstance(origin, str | None) else json.dumps(origin)
    monkeypatch.setattr(metadata, "distribution", lambda _: Installed(text))
    found = own_requirement()
    return found.line, found.note


def test_from_an_index_the_version_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    assert requirement_from(None, monkeypatch) == ("nest-tune==0.2.0.post3", "")


def test_from_a_repository_the_commit_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    url = "https://git.example/own/nest-tune.git"
    origin = {"url": url, "vcs_info": {"vcs": "git", "commit_id": COMMIT}}
    assert requirement_from(origin, monkeypatch) == (f"nest-tune @ git+{url}@{COMMIT}", "")


@pytest.mark.parametrize(
    "origin",
    [
        {"url": "file:///home/a/nest-tune", "dir_info": {"editable": True}},
        {"url": "file:///tmp/nest_tune.whl", "archive_info": {}},
        {"url": "https://me:secret@git.example/x", "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
        {"url": "https://git.example/x", "vcs_info": {"vcs": "git", "commit_id": "$(id)"}},
        {"url": ["x"], "vcs_info": {"vcs": "git", "commit_id": COMMIT}},
        {"vcs_info": 3},
        "no JSON",
    ],
)
def test_elsewhere_a_note_says_what_to_do(origin: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    line, note = requirement_from(origin, monkeypatch)
    assert line == "nest-tune==0.2.0.post3"
    assert "--install" in note
    assert "secret" not in line + note


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("file:///home/a/nest-tune", "/home/a/nest-tune"),
        ("file:///home/a%20b/nest_tune.whl", "'/home/a b/nest_tune.whl'"),
        ("https://me:secret@git.example/x", "SOURCES_OF_NEST_TUNE"),
    ],
)
def test_the_note_says_commands_that_work(
    url: str, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, note = requirement_from({"url": url, "dir_info": {}}, monkeypatch)
    assert f"pip wheel --no-deps --wheel-dir wheels {place}; then" in note
    assert "--force --install wheels/nest_tune-*.whl" in note


def test_what_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "distribution", missing)
    assert own_requirement().line == "nest-tune"
    assert "not pinned" in own_requirement().note


def test_a_wheel_has_to_lie_in_the_repository(tmp_path: Path) -> None:
    root = tmp_path / "repository"
    root.mkdir()
    (root / "a.whl").touch()
    (tmp_path / "b.whl").touch()
    assert require_in_repository(str(root / "a.whl"), root) == "./a.whl"
    for other in (
        "nest-tune",
        "nest-tune @ https://files.example/a.whl",
        "https://x.example/a.whl",
    ):
        assert require_in_repository(other, root) == other
    with pytest.raises(InputError, match="no such file"):
        require_in_repository(str(root / "c.whl"), root)
    with pytest.raises(InputError, match="outside the repository"):
        require_in_repository(str(tmp_path / "b.whl"), root)
