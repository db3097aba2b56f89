"""One call of ssh: what is sent, what comes back, and everything that can go wrong in between.

Host keys are always checked, and nothing is asked for on a terminal. What a board sends is bounded,
and so is the time.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
from contextlib import suppress
from typing import IO

from compiler_core.boards.address import Address
from compiler_core.boards.shipping import COMMAND
from compiler_core.errors import MissingDependencyError

CONFIG = "NEST_TUNE_SSH_CONFIG"
"""Variable with the path of a configuration of ssh in the place of the user's."""

CONNECT_S = 10
_ALIVE_S = 5
_MOST_OUTPUT = 16 << 20
_MOST_COMPLAINT = 1 << 16
_SSH_FAILED = 255

_HINTS = (
    (
        ("host key verification failed", "no host key is known", "remote host identification"),
        "log in once by hand and compare its key: ssh {plain}",
    ),
    (
        ("permission denied", "too many authentication failures"),
        "ssh-copy-id {plain}; a study's workers reach an agent with --pass-env SSH_AUTH_SOCK",
    ),
    (("could not resolve",), "check the name: ssh {plain}"),
    (
        ("connection refused", "timed out", "no route", "unreachable"),
        "is it switched on, and does it run sshd? ssh {plain}",
    ),
)


def call(address: Address, content: bytes, timeout_s: float) -> bytes:
    """Runs the command of :mod:`compiler_core.boards.shipping` on a board.

    Args:
        address: Of the board.
        content: For its input.
        timeout_s: Of everything.

    Returns:
        What it printed.

    Raises:
        MissingDependencyError: There is no ssh here, the board cannot be reached or does not let us
            in, it was lost or took too long, or it cannot run the command.
    """
    process = subprocess.Popen(
        arguments(address),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    assert process.stdin
    assert process.stdout
    assert process.stderr
    found: dict[str, bytes] = {}
    threads = [
        threading.Thread(target=_write, args=(process.stdin, content), daemon=True),
        threading.Thread(
            target=_read, args=(process, process.stdout, _MOST_OUTPUT, found, "out"), daemon=True
        ),
        threading.Thread(
            target=_read, args=(process, process.stderr, _MOST_COMPLAINT, found, "err"), daemon=True
        ),
    ]
    for thread in threads:
        thread.start()
    late = False
    try:
        process.wait(timeout_s)
    except subprocess.TimeoutExpired:
        late = True
    finally:
        _end(process)
        for thread in threads:
            thread.join(2.0)
        for stream in (process.stdout, process.stderr):
            stream.close()
    complaint = found.get("err", b"").decode(errors="replace")
    if late:
        raise MissingDependencyError(
            f"board {address.text}: no answer within {timeout_s:.0f} s",
            hint="a slow board needs smaller models; a busy one, less beside it",
        )
    if process.returncode != 0:
        raise _refusal(address, process.returncode, complaint)
    return found.get("out", b"")


def arguments(address: Address) -> list[str]:
    """The command line of ssh.

    Raises:
        MissingDependencyError: There is no ssh here.
    """
    program = shutil.which("ssh")
    if program is None:
        raise MissingDependencyError(
            f"board {address.text}: there is no ssh on this machine",
            hint="install OpenSSH's client: apt-get install openssh-client",
        )
    config = os.environ.get(CONFIG)
    options = {
        "BatchMode": "yes",
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": str(CONNECT_S),
        "ServerAliveInterval": str(_ALIVE_S),
        "ServerAliveCountMax": "3",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "ClearAllForwardings": "yes",
        "RequestTTY": "no",
    }
    return [
        program,
        *(["-F", config] if config else []),
        *(word for name, value in options.items() for word in ("-o", f"{name}={value}")),
        *(["-p", str(address.port)] if address.port is not None else []),
        *(["-l", address.user] if address.user else []),
        "--",
        address.host,
        COMMAND.format(python=address.python or "python3"),
    ]


def _write(stream: IO[bytes], content: bytes) -> None:
    with suppress(OSError, ValueError):  # an end that has gone is told by its exit code
        stream.write(content)
    with suppress(OSError, ValueError):
        stream.close()


def _read(
    process: subprocess.Popen[bytes],
    stream: IO[bytes],
    most: int,
    found: dict[str, bytes],
    key: str,
) -> None:
    """Reads to the end, or until there is too much of it."""
    content = bytearray()
    with suppress(OSError, ValueError):
        while piece := os.read(stream.fileno(), 1 << 16):
            content += piece
            if len(content) > most:
                with suppress(ProcessLookupError, PermissionError):
                    os.killpg(process.pid, signal.SIGKILL)
                break
    found[key] = bytes(content)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends ssh and what it has started, if it has not ended."""
    if process.poll() is None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _refusal(address: Address, code: int, complaint: str) -> MissingDependencyError:
    lines = [line.strip() for line in complaint.splitlines() if line.strip()]
    last = "".join(c for c in (lines[-1] if lines else "") if c.isprintable())[:300]
    plain = address.host if not address.user else f"{address.user}@{address.host}"
    if address.port is not None:
        plain = f"-p {address.port} {plain}"
    if code == _SSH_FAILED:
        lower = complaint.lower()
        hints = (text for words, text in _HINTS if any(word in lower for word in words))
        hint = next(hints, "is it still there? ssh {plain}").format(plain=plain)
        return MissingDependencyError(
            f"board {address.text}: cannot be reached, or was lost: {last or 'no reason given'}",
            hint=hint,
        )
    if code in (126, 127):
        return MissingDependencyError(
            f"board {address.text}: has no {address.python or 'python3'}: {last}",
            hint="Python 3.9 with numpy and onnxruntime is needed there; its path can be named: "
            "ssh://USER@HOST/home/pi/venv/bin/python3",
        )
    return MissingDependencyError(
        f"board {address.text}: what times models ended there with code {code}: {last}",
        hint="is there enough memory on the board?",
    )
