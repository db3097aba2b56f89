"""What the workers of the conformance test run."""

from __future__ import annotations

import os
import signal
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
        raise InfeasibleError("does not\nfit")
    raise ZeroDivisionError("by zero")


def sleep(_state: Any, payload: Any) -> Any:
    time.sleep(payload)
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
