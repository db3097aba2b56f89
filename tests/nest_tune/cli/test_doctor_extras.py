"""What is said of the cluster that the environment names."""

from __future__ import annotations

import json
import shutil
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


def test_compilers_and_emulators_that_are_missing_are_named(
    nest_tune: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if "arm" in name else "/usr/bin/cc")
    good, detail = checks(nest_tune)["generated C"]
    assert good  # without them everything else works
    ready, _, lacking = detail.partition("; ")
    assert ready == "built and run here: c99, rv32imc"
    assert lacking.startswith("cortex-m33, cortex-m4, cortex-m55, cortex-m7: arm-none-eabi-gcc")
    assert "apt-get install --no-install-recommends gcc-arm-none-eabi" in lacking
    monkeypatch.setattr(shutil, "which", found)
