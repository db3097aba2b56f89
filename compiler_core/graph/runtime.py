"""Sessions of onnxruntime over models from outside: what no shape tells is bounded as they run.

Sizes that depend on data, and loops, are seen by nobody before. A model with such operators runs
on an arena of bounded size, its loops are counted (:mod:`compiler_core.graph.rounds`), and as a
last resort it is told to stop after some time; others run as ever.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from compiler_core.errors import InputError
from compiler_core.graph.portable import computes_integers, set_nodes, spell_softmax
from compiler_core.graph.rounds import COUNTED, count_rounds, exceeded, with_scalars

RUNTIME_ERRORS = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
    ort_errors.EPFail,
    MemoryError,
    UnicodeDecodeError,
)
"""What onnxruntime raises for a model or inputs that it cannot run; they share no base. Where its
words quote a name of the model that is no text, they cannot even be raised."""

_OF_REWRITING = (ort_errors.Fail, ort_errors.RuntimeException, UnicodeDecodeError)

FATAL_ONLY = 4
"""Errors are raised and worded by the caller; the log would repeat them on standard error."""

ARENA_BYTES = 1 << 30
"""Memory of all guarded sessions of a process."""

GUARDED_SECONDS = 5.0
"""CPU time of one execution of a guarded session; what is not bounded by its number, such as loops
within loops that never end, is stopped after it."""

_WATCH_SECONDS = 0.05

# What allocators and kernels say by themselves would go to standard error in colours, past all
# that is shown as escapes.
onnxruntime.set_default_logger_severity(FATAL_ONLY)

_GUARDED_MODEL_BYTES = 1 << 27
"""A larger model runs as ever: its own weights would fill the arena."""

_ALWAYS = frozenset(["Loop", "Scan", "SequenceMap", "SplitToSequence"])
_SIZED_BY = {
    "Range": (0, 1, 2), "ConstantOfShape": (0,), "Expand": (1,), "Tile": (1,), "Pad": (1,),
    "Resize": (2, 3), "Upsample": (1,), "OneHot": (1,), "CenterCropPad": (1,), "Col2Im": (1,),
    "AffineGrid": (1,), "MaxUnpool": (2,), "HannWindow": (0,), "HammingWindow": (0,),
    "BlackmanWindow": (0,), "MelWeightMatrix": (0, 1), "DFT": (1,), "STFT": (1, 3),
}  # fmt: skip
"""Operators whose results can be larger than what they read, with the inputs that say how large."""


def open_session(
    model: onnx.ModelProto,
    *,
    threads: int = 1,
    optimize: bool = True,
    portable: bool = True,
    guarded: bool | None = None,
    outside: Mapping[str, npt.NDArray[Any]] | None = None,
) -> onnxruntime.InferenceSession:
    """A session on the CPU.

    Args:
        model: What it runs; its nodes may be rewritten.
        threads: Of one operator.
        optimize: Let onnxruntime rewrite the graph.
        portable: Float results are the same on every processor of a kind
            (:mod:`compiler_core.graph.portable`), but of models with integers, which integer
            kernels run; without, everything is as fast as it gets.
        guarded: Bound memory while running; by default where the model calls for it.
        outside: Constants that the model only names. onnxruntime reads them where they are, so that
            they have to live as long as the session.

    Raises:
        RUNTIME_ERRORS: onnxruntime cannot run the model.
        google.protobuf.message.EncodeError: It takes more than 2 GiB.
    """
    if guarded is None:
        guarded = is_unbounded(model)
    portable = portable and not computes_integers(model)
    before = spell_softmax(model) if portable else []
    content = (with_scalars(count_rounds(model)) if guarded else model).SerializeToString()
    options = onnxruntime.SessionOptions()
    if portable:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = FATAL_ONLY
    if not optimize:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    if outside:
        values = [
            onnxruntime.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array))
            for array in outside.values()
        ]
        options.add_external_initializers(list(outside), values)
    size = len(content) + sum(array.nbytes for array in (outside or {}).values())
    if guarded and size <= _GUARDED_MODEL_BYTES:
        _register_arena()
        options.add_session_config_entry("session.use_env_allocators", "1")
        options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except RUNTIME_ERRORS as error:
        if before:  # what is refused is told of the model as it was
            set_nodes(model, before)
            return open_session(
                model,
                threads=threads,
                optimize=optimize,
                portable=False,
                guarded=guarded,
                outside=outside,
            )
        if not optimize or not isinstance(error, _OF_REWRITING):
            raise
    # Its own rewriting may refuse what it runs as it stands: a branch drawn into the graph gives
    # constants to operators whose shape inference is stricter than they are.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def run_session(
    session: onnxruntime.InferenceSession,
    outputs: Sequence[str],
    feeds: Mapping[str, npt.NDArray[Any]],
    *,
    guarded: bool,
) -> list[Any]:
    """Executes once; a guarded session is stopped after :data:`GUARDED_SECONDS`.

    Raises:
        RUNTIME_ERRORS: onnxruntime refuses the inputs, NumPy has no type for a result, or there is
            too little memory.
        InputError: It took too long.
    """
    if not guarded:
        return _results(session, list(outputs), feeds)
    run = onnxruntime.RunOptions()
    run.log_severity_level = FATAL_ONLY
    run.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    counted = [item.name for item in session.get_outputs() if item.name.startswith(COUNTED)]
    with _Stopwatch(run) as watch:
        try:
            results = _results(session, [*outputs, *counted], feeds, run)
        except RUNTIME_ERRORS as error:
            if not watch.is_over:
                raise
            raise _too_slow() from error
    if watch.is_over:  # in one operator, which is not stopped on its way
        raise _too_slow()
    most = exceeded(dict(zip(counted, results[len(outputs) :], strict=True)))
    if most is not None:
        raise InputError(
            f"a loop takes more than {most} rounds, which is what a body of its size may take: it "
            "does not end, or it does too much for one sample",
            hint="check the condition of the model's loops, or give a model without loops",
        )
    return list(results[: len(outputs)])


def _results(
    session: onnxruntime.InferenceSession,
    outputs: list[str],
    feeds: Mapping[str, npt.NDArray[Any]],
    run: onnxruntime.RunOptions | None = None,
) -> list[Any]:
    try:
        results: list[Any] = session.run(outputs, dict(feeds), run)
    except RuntimeError as error:  # bfloat16 and others that NumPy lacks
        raise ort_errors.NotImplemented(str(error)) from error
    return results


class _Stopwatch:
    """Stops an execution whose thread has used up its CPU time; a busy machine does not count."""

    def __init__(self, run: onnxruntime.RunOptions) -> None:
        self._run = run
        self._clock = _cpu_clock()
        self._end = self._clock() + GUARDED_SECONDS
        self._done = threading.Event()

    @property
    def is_over(self) -> bool:
        """Whether the time is used up."""
        return self._clock() >= self._end

    def __enter__(self) -> _Stopwatch:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()

    def _watch(self) -> None:
        while not self._done.wait(_WATCH_SECONDS):
            if self.is_over:
                self._run.terminate = True
                return


def _cpu_clock() -> Callable[[], float]:
    """CPU time of the calling thread, for any thread to read; where there is none, the clock."""
    if not hasattr(time, "pthread_getcpuclockid"):  # macOS, Windows
        return time.monotonic
    clock = time.pthread_getcpuclockid(threading.get_ident())
    return lambda: time.clock_gettime(clock)


def _too_slow() -> InputError:
    return InputError(
        f"the model runs for more than {GUARDED_SECONDS:g} s on one input: a loop in it does "
        "not end, or an operator takes too long",
        hint="check the condition of its loops, or give a model without loops",
    )


def is_unbounded(model: onnx.ModelProto) -> bool:
    """Whether the model has a loop, functions, or an operator whose size only running it tells."""
    return bool(model.functions) or _unbounded(
        model.graph.node, {item.name for item in model.graph.initializer}
    )


def _unbounded(nodes: Iterable[onnx.NodeProto], constants: set[str]) -> bool:
    for node in nodes:
        if node.op_type in _ALWAYS:
            return True
        for index in _SIZED_BY.get(node.op_type, ()):
            if index < len(node.input) and node.input[index] not in (*constants, ""):
                return True
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                inner = constants | {item.name for item in graph.initializer}
                if graph.node and _unbounded(graph.node, inner):
                    return True
    return False


@cache
def _register_arena() -> None:
    place = onnxruntime.OrtMemoryInfo(
        "Cpu", onnxruntime.OrtAllocatorType.ORT_ARENA_ALLOCATOR, 0, onnxruntime.OrtMemType.DEFAULT
    )
    arena = onnxruntime.OrtArenaCfg({"max_mem": ARENA_BYTES, "arena_extend_strategy": 1})
    onnxruntime.create_and_register_allocator(place, arena)
