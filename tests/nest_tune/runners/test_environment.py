"""What of an environment workers get: what is on the list, and what the user adds."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from compiler_core.errors import InputError
from nest_tune.runners import local
from nest_tune.runners.environment import (
    is_allowed,
    is_secret,
    passed,
    shows_password,
    without_secrets,
    worker_environment,
)
from nest_tune.runners.runner import RunnerOptions, Setup, Work

SECRETS = [
    *("NEST_TUNE_STORAGE", "PGPASSWORD", "PGHOST", "PGSSLPASSWORD", "AWS_SECRET", "GH_TOKEN"),
    *("API_KEY", "X_PASSWD", "DB_PASS", "GOOGLE_APPLICATION_CREDENTIALS", "SENTRY_DSN"),
    *("DATABASE_URL", "PYTHON_KEYRING_PASSWORD", "NUMBA_SECRET"),
]


@pytest.mark.parametrize("name", SECRETS)
def test_credentials_are_hidden_while_processes_start(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "secret")
    assert is_secret(name)
    assert not is_allowed(name)
    for block in (without_secrets(), worker_environment(), worker_environment(cluster=True)):
        with block:
            assert name not in os.environ
        assert os.environ[name] == "secret"


@pytest.mark.parametrize("name", ["PATH", "PWD", "OLDPWD", "HOME", "RAY_AUTH_TOKEN", "KEYBOARD"])
def test_the_rest_is_no_secret(name: str) -> None:
    assert not is_secret(name)


def test_workers_get_what_is_on_the_list_and_what_is_added(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("SOMETHING_ELSE", "1")
    monkeypatch.setenv("RAY_TMPDIR", "/x")
    before = dict(os.environ)
    with worker_environment({"DB_PASS": "given"}):
        inside = dict(os.environ)
    assert inside["DB_PASS"] == "given"
    assert inside["OMP_NUM_THREADS"] == "1"
    assert inside["ORT_DISABLE_TELEMETRY"] == "1"
    assert inside["PATH"] == os.environ["PATH"]
    assert not {"SOMETHING_ELSE", "RAY_TMPDIR"} & set(inside)
    assert dict(os.environ) == before
    with worker_environment(cluster=True):
        assert os.environ["RAY_TMPDIR"] == "/x"
        os.environ["RAY_AUTH_MODE"] = "token"  # what is set inside stays, as Ray wants it
    monkeypatch.setenv("RAY_AUTH_MODE", os.environ["RAY_AUTH_MODE"])
    assert os.environ["RAY_AUTH_MODE"] == "token"


def test_a_local_worker_has_no_credential_even_in_what_the_system_knows_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]))
    for name in SECRETS:
        monkeypatch.setenv(name, "geheimes")
    added = {"BOARD_TOKEN": "added"}
    runner = local.make(Setup("work_functions:prepare", 1, environment=added), RunnerOptions(1))
    try:
        for ticket, name in enumerate([*SECRETS, "BOARD_TOKEN"]):
            runner.submit(Work(ticket, "work_functions:variable", name, 60.0))
        runner.submit(Work(99, "work_functions:process", None, 60.0))
        answers: dict[int, object] = {}
        end = time.monotonic() + 1500
        while len(answers) < len(SECRETS) + 2 and time.monotonic() < end:
            answers |= {answer.ticket: answer.value for answer in runner.wait(1.0)}
        seen = Path(f"/proc/{answers[99]}/environ").read_bytes()
    finally:
        runner.close()
    assert [answers[ticket] for ticket in range(len(SECRETS))] == [None] * len(SECRETS)
    assert answers[len(SECRETS)] == "added"
    assert b"geheimes" not in seen


def test_what_is_passed_has_to_be_set_and_a_name() -> None:
    assert passed(["A", "B"], {"A": "1", "B": "2", "C": "3"}) == {"A": "1", "B": "2"}
    with pytest.raises(InputError, match="A: the variable is not set"):
        passed(["A"], {})
    with pytest.raises(InputError, match="name of a variable") as caught:
        passed(["A=geheim"], {"A": "1"})
    assert "geheim" not in caught.value.message


def test_passwords_on_command_lines_are_seen() -> None:
    assert shows_password(["study", "--storage", "postgresql://a:b@c/d"])
    assert shows_password(["study", "--storage", "postgresql://a@c/d?sslpassword=b"])
    assert not shows_password(["study", "--storage", "postgresql://a@c/d", "sqlite:////a:b"])
