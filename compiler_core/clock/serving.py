"""What a board does: reads models and inputs, times them, and answers in one line.

It needs Python 3.9, NumPy and onnxruntime. A request is an array file of NumPy that holds JSON
(``request``), models (``model/…``) and inputs (``input/…``); the answer is a line of JSON behind
:data:`MARK`, for what logs in somewhere may print there, too.
"""

from __future__ import annotations

import io
import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from compiler_core.clock.choices import choices_here
from compiler_core.clock.kernels import kernels_of, plain_session
from compiler_core.clock.machine import this_machine
from compiler_core.clock.models import time_models
from compiler_core.clock.sessions import open_session, session_options

MARK = "nest-tune-board/1 "
SIZE_DIGITS = 16
"""Of the decimal number of bytes that goes before a request."""


@dataclass(frozen=True)
class ShippedPart:
    """See :class:`~compiler_core.clock.models.TimedPart`."""

    name: str
    inputs: Sequence[str]
    outputs: Sequence[str]
    model: bytes


class _Session:
    def __init__(self, part: Any, threads: int, options: Mapping[str, Any]) -> None:
        self._names = list(part.outputs)
        if not options:
            self._session = plain_session(part.model, threads)
            return
        wanted = session_options(
            threads, spinning=bool(options["spinning"]), optimization=options["optimization"]
        )
        self._session = open_session(part.model, wanted, options["provider"])

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        results = self._session.run(self._names, dict(feeds))
        return {name: results[at] for at, name in enumerate(self._names)}


def serve(source: BinaryIO) -> str:
    """Answers one request.

    Args:
        source: Where the request comes from. Its ``options`` are of the sessions of the candidate
            that is profiled: ``spinning``, ``optimization`` and ``provider``.

    Returns:
        The line of the answer.
    """
    size = int(source.read(SIZE_DIGITS))
    arrays = np.load(io.BytesIO(source.read(size)), allow_pickle=False)
    request = json.loads(arrays["request"].tobytes())
    if hasattr(signal, "alarm"):  # whoever asked may be gone by then
        signal.alarm(int(request["timeout_s"]) + 1)
    threads = int(request["threads"])
    answer: dict[str, Any] = {"machine": asdict(this_machine(threads))}
    if request["candidates"]:
        answer.update(_times(request, arrays, threads))
    else:
        answer["choices"] = asdict(choices_here())
    return MARK + json.dumps(answer)


def _times(request: Mapping[str, Any], arrays: Any, threads: int) -> dict[str, Any]:
    candidates = {
        name: [
            ShippedPart(p["name"], p["inputs"], p["outputs"], arrays[p["model"]].tobytes())
            for p in parts
        ]
        for name, parts in request["candidates"].items()
    }
    feeds = {name: arrays[key] for name, key in request["inputs"].items()}
    profiled = candidates[request["profiled"]]
    own = {id(part) for part in profiled}
    timed = time_models(
        candidates,
        feeds,
        lambda part: _Session(part, threads, request["options"] if id(part) in own else {}),
        threads=threads,
        repeats=int(request["repeats"]),
        budget_s=float(request["budget_s"]),
    )
    return {
        "samples_us": timed.together.samples_us,
        "conditions": asdict(timed.together.conditions),
        "restless": timed.together.restless,
        "kernels": [[asdict(k) for k in part] for part in kernels_of(profiled, feeds, threads)],
    }
