"""A storage's password: nowhere to be seen, and not needed in what is stored."""

from __future__ import annotations

import gc
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy

from compiler_core.errors import MissingDependencyError
from nest_tune.study.store.storage import StudyStorage

Run = Callable[..., tuple[int, str, str]]
DIGITS = Path("examples") / "digits"


@pytest.fixture
def place(postgresql: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str, str]:
    """URL with the password, without it, and the password."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NEST_TUNE_STORAGE", raising=False)
    monkeypatch.delenv("PGPASSWORD", raising=False)
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    password = str(sqlalchemy.make_url(postgresql.url).password)
    return postgresql.url, postgresql.url.replace(f":{password}@", "@"), password


def start(repository: Path, *words: str) -> list[str]:
    folder = repository / DIGITS
    files = [str(folder / name) for name in ("model.onnx", "calib.npz", "eval.npz")]
    options = ["--model", files[0], "--calibration", files[1], "--evaluation", files[2]]
    space = ("--space", "quantization,partition", "--sampler", "random", "--name", "s")
    return ["study", "start", *options, "--target", "vta", *space, "--trials", "2", *words]


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # commands leave closing to their end
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_no_command_shows_or_stores_the_password_and_a_resume_needs_none_that_is_stored(
    place: tuple[str, str, str],
    repository: Path,
    nest_tune: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    url, bare, password = place
    said = []

    def call(*words: str) -> int:
        code, out, errors = nest_tune(*words)
        said.append(out + errors)
        return code

    query = f"{bare}?password={password}&sslpassword={password}"
    assert call(*start(repository, "--dry-run", "--storage", query)) == 0
    assert call(*start(repository, "--storage", url)) == 0
    for words in (
        ("study", "show", "s"),
        ("study", "show", "s", "--json"),
        ("study", "show", "s:0", "--json"),
        ("study", "list", "--json"),
        ("study", "report", "s", "-o", "r.html", "--json"),
        ("study", "export", "s", "-o", "best.toml"),
        ("study", "best", "s", "--json"),
        ("study", "start", "--storage", url),
        ("record", "list"),
    ):
        with_url = words if "--storage" in words else (*words, "--storage", query)
        assert call(*with_url) in (0, 2)
    monkeypatch.setenv("NEST_TUNE_STORAGE", url)
    call("doctor")
    monkeypatch.delenv("NEST_TUNE_STORAGE")

    # Without a password nobody gets in; it comes from wherever clients of PostgreSQL find it.
    assert call("study", "resume", "s", "--trials", "+1", "--storage", bare) == 5
    assert "PGPASSWORD" in said[-1]
    monkeypatch.setenv("PGPASSWORD", password)
    assert call("study", "resume", "s", "--trials", "+1", "--storage", bare) == 0
    monkeypatch.delenv("PGPASSWORD")
    (tmp_path / "pgpass").write_text(f"*:*:*:*:{password}\n")
    (tmp_path / "pgpass").chmod(0o600)
    assert call("study", "resume", "s", "--trials", "+1", "--storage", bare) == 0
    (tmp_path / "pgpass").unlink()
    assert call("study", "resume", "s", "--trials", "+1", "--storage", query) == 0

    pages = [path.read_text() for path in tmp_path.glob("*.*") if path.suffix in (".html", ".toml")]
    assert len(pages) == 2
    assert [text for text in [*said, *pages] if password in text] == []
    assert bare in "".join(pages)
    assert rows_with(url, password) == {}
    gc.collect()


def rows_with(url: str, text: str) -> dict[str, int]:
    """Tables with rows that hold a text."""
    engine = sqlalchemy.create_engine(url)
    found = {}
    with engine.connect() as connection:
        for table in sqlalchemy.inspect(engine).get_table_names():
            query = f"SELECT count(*) FROM {table} x WHERE x::text LIKE :text"
            count = connection.execute(sqlalchemy.text(query), {"text": f"%{text}%"}).scalar()
            if count:
                found[table] = count
    engine.dispose()
    return found


def test_what_older_versions_stored_is_not_shown(tmp_path: Path) -> None:
    storage = StudyStorage(f"sqlite:///{tmp_path}/s.db")
    secret = "postgresql+psycopg://me:geheim@host/db"
    storage.create("old", {"settings": {"storage": secret}})
    assert "geheim" not in json.dumps(dict(storage.find("old").document))
    storage.close()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://me:geheim@127.0.0.1:1/db",
        "postgresql+psycopg://me@127.0.0.1:1/db?password=geheim",
        "postgresql+psycopg://me:geheim@127.0.0.1:1/db?no_such_option=1",
    ],
)
def test_no_error_of_a_storage_holds_the_password(
    url: str, nest_tune: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("psycopg", reason="PostgreSQL is not installed: no psycopg")
    with pytest.raises(MissingDependencyError) as caught:
        StudyStorage(url)
    assert "geheim" not in f"{caught.value.message} {caught.value.hint}"
    for command in (("study", "list"), ("study", "resume", "s"), ("record", "list")):
        code, out, errors = nest_tune(*command, "--storage", url)
        assert code != 0
        assert "geheim" not in out + errors
    assert "geheim" not in "".join(capsys.readouterr())


def test_variables_for_workers_are_named_in_the_file_or_by_flag(
    repository: Path, nest_tune: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BOARD", "7")
    file = tmp_path / "s.toml"
    file.write_text('[run]\npass_env = ["BOARD"]\nstorage = "sqlite:///s.db"\n')
    words = start(repository, "--dry-run", "--json")
    words.insert(2, str(file))
    monkeypatch.setenv("OTHER", "8")
    code, out, _ = nest_tune(*words, "--pass-env", "OTHER", "--pass-env", "BOARD")
    assert code == 0
    assert json.loads(out)["settings"]["pass_env"] == ["BOARD", "OTHER"]
    code, _, errors = nest_tune(*words, "--pass-env", "MISSING")
    assert code == 2
    assert "MISSING: the variable is not set" in errors
