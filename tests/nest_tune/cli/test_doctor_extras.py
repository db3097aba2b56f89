"""What is said of the cluster that the environment names."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable

import pytest

Command = Callable[..., tuple[int, str, str]]


def checks(nest_tune: Command) -> dict[str, tuple[bool, str]]:
    _, out, _ = nest_tune("doctor", "--json")
    return {check["name"]: (check["ok"], check["detail"]) for check in json.loads(out)["checks"]}


def settings_of_http2(server: socket.socket) -> None:
    """Answers a connection as gRPC does: with an empty SETTINGS frame."""
    connection, _ = server.accept()
    with connection:
        connection.recv(100)
        connection.sendall(b"\x00\x00\x00\x04\x00\x00\x00\x00\x00")


def test_the_cluster_of_the_environment_is_tried(
    nest_tune: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setenv("RAY_ADDRESS", address)
        threading.Thread(target=settings_of_http2, args=(server,), daemon=True).start()
        assert checks(nest_tune)["RAY_ADDRESS"] == (True, f"{address} answers")
    good, detail = checks(nest_tune)["RAY_ADDRESS"]
    assert not good
    assert f"no Ray cluster answers at {address}" in detail
    monkeypatch.delenv("RAY_ADDRESS")
    assert "RAY_ADDRESS" not in checks(nest_tune)
