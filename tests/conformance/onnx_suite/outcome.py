"""One case from its model to a package, through it and back, and how it ended."""

from __future__ import annotations

import tempfile
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime

import nest_tune
from compiler_core.compile.sources import load_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.errors import NestTuneError
from compiler_core.files.npz import read_npz, write_npz
from compiler_core.graph.plain_ports import plain_ports
from tests.conformance.onnx_suite.cases import Case, Value

SQNR_DB = 10.0
"""What quantization may cost an output of an operator on the NPU, calibrated with one sample whose
values are the test's: signal to noise at least this, unless the test's tolerance holds anyway."""


_PLAIN = {f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)}
_PLAIN |= {"bool", "float16", "float32", "float64"}


BFLOAT16_STEP = 2.0**-8
"""Models of half precision are computed as float32 ones: their outputs are not rounded to the type
that the suite expects, and may differ by a step of it."""


class Cause(StrEnum):
    """How a case ended; everything but the first two is a fault."""

    PASSED = "passed"
    SKIPPED = "onnxruntime does not run it"
    COMPILE = "refused at compile"
    RUN = "refused at run"
    CRASH = "crash"
    MISMATCH = "mismatch"


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Attributes:
        case: ``kind/name``.
        cause: In one word.
        detail: The error, in one line.
        on_npu: Whether a part of it ran on the NPU.
    """

    case: str
    cause: Cause
    detail: str = ""
    on_npu: bool = False

    @property
    def failed(self) -> bool:
        """Whether it counts against the project."""
        return self.cause not in (Cause.PASSED, Cause.SKIPPED)

    @property
    def skipped(self) -> bool:
        """Whether there was nothing to hold the project to."""
        return self.cause is Cause.SKIPPED


def outcome(case: Case) -> Outcome:
    """Compiles and runs a case twice: as by default, and with everything on the CPU.

    By default the bits have to be those of the integer reference, and outputs that passed through
    the NPU may carry quantization noise (:data:`SQNR_DB`); on the CPU the suite's own tolerance
    holds. What onnxruntime gives stands in where it is not what the suite expects, or where the
    suite expects nothing.
    """
    name = f"{case.kind}/{case.name}"
    wanted = _by_runtime(case)
    if isinstance(wanted, str):
        return Outcome(name, Cause.SKIPPED, wanted)
    stage, shapes = Cause.COMPILE, _shapes(case)
    try:
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder)
            onnx.save(case.model, work / "model.onnx")
            write_npz(work / "x.npz", _arrays(case))
            made = nest_tune.compile(
                work / "model.onnx",
                "vta",
                work / "package",
                calibration=work / "x.npz",
                shapes=shapes,
            )
            on_npu = made.npu_segments > 0
            stage = Cause.RUN
            got = _run(work / "package", work, check=True)
            noise = SQNR_DB if on_npu else None
            wrong = _differences(case, got, wanted, noise)
            if on_npu and not wrong:
                stage = Cause.COMPILE
                graph = load_model(work / "model.onnx", shapes).graph
                plan = Configuration(plan={node.name: "cpu" for node in graph.nodes})
                nest_tune.compile(
                    work / "model.onnx",
                    "vta",
                    work / "cpu",
                    config=plan,
                    calibration=work / "x.npz",
                    shapes=shapes,
                )
                stage = Cause.RUN
                got = _run(work / "cpu", work, check=False)
                wrong = _differences(case, got, wanted, None)
    except NestTuneError as error:
        crashed = type(error).__name__ in ("InternalError", "CheckError")
        cause = Cause.CRASH if crashed else stage
        return Outcome(name, cause, _line(error.message))
    except Exception as error:  # whatever it is, it is the finding
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return Outcome(name, Cause.CRASH, _line(f"{type(error).__name__}: {error} ({where})"))
    if wrong:
        return Outcome(name, Cause.MISMATCH, wrong, on_npu)
    return Outcome(name, Cause.PASSED, "", on_npu)


def _by_runtime(case: Case) -> list[Value] | str:
    """What the outputs have to be; why not, where onnxruntime's CPU provider gives none."""
    try:
        # Python cannot feed what NumPy lacks, and gets its bits; casts make it plain numbers.
        inputs = {name: _plain(value) for name, value in case.inputs.items()}
        given = _run_float(plain_ports(case.model), inputs)
    except Exception as error:
        if case.outputs is not None and _is_old(case.model):
            return list(case.outputs)  # the version converter may make it one that runs
        return _line(str(error))
    if case.outputs is None or len(case.outputs) != len(given):
        return list(given)
    pairs = zip(given, case.outputs, strict=True)
    return [
        wanted if not _difference(got, wanted, case.rtol, case.atol, None) else got
        for got, wanted in pairs
    ]


def _run_float(model: onnx.ModelProto, inputs: Mapping[str, Value]) -> list[Value]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    fed = {item.name for item in session.get_inputs()}
    outputs: list[Value] = session.run(
        None, {name: _fed(v) for name, v in inputs.items() if name in fed}
    )
    return outputs


