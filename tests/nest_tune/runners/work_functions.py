"""What the workers of the conformance test run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from compiler_core.errors import InfeasibleError


def prepare(payload: Any) -> dict[str, Any]:
    if payload == "broken":
        raise InfeasibleError("the setup does not fit")
    return {"base": payload}


def add(state: dict[str, Any], payload: Any) -> Any:
    return state["base"] + payload


def echo(_state: Any, payload: Any) -> Any:
    return payload


def refuse(_state: Any, payload: Any) -> Any:
    if payload == "infeasible":
        raise InfeasibleError("does not\nfit", hint="a larger one")
    raise ZeroDivisionError("by zero")


def sleep(_state: Any, payload: Any) -> Any:
    time.sleep(payload)
    return payload


def until(_state: Any, payload: Any) -> Any:
    """Returns when there is a file of that name."""
    while not Path(payload).exists():
        time.sleep(0.05)
    return payload


def die(_state: Any, _payload: Any) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def print_and(_state: Any, payload: Any) -> Any:
    for number in range(1000):
        print("line", number)
    print(f"about to {payload}")
    if payload == "raise":
        raise ZeroDivisionError
    if payload == "hang":
        time.sleep(600.0)
    if payload == "die":
        os.kill(os.getpid(), signal.SIGSEGV)


def hold(_state: Any, payload: Any) -> Any:
    """Tells its process, then runs for long."""
    fresh = Path(payload).with_suffix(".fresh")
    fresh.write_text(str(os.getpid()))
    fresh.rename(payload)
    time.sleep(600)


def prepare_file(payload: Any) -> dict[str, Any]:
    path = payload["path"]
    return {"text": Path(path).read_text(), "path": path}


def read(state: dict[str, Any], _payload: Any) -> Any:
    return [state["text"], state["path"]]


def shout(_state: Any, _payload: Any) -> None:
    print("shouting " * 1000, flush=True)
    print("shouting " * 1000, file=sys.stderr, flush=True)


def variable(_state: Any, payload: Any) -> Any:
    return os.environ.get(payload)


def start_child(_state: Any, payload: Any) -> None:
    """Starts a process that runs for long, tells its number, and hangs, dies or returns.

    Args:
        _state: Not used.
        payload: ``{"told": path, "way": 0 for a child, 1 for one in a session of its own, 2 for one
            whose parent ends, "then": "hang", "die" or "return"}``.
    """
    sleeper = "import os, sys, time; open(sys.argv[1] + '.new', 'w').write(str(os.getpid())); "
    sleeper += "os.rename(sys.argv[1] + '.new', sys.argv[1]); time.sleep(600)"
    command = [sys.executable, "-S", "-c", sleeper, payload["told"]]
    if payload["way"] == 2:
        starter = "import subprocess, sys; subprocess.Popen(sys.argv[1:])"
        subprocess.run([sys.executable, "-S", "-c", starter, *command], check=True)
    else:
        subprocess.Popen(command, start_new_session=payload["way"] == 1)
    while not Path(payload["told"]).exists():
        time.sleep(0.01)
    if payload["then"] == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if payload["then"] == "hang":
        time.sleep(600)


def process(_state: Any, _payload: Any) -> int:
    return os.getpid()
