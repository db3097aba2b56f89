"""Which requests the dashboard answers: those of pages that it has served itself."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from typing import Any

import optuna
import pytest

from nest_tune.cli.dashboard import HOST, bind
from nest_tune.cli.same_origin import refusal

PORT = 8080
TEXT = {"content_type": "text/plain", "content_length": "9"}
OWN = f"http://127.0.0.1:{PORT}"


def request(method: str = "GET", **headers: str) -> dict[str, str]:
    """As WSGI has it: ``content_type`` as it is, others with ``HTTP_``."""
    named = {
        name.upper() if name.startswith("content") else f"HTTP_{name.upper()}": value
        for name, value in headers.items()
    }
    return {"REQUEST_METHOD": method, "HTTP_HOST": f"127.0.0.1:{PORT}"} | named


@pytest.mark.parametrize(
    "good",
    [
        request(),
        request(host=f"localhost:{PORT}"),
        request(host=f"LOCALHOST:{PORT}"),
        request(origin=OWN, sec_fetch_site="same-origin"),
        request(sec_fetch_site="cross-site", sec_fetch_mode="navigate"),
        request(sec_fetch_site="none"),
        request("POST", origin=OWN, content_type="application/json", content_length="2"),
        request("DELETE", origin=f"http://localhost:{PORT}", content_type="text/plain"),
    ],
)
def test_own_pages_are_answered(good: dict[str, str]) -> None:
    assert refusal(good, PORT) == ""


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (request(host="evil.example"), "Host"),
        (request(host=f"evil.example:{PORT}"), "Host"),
        (request(host="127.0.0.1"), "Host"),
        (request(host=f"127.0.0.1.evil.example:{PORT}"), "Host"),
        (request(host=f"127.0.0.1:{PORT + 1}"), "Host"),
        (request(host=""), "Host"),
        (request(host=f"[::1]:{PORT}"), "Host"),
        (request(origin="http://evil.example"), "Origin"),
        (request(origin="null"), "Origin"),
        (request(origin=f"https://127.0.0.1:{PORT}"), "Origin"),
        (request(origin=f"http://127.0.0.1:{PORT + 1}"), "Origin"),
        (request(sec_fetch_site="cross-site", sec_fetch_mode="no-cors"), "Sec-Fetch-Site"),
        (request(sec_fetch_site="same-site", sec_fetch_mode="cors"), "Sec-Fetch-Site"),
        (request("POST"), "name its Origin"),
        (request("DELETE"), "name its Origin"),
        (request("PATCH", origin="http://evil.example"), "Origin"),
        (
            request("POST", origin=OWN, **TEXT),
            "Content-Type",
        ),
        (request("POST", origin=OWN, content_length="9"), "Content-Type"),
        (
            request(
                "PUT", origin=OWN, content_type="text/plain;application/json", content_length="1"
            ),
            "Content-Type",
        ),
        (request("POST", origin=OWN, transfer_encoding="chunked"), "Content-Type"),
    ],
)
def test_others_are_refused(bad: dict[str, str], reason: str) -> None:
    assert reason in refusal(bad, PORT)


@pytest.fixture
def server() -> Iterator[tuple[Any, int]]:
    """optuna-dashboard itself, with a study to be deleted."""
    pytest.importorskip("optuna_dashboard", reason="optuna-dashboard is not installed")
    storage = optuna.storages.InMemoryStorage()
    optuna.create_study(study_name="kept", storage=storage)
    with bind(storage, 0) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        try:
            yield storage, made.server_port
        finally:
            made.shutdown()
            thread.join()


def ask(port: int, method: str, path: str, body: str | None = None, **headers: str) -> Any:
    connection = http.client.HTTPConnection(HOST, port, timeout=1500)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, named)
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer


def test_no_other_site_writes_to_the_dashboard_and_its_own_pages_do(
    server: tuple[Any, int],
) -> None:
    storage, port = server
    new = json.dumps({"study_name": "new", "directions": ["minimize"]})
    own, foreign = f"http://{HOST}:{port}", "http://evil.example"
    for headers in ({}, {"Origin": foreign}, {"Origin": "null"}, {"Origin": own}):
        kind = {"Content_Type": "text/plain"}
        assert ask(port, "POST", "/api/studies", new, **headers, **kind).status == 403
        status = ask(port, "DELETE", "/api/studies/0", Host="evil.example", **headers).status
        assert status == 403
    assert optuna.get_all_study_names(storage) == ["kept"]
    answer = ask(port, "GET", "/api/studies", Host=f"rebound.example:{port}")
    assert answer.status == 403
    page = ask(port, "GET", "/dashboard")
    assert page.status == 200
    assert "frame-ancestors 'none'" in page.headers["Content-Security-Policy"]
    assert page.headers["Access-Control-Allow-Origin"] is None
    kind = {"Content_Type": "application/json"}
    assert ask(port, "POST", "/api/studies", new, Origin=own, **kind).status == 201
    assert set(optuna.get_all_study_names(storage)) == {"kept", "new"}
