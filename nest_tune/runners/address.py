"""Addresses of clusters, looked at before a cluster's library does, which takes minutes over it."""

from __future__ import annotations

import socket

from compiler_core.errors import InputError, MissingDependencyError

_CONNECT_S = 5.0
START_HINT = (
    "ray start --head --dashboard-host 127.0.0.1 on the first machine, and the versions of Ray and "
    "Python of the driver on all of them, and RAY_AUTH_MODE=token where it asks for a token; "
    "`ray status` shows them"
)


def check_address(address: str) -> None:
    """Finds out whether an address is one and something listens there.

    Raises:
        InputError: It is not ``auto``, ``host:port`` or ``ray://host:port``.
        MissingDependencyError: Nothing listens.
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
        with socket.create_connection((host.strip("[]"), int(port)), _CONNECT_S):
            pass
    except OSError as error:
        raise MissingDependencyError(
            f"no Ray cluster answers at {address}: {error.strerror or error}", hint=START_HINT
        ) from error
