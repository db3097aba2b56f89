"""Addresses of databases that nobody can open: told as input or as what does not answer, never as a
fault of ours."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler_core.errors import InputError, MissingDependencyError
from nest_tune.study.store.storage import StudyStorage

SCHEMES = ("sqlite", "postgresql+psycopg", "mysql+pymysql", "mysql", "journal", "oracle", "")
USERS = ("", "u@", "u:p@", "u:%zz@", ":@", "u:p%00@")
HOSTS = (
    *("", "[::1", "::1]", "[::1]:1", "127.0.0.1:1", "127.0.0.1:", "127.0.0.1:1:1"),
    *("127.0.0.1:-1", "127.0.0.1:" + "9" * 5000),
)
PLACES = ("", "/", "/db", "/\x00", "/%00", "/" + "a" * 5000, "/none/x.db")
QUERIES = (
    *("", "?", "?a", "?a=1", "?a=1&a=2", "?timeout=abc", "?port=abc", "?ssl=1", "?ssl_ca=/none"),
    *("?read_timeout=x", "?cursorclass=1", "?a%00=1", "?charset=bogus", "?check_same_thread=maybe"),
)


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(*map(st.sampled_from, (SCHEMES, USERS, HOSTS, PLACES, QUERIES)))
def test_no_address_is_an_internal_error(
    tmp_path: Path, scheme: str, user: str, host: str, place: str, query: str
) -> None:
    place = place.replace("/none", str(tmp_path))
    with suppress(InputError, MissingDependencyError):
        StudyStorage(f"{scheme}://{user}{host}{place}{query}", create=False).close()
