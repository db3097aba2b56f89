"""What of an environment is a credential."""

from __future__ import annotations

import os

import pytest

from nest_tune.runners.environment import drop_secrets, is_secret, shows_password, without_secrets


@pytest.mark.parametrize(
    "name",
    ["NEST_TUNE_STORAGE", "PGPASSWORD", "PGHOST", "AWS_SECRET", "GH_TOKEN", "API_KEY", "X_PASSWD"],
)
def test_credentials_are_hidden_while_processes_start_and_gone_on_workers(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, "secret")
    assert is_secret(name)
    with without_secrets():
        assert name not in os.environ
    assert os.environ[name] == "secret"
    drop_secrets()
    assert name not in os.environ


@pytest.mark.parametrize("name", ["PATH", "PWD", "OLDPWD", "HOME", "RAY_AUTH_TOKEN", "KEYBOARD"])
def test_the_rest_stays(name: str) -> None:
    assert not is_secret(name)


def test_passwords_on_command_lines_are_seen() -> None:
    assert shows_password(["study", "--storage", "postgresql://a:b@c/d"])
    assert not shows_password(["study", "--storage", "postgresql://a@c/d", "sqlite:////a:b"])
