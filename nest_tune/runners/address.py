"""Addresses of clusters, looked at before a cluster's library does, which takes minutes over it."""

from __future__ import annotations

import os
import socket
import time

from compiler_core.errors import InputError, MissingDependencyError

_CONNECT_S = 5.0
_LOOK_S = 1.0
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_FRAME_HEAD_BYTES = 9
_SETTINGS = 4
START_HINT = (
    "ray start --head --dashboard-host 127.0.0.1 on the first machine, and the versions of Ray and "
    "Python of the driver on all of them, and RAY_AUTH_MODE=token where it asks for a token; "
    "`ray status` shows them"
)


def check_address(address: str) -> None:
    """Finds out whether an address is one and something listens there.

    Raises:
        InputError: It is not ``auto``, ``host:port`` or ``ray://host:port``.
        MissingDependencyError: Nothing listens, or something else than Ray.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        if address == "auto":
            return
        raise InputError(
            f"--ray-address {address}: auto, host:port or ray://host:port is needed",
            hint="--ray-address auto",
        )
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536) or not host:
        raise InputError(
            f"--ray-address {address}: {port!r} is not a port of a host",
            hint="ray start --head shows the address; ray:// has port 10001 by default",
        )
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S) as connection:
            is_ray = bool(os.environ.get("RAY_USE_TLS", "0") != "0") or _speaks_grpc(connection)
    except OSError as error:
        raise MissingDependencyError(
            f"no Ray cluster answers at {address}: {error.strerror or error}", hint=START_HINT
        ) from error
    if not is_ray:
        raise MissingDependencyError(
            f"what answers at {address} is not Ray: it does not speak gRPC", hint=START_HINT
        )


def _speaks_grpc(connection: socket.socket) -> bool:
    """Whether the other end begins as HTTP/2 does (RFC 9113, section 3.4), on which gRPC builds:
    with a frame of settings."""
    connection.settimeout(_CONNECT_S)
    head = b""
    try:
        connection.sendall(_PREFACE)
        while len(head) < _FRAME_HEAD_BYTES:
            received = connection.recv(_FRAME_HEAD_BYTES - len(head))
            if not received:
                return False
            head += received
    except OSError:  # it is silent, or has hung up
        return False
    return head[3] == _SETTINGS


class Head:
    """Watches the process that holds a cluster together; without it nothing in the cluster answers,
    and the cluster's library ends the driver, unsaved, after a minute.

    Args:
        address: ``host:port`` of it, or of the server of clients.
        patience_s: Time for which it may not listen.
    """

    def __init__(self, address: str, patience_s: float = 10.0) -> None:
        host, _, port = address.rpartition(":")
        self._place = host.strip("[]"), int(port)
        self._address, self._patience_s = address, patience_s
        self._next_look = 0.0
        self._silent_since: float | None = None

    def is_there(self) -> bool:
        """Whether it listens, as far as is known: it is looked at every second.

        Raises:
            MissingDependencyError: It has not listened for longer than the patience.
        """
        now = time.monotonic()
        if now >= self._next_look:
            if self.listens():
                self._silent_since = None
            elif self._silent_since is None:
                self._silent_since = now
            self._next_look = time.monotonic() + _LOOK_S
        if self._silent_since is None:
            return True
        if time.monotonic() - self._silent_since > self._patience_s:
            raise MissingDependencyError(
                f"the head of the Ray cluster at {self._address} is gone: it has not answered for "
                f"{self._patience_s:g} s",
                hint="start it again, or resume on another cluster or with --runner local",
            )
        return False

    def listens(self) -> bool:
        """Whether it does now."""
        try:
            with socket.create_connection(self._place, _LOOK_S):
                return True
        except OSError:
            return False
