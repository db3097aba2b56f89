"""A storage's URL is a text without secrets, and opens the database all the same."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import asdict, dataclass

import pytest
import sqlalchemy

from compiler_core.errors import InputError
from nest_tune.records.connection import Connection
from nest_tune.records.storage_url import StorageUrl

SECRET = "geheim%40words"
GIVEN = (
    f"postgresql+psycopg://me:{SECRET}@host:5432/db",
    f"postgresql+psycopg://me@host/db?password={SECRET}&sslmode=require",
    f"postgresql+psycopg://host/db?sslmode=require&sslpassword={SECRET}&sslkey=/k",
    f"postgresql+psycopg:///db?host=host&user=me&passwd={SECRET}",
    f"mysql+pymysql://me:{SECRET}@host/db",
    f"x://host/db?api_token={SECRET}&a",
)


@dataclass(frozen=True)
class Holder:
    url: StorageUrl


@pytest.mark.parametrize("given", GIVEN)
def test_no_way_to_print_store_or_copy_it_shows_a_secret(given: str) -> None:
    url = StorageUrl(given)
    assert url.has_secrets
    assert url.reveal() == given
    shown = [str(url), repr(url), f"{url}", "%s" % url, "".join(url), json.dumps(url)]  # noqa: UP031
    shown += [repr(Holder(url)), str(asdict(Holder(url))), pickle.dumps(url).decode("latin-1")]
    shown += [copy.deepcopy(url).reveal(), pickle.loads(pickle.dumps(url)).reveal()]
    for text in shown:
        assert "geheim" not in text
        assert "host" in text
    assert StorageUrl(url) is url


@pytest.mark.parametrize("given", GIVEN[:4])
def test_what_is_left_names_the_same_database(given: str) -> None:
    whole, left = sqlalchemy.make_url(given), sqlalchemy.make_url(str(StorageUrl(given)))
    assert (left.host, left.username, left.database) == (whole.host, whole.username, whole.database)
    assert left.port == whole.port
    assert left.password is None
    secret = {"password", "sslpassword", "passwd"}
    assert left.query == {k: v for k, v in whole.query.items() if k not in secret}


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///nest-tune.db",
        "sqlite:////a@b/c:d/x.db",
        "sqlite://",
        "journal:///path.log",
        "postgresql+psycopg://me@[::1]:5432/db?sslmode=require",
        "postgresql://host,other:5433/db",
    ],
)
def test_urls_without_secrets_stay_as_they_are(url: str) -> None:
    assert str(StorageUrl(url)) == url
    assert not StorageUrl(url).has_secrets


@pytest.mark.parametrize(
    "given",
    [
        "geheim",
        "me:geheim@host/db",
        "postgresql://me:geheim",
        "postgresql://me:gehe@im@host/db",
        "postgresql://me:ge@he/geheim@host/db",
        "postgresql://host:geheim/db",
        "postgresql://host:99999999/geheim",
        "postgresql://host:" + "9" * 5000 + "/geheim",
        "postgresql://host:1:1/geheim",
        "postgresql://host:/geheim",
        "postgresql://[::1/geheim",
        "postgresql://::1]/geheim",
    ],
)
def test_what_is_no_url_is_refused_and_not_repeated(given: str) -> None:
    with pytest.raises(InputError, match="storage") as caught:
        StorageUrl(given)
    assert "ge" not in f"{caught.value.message}".replace("storage", "")
    assert caught.value.hint


def test_a_connection_shows_the_text_and_opens_with_the_secret() -> None:
    connection = Connection("postgresql+psycopg://me:geheim@127.0.0.1:1/db")
    assert connection.shown == "postgresql+psycopg://me@127.0.0.1:1/db"
    assert connection._engine.url.password == "geheim"
    connection.close()
