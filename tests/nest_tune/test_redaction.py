"""Secrets in text: those that are known, and those that are seen by their form."""

from __future__ import annotations

import logging

import pytest

from nest_tune.redaction import MASK, RedactingFormatter, is_secret_name, redact, redacted, remember


@pytest.mark.parametrize(
    "text",
    [
        "connect to postgresql://me:geheim@host/db failed",
        "postgresql+psycopg://me:ge@heim@host:5432/db",
        "postgresql://host/db?user=me&password=geheim&sslmode=require",
        "host=h user=me password=geheim dbname=d",
        "sslpassword='geheim'",
        'PGPASSWORD="ge heim" psql',
        "AWS_SECRET_ACCESS_KEY=geheim",
        "MY_API_KEY = geheim",
    ],
)
def test_secrets_are_seen_by_their_form(text: str) -> None:
    shown = redact(text)
    assert "heim" not in shown
    assert MASK in shown


@pytest.mark.parametrize(
    "text",
    [
        "storage postgresql://me@host:5432/db",
        "http://127.0.0.1:8080/",
        "http://127.0.0.1:8080/a@b",
        "instruction 3: waits for a token that is never pushed (load->compute tokens: pop 1)",
        "sqlite:////home/me@here/a:b.db",
        "partition.stem=cpu, tiling=tuned",
    ],
)
def test_the_rest_stays(text: str) -> None:
    assert redact(text) == text


def test_what_is_remembered_is_seen_as_a_word_of_its_own() -> None:
    remember("hunter22")
    assert redact("no hunter22 here, but hunter221") == f"no {MASK} here, but hunter221"
    remember("p/a ss%22", beside="scheme://me@host/db")
    assert redact("wrong: p/a ss%22 or p%2Fa%20ss%2522") == f"wrong: {MASK} or {MASK}"


def test_a_password_that_is_shown_beside_itself_is_none() -> None:
    remember("postgres", beside="postgresql://postgres@host/postgres")
    assert redact("user postgres") == "user postgres"


def test_documents_keep_their_keys() -> None:
    remember("topsecret1")
    document = {"topsecret1": ["topsecret1", 3, None, {"a": "x topsecret1"}]}
    assert redacted(document) == {"topsecret1": [MASK, 3, None, {"a": f"x {MASK}"}]}


def test_logs_and_their_tracebacks_are_filtered() -> None:
    try:
        raise ValueError("postgresql://me:geheim@host/db")
    except ValueError as error:
        found = (type(error), error, error.__traceback__)
    record = logging.LogRecord("x", logging.ERROR, "", 1, "password=%s", ("geheim",), found)
    text = RedactingFormatter().format(record)
    assert "geheim" not in text
    assert "ValueError" in text


@pytest.mark.parametrize(
    "name", ["password", "sslpassword", "passwd", "token", "api_key", "DSN", "auth", "key"]
)
def test_parameters_with_secrets_are_known_by_name(name: str) -> None:
    assert is_secret_name(name)


@pytest.mark.parametrize(
    "name", ["user", "host", "sslmode", "sslkey", "passfile", "keepalives", "keyspace", "author"]
)
def test_other_parameters_are_none(name: str) -> None:
    assert not is_secret_name(name)
