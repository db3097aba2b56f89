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

from compiler_core.clock.kernels import kernels_of, plain_session
from compiler_core.clock.machine import this_machine
from compiler_core.clock.models import time_models

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
    def __init__(self, part: Any, threads: int) -> None:
        self._names = list(part.outputs)
        self._session = plain_session(part.model, threads)

    def run(self, feeds: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        results = self._session.run(self._names, dict(feeds))
        return {name: results[at] for at, name in enumerate(self._names)}


def serve(source: BinaryIO) -> str:
    """Answers one request.

    Args:
        source: Where the request comes from.

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
    timed = time_models(
        candidates,
        feeds,
        lambda part: _Session(part, threads),
        threads=threads,
        repeats=int(request["repeats"]),
        budget_s=float(request["budget_s"]),
    )
    profiled = candidates[request["profiled"]]
    return {
        "samples_us": timed.together.samples_us,
        "conditions": asdict(timed.together.conditions),
        "restless": timed.together.restless,
        "kernels": [[asdict(k) for k in part] for part in kernels_of(profiled, feeds, threads)],
    }
