"""How long each kernel of an ONNX model takes, by onnxruntime's own profile.

It needs Python 3.9, NumPy and onnxruntime, so that it also runs where nothing else of this project
is.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.clock.models import TimedPart

PROFILED_RUNS = 5


@dataclass(frozen=True)
class Kernel:
    """One kernel, named after a node, which may be the runtime's own; microseconds a run."""

    name: str
    operator: str
    us: float


def plain_session(model: bytes, threads: int = 1, profile: str = "") -> Any:
    """A session of onnxruntime on the CPU.

    Args:
        model: ONNX bytes.
        threads: Of one operator.
        profile: Prefix of the file that a profile goes to; empty for none.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    if profile:
        options.enable_profiling = True
        options.profile_file_prefix = profile
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def kernel_times(
    part: TimedPart, feeds: Mapping[str, npt.NDArray[Any]], threads: int = 1
) -> tuple[tuple[Kernel, ...], dict[str, npt.NDArray[Any]]]:
    """Kernels of a part in order of execution, and what it gives.

    Args:
        part: A part of a model.
        feeds: Its inputs.
        threads: Of the runtime.
    """
    with tempfile.TemporaryDirectory(prefix="nest-tune-") as folder:
        session = plain_session(part.model, threads, str(Path(folder) / "profile"))
        for _ in range(PROFILED_RUNS):
            results = session.run(list(part.outputs), dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text())
    spent: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") != "Node" or not event["name"].endswith("_kernel_time"):
            continue
        name = event["name"][: -len("_kernel_time")]
        spent.setdefault((name, event["args"]["op_name"]), []).append(float(event["dur"]))
    kernels = tuple(Kernel(*key, float(np.median(times))) for key, times in spent.items())
    return kernels, {name: results[at] for at, name in enumerate(part.outputs)}


def kernels_of(
    parts: Sequence[TimedPart], feeds: Mapping[str, npt.NDArray[Any]], threads: int = 1
) -> tuple[tuple[Kernel, ...], ...]:
    """Kernels of each part of a model, in order of execution."""
    known = dict(feeds)
    found = []
    for part in parts:
        inputs = {name: known[name] for name in part.inputs}
        kernels, outputs = kernel_times(part, inputs, threads)
        known.update(outputs)
        found.append(kernels)
    return tuple(found)
