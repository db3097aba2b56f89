"""What is sent to a board: the modules that time models, and a request for them.

The command that ssh runs there is always the same, but for the path of the interpreter. It reads a
program of a given length from its input; that program makes modules of the texts it holds, in
memory: nothing is written on the board.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.clock.models import TimedPart
from compiler_core.clock.serving import SIZE_DIGITS

_MODULES = (
    "errors",
    "clock.statistics",
    "clock.machine",
    "clock.conditions",
    "clock.pinning",
    "clock.together",
    "clock.models",
    "clock.kernels",
    "clock.sessions",
    "clock.choices",
    "clock.serving",
)
"""Of ``compiler_core``, each behind those that it imports."""

_LOADER = """
import json, sys, types
MARK = "nest-tune-board/1 "
if sys.version_info < (3, 9):
    print(MARK + json.dumps({"lacks": "python 3.9", "has": sys.version.split()[0]}))
    sys.exit(0)
for needed in ("numpy", "onnxruntime"):
    try:
        __import__(needed)
    except Exception as error:
        print(MARK + json.dumps({"lacks": needed, "has": str(error)[:200]}))
        sys.exit(0)
for name, text in SOURCES.items():
    module = types.ModuleType(name)
    module.__path__ = []
    sys.modules[name] = module
    exec(compile(text, name, "exec"), module.__dict__)
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)
from compiler_core.clock.serving import serve
try:
    print(serve(sys.stdin.buffer), flush=True)
except Exception as error:
    print(MARK + json.dumps({"failed": type(error).__name__ + ": " + str(error)[:500]}), flush=True)
"""

COMMAND = (
    "{python} -c 'import sys; n = int(sys.stdin.buffer.read(16)); "
    'exec(compile(sys.stdin.buffer.read(n), "nest-tune", "exec"))\''
)
"""What ssh runs on a board."""


def program() -> bytes:
    """What a board runs: the modules' texts, and what makes modules of them."""
    sources = {"compiler_core": "", "compiler_core.clock": ""}
    for name in _MODULES:
        path = resources.files("compiler_core").joinpath(*f"{name.replace('.', '/')}.py".split("/"))
        sources[f"compiler_core.{name}"] = path.read_text(encoding="utf-8")
    return f"SOURCES = {sources!r}\n{_LOADER}".encode()


def request(
    candidates: Mapping[str, Sequence[TimedPart]],
    feeds: Mapping[str, npt.NDArray[Any]],
    *,
    profiled: str,
    threads: int,
    repeats: int,
    budget_s: float,
    timeout_s: float,
    options: Mapping[str, Any] | None = None,
) -> bytes:
    """A request as a board reads it.

    Args:
        candidates: Parts of each model by name; none asks for the machine alone.
        feeds: Inputs of all models.
        profiled: Of which candidate kernels are wanted.
        threads, repeats, budget_s: As of :func:`~compiler_core.clock.models.time_models`.
        timeout_s: After which the board gives up.
        options: How sessions of that candidate are opened, as
            :func:`~compiler_core.clock.serving.serve` takes them; as usual without.
    """
    arrays: dict[str, npt.NDArray[Any]] = {}
    inputs: dict[str, str] = {}
    for name, array in feeds.items():
        inputs[name] = key = f"input/{len(inputs)}"
        arrays[key] = array
    parts: dict[str, list[dict[str, Any]]] = {}
    for name, models in candidates.items():
        parts[name] = []
        for part in models:
            key = f"model/{len(arrays)}"
            arrays[key] = np.frombuffer(part.model, np.uint8)
            ends = {"inputs": list(part.inputs), "outputs": list(part.outputs)}
            parts[name].append({"name": part.name, "model": key, **ends})
    document = {
        "candidates": parts,
        "inputs": inputs,
        "profiled": profiled,
        "threads": threads,
        "repeats": repeats,
        "budget_s": budget_s,
        "timeout_s": timeout_s,
        "options": dict(options or {}),
    }
    arrays["request"] = np.frombuffer(json.dumps(document).encode(), np.uint8)
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def sent(payload: bytes) -> bytes:
    """All that goes to the input of :data:`COMMAND`."""
    code = program()
    return b"".join((sized(code), code, sized(payload), payload))


def sized(content: bytes) -> bytes:
    """The length of what follows."""
    return f"{len(content):0{SIZE_DIGITS}d}".encode()
