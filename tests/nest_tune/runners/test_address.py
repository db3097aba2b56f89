"""Addresses of clusters: what is no Ray is known at once, and a head that goes away is missed."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from compiler_core.errors import MissingDependencyError
from nest_tune.runners import address
from nest_tune.runners.address import Head, check_address

Answer = Callable[[socket.socket], None]


@pytest.fixture
def serve() -> Iterator[Callable[[Answer], str]]:
    """Starts a server that answers each connection in its way; returns its address."""
    opened: list[socket.socket] = []

    def start(answer: Answer) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        opened.append(listening)

        def loop() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:  # closed
                    return
                opened.append(connection)
                answer(connection)

        threading.Thread(target=loop, daemon=True).start()
        return f"127.0.0.1:{listening.getsockname()[1]}"

    yield start
    for one in opened:
        one.close()


def http(connection: socket.socket) -> None:
    connection.recv(100)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def silent(_connection: socket.socket) -> None:
    """Accepts and says nothing."""


def hanging_up(connection: socket.socket) -> None:
    connection.close()


def grpc(connection: socket.socket) -> None:
    connection.sendall(bytes([0, 0, 0, 4, 0, 0, 0, 0, 0]))


@pytest.mark.parametrize("scheme", ["", "ray://"])
@pytest.mark.parametrize("answer", [http, silent, hanging_up])
def test_a_port_that_is_not_rays(
    serve: Callable[[Answer], str], answer: Answer, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if answer is silent:
        monkeypatch.setattr(address, "_CONNECT_S", 0.2)
    place = scheme + serve(answer)
    with pytest.raises(MissingDependencyError, match="is not Ray: it does not speak gRPC") as found:
        check_address(place)
    assert place in found.value.message
    assert found.value.exit_code == 5
    assert "ray start --head" in str(found.value.hint)


def test_a_port_that_speaks_grpc_is_tried(serve: Callable[[Answer], str]) -> None:
    check_address(serve(grpc))


def test_a_head_that_goes_away_is_missed_after_some_patience(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    listening = socket.create_server(("127.0.0.1", 0))
    head = Head(f"127.0.0.1:{listening.getsockname()[1]}", patience_s=10.0)
    assert head.is_there()
    listening.close()
    assert head.is_there()  # it is not looked at all the time
    clock[0] += 2.0
    assert not head.is_there()
    clock[0] += 9.0
    assert not head.is_there()
    clock[0] += 2.0
    with pytest.raises(MissingDependencyError, match="gone: it has not answered for 10 s") as found:
        head.is_there()
    assert found.value.exit_code == 5
