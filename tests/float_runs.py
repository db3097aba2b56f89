"""Models run once: in float, and in integers without the saturation that some machines have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnxruntime

from compiler_core.graph.ir import Graph
from compiler_core.graph.session import FloatSession


def run_float(
    graph: Graph,
    inputs: Mapping[str, npt.NDArray[Any]],
    outputs: Sequence[str] | None = None,
    *,
    threads: int = 1,
) -> dict[str, npt.NDArray[Any]]:
    """Outputs of one run of a graph; errors are those of
    :class:`~compiler_core.graph.session.FloatSession`."""
    return FloatSession(graph, outputs, threads=threads).run(inputs)


def exact_session(path: Path) -> onnxruntime.InferenceSession:
    """A session whose sums of 8-bit products do not saturate at 16 bits, which those of bytes with
    and without a sign do on x86 machines that lack VNNI instructions."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