def _is_old(model: onnx.ModelProto) -> bool:
    versions = [item.version for item in model.opset_import if item.domain in ("", "ai.onnx")]
    return bool(versions) and max(versions) < 7


def _plain(value: Value) -> Value:
    if isinstance(value, np.ndarray) and value.dtype.kind not in "OSU":
        return _stored(value)
    return value


def _shapes(case: Case) -> dict[str, tuple[int, ...]]:
    """Of inputs with dynamic axes, where the test's data are no batch of samples: a model for
    sequences has none, and no batch is empty."""
    values = {value.name: value for value in case.model.graph.input}
    whole = any(not isinstance(value, np.ndarray) for value in case.inputs.values())
    shapes = {}
    for name, array in case.inputs.items():
        if not isinstance(array, np.ndarray):
            continue
        kind = values[name].type.tensor_type
        known = [dim.HasField("dim_value") for dim in kind.shape.dim]
        unknown = not kind.HasField("shape") or not all(known[1:])
        if unknown or (not all(known) and (whole or not array.size)):
            shapes[name] = array.shape
    return shapes


def _fed(value: Value) -> Value:
    if isinstance(value, np.ndarray) and value.dtype.kind in "US":
        return value.astype(object)
    return value


def _arrays(case: Case) -> dict[str, npt.NDArray[Any]]:
    """Inputs as a data file holds them: sequences by element, absent ones left out."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    for name, value in case.inputs.items():
        if isinstance(value, list):
            arrays |= {f"{name}/{number}": _stored(item) for number, item in enumerate(value)}
        elif value is not None:
            arrays[name] = _stored(value)
    return arrays


def _stored(value: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """In a type that a data file can hold: text as ``<U``, what NumPy lacks as wider numbers."""
    if value.dtype.kind in "OSU":
        texts = [item.decode() if isinstance(item, bytes) else str(item) for item in value.flat]
        return np.array(texts, dtype=str if texts else "U1").reshape(value.shape)
    if value.dtype.name in _PLAIN:
        return value
    kind = value.dtype.name
    return value.astype(
        np.uint8 if kind.startswith("uint") else np.int8 if "int" in kind else np.float32
    )


def _run(package: Path, work: Path, *, check: bool) -> dict[str, npt.NDArray[Any]]:
    result = nest_tune.run(package, work / "x.npz", check=check)
    write_npz(work / "y.npz", result.outputs)
    return read_npz(work / "y.npz", text=True)


def _differences(
    case: Case, got: dict[str, npt.NDArray[Any]], wanted: list[Value], noise: float | None
) -> str:
    bfloat16 = onnx.TensorProto.BFLOAT16
    for output, value in zip(case.model.graph.output, wanted, strict=True):
        name, rtol = output.name, case.rtol
        if output.type.tensor_type.elem_type == bfloat16:
            rtol = max(rtol, BFLOAT16_STEP)
        ours: Value = got.get(name)
        if isinstance(value, list):
            ours = [
                got[f"{name}/{number}"] for number in range(len(got)) if f"{name}/{number}" in got
            ]
        wrong = _difference(ours, value, rtol, case.atol, noise)
        if wrong:
            return f"{name}: {wrong}"
    return ""


def _difference(got: Value, wanted: Value, rtol: float, atol: float, noise_db: float | None) -> str:
    """How two values differ, ``""`` where they do not."""
    if isinstance(wanted, list):
        if not isinstance(got, list) or len(got) != len(wanted):
            return f"a sequence of {len(wanted)} is wanted"
        found = (_difference(a, b, rtol, atol, noise_db) for a, b in zip(got, wanted, strict=True))
        return next((item for item in found if item), "")
    if wanted is None or got is None:
        return "" if wanted is got else f"{'present' if wanted is None else 'absent'}"
    ours, theirs = np.asarray(got), np.asarray(wanted)
    shape = theirs.shape or (1,)  # one value per run
    if (ours.shape or (1,)) != shape:
        return f"shape {ours.shape}, wanted {theirs.shape}"
    if theirs.dtype.kind in "OSU":
        same = [str(a) == _decoded(b) for a, b in zip(ours.flat, theirs.flat, strict=True)]
        return "" if all(same) else "text differs"
    a, b = (np.asarray(item, np.float64).reshape(shape) for item in (ours, theirs))
    if np.allclose(a, b, rtol=rtol, atol=atol, equal_nan=True):
        return ""
    finite = np.isfinite(b)
    if noise_db is not None and np.isfinite(a[finite]).all():
        noise = float(((a[finite] - b[finite]) ** 2).sum())
        signal = float((b[finite] ** 2).sum())
        if noise == 0 or (signal and 10 * np.log10(signal / noise) >= noise_db):
            return ""
        return f"{10 * np.log10(signal / noise):.1f} dB" if signal else "noise without signal"
    wrong = ~np.isclose(a, b, rtol=rtol, atol=atol, equal_nan=True)
    return f"{a[wrong][0]:g} where {b[wrong][0]:g} is wanted, {wrong.sum()} like that"


def _decoded(item: object) -> str:
    return item.decode() if isinstance(item, bytes) else str(item)


def _line(text: str) -> str:
    return " ".join(text.split())[:300]
