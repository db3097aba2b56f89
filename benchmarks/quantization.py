"""Accuracy and speed of quantization on trained models, beside onnxruntime's own.

Reads folders that hold ``model.onnx``, ``calib.npz`` (x) and ``eval.npz`` (x, y), given as
arguments. Even samples of the evaluation set and, without labels, those of calibration choose; odd
samples report. Both sides calibrate on the same data. Differences are ours minus onnxruntime's,
paired, with 95 % intervals; those of the float model show what a quantization without any error
would get.
"""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import version_converter
from onnxruntime.quantization import (
    CalibrationDataReader,
    CalibrationMethod,
    QuantFormat,
    QuantType,
    quantize_static,
)

from compiler_core.frontend import load_model
from compiler_core.graph.exporter import export_onnx
from compiler_core.quantize.accuracy import Metric, measure, paired_difference
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.qdq import qdq_model
from compiler_core.quantize.scheme import (
    CpuPrecision,
    QuantizationScheme,
    RangeMethod,
    Scales,
    scheme_document,
)
from nest_tune.quantization.evaluation import SchemeEvaluator
from nest_tune.quantization.search import search_schemes

METHODS = (CalibrationMethod.MinMax, CalibrationMethod.Entropy, CalibrationMethod.Percentile)
QDQ_OPSET = 13
LIKE_THEIRS = QuantizationScheme(
    Scales.ASYMMETRIC,
    Granularity.CHANNEL,
    RangeMethod.MAX,
    RangeMethod.MAX,
    cpu_precision=CpuPrecision.INT8,
)
"""What onnxruntime does with MinMax."""


class _Reader(CalibrationDataReader):
    """Calibration samples one by one."""

    def __init__(self, name: str, samples: np.ndarray) -> None:
        self._name, self._samples, self._next = name, samples, 0

    def get_next(self) -> dict[str, np.ndarray] | None:
        if self._next == len(self._samples):
            return None
        self._next += 1
        return {self._name: self._samples[self._next - 1 : self._next]}


def scores_of(model: bytes, name: str, samples: np.ndarray, *, precise: bool = False) -> np.ndarray:
    """Scores of an ONNX model, one sample at a time.

    ``precise`` keeps onnxruntime from saturating sums of two 8-bit products, which it does by
    default on CPUs without 8-bit dot products.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    if precise:
        options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(model, options)
    parts = [session.run(None, {name: samples[i : i + 1]})[0] for i in range(len(samples))]
    return np.concatenate(parts).reshape(len(samples), -1)


def runtime_models(graph, calibration: np.ndarray, folder: Path) -> dict[str, bytes]:
    """onnxruntime's static quantization, per channel, by calibration method."""
    source, (name,) = folder / "float.onnx", graph.inputs
    model = export_onnx(graph)
    version = {item.domain: item.version for item in model.opset_import}.get("", 0)
    if version < QDQ_OPSET:
        model = version_converter.convert_version(model, QDQ_OPSET)
    onnx.save(model, source)
    found = {}
    for method in METHODS:
        result = folder / f"{method.name}.onnx"
        with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does
            quantize_static(
                source,
                result,
                _Reader(name, calibration),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=method,
            )
        found[method.name] = result.read_bytes()
    return found


def run(folder: Path) -> None:
    """One model."""
    model = load_model(folder / "model.onnx")
    graph, (name,) = model.graph, model.graph.inputs
    calibration = np.load(folder / "calib.npz")["x"]
    with np.load(folder / "eval.npz") as data:
        x, y = data["x"], data["y"]
    choosing, reporting = slice(0, None, 2), slice(1, None, 2)
    start = time.perf_counter()
    profile = profile_model(graph, {name: calibration})
    profiled = time.perf_counter() - start
    assignment = default_assignment(graph)
    choose = SchemeEvaluator(graph, assignment, profile, {name: x[choosing]}, y[choosing])
    report = SchemeEvaluator(graph, assignment, profile, {name: x[reporting]}, y[reporting])
    start = time.perf_counter()
    plain = SchemeEvaluator(graph, assignment, profile, {name: calibration}, None)
    result = search_schemes(choose, unlabelled=plain)
    searched = time.perf_counter() - start
    start = time.perf_counter()
    applied = choose.apply(result.mixed.scheme)
    took = time.perf_counter() - start
    whole = SchemeEvaluator(graph, assignment, profile, {name: x}, y)
    floats = whole.float_accuracy()
    start = time.perf_counter()
    uniform = whole.evaluate(result.uniform.scheme)
    evaluated = time.perf_counter() - start
    print(
        f"{folder.name}: profile of {len(calibration)} samples {profiled:.1f} s, search "
        f"{searched:.0f} s, scheme to graph {took:.2f} s, {len(x)} samples {evaluated:.1f} s"
    )
    base = report.float_accuracy()
    print(f"  float {base.correct.mean():.4f} on {base.samples} reported samples")
    drop = 100 * (floats.correct.mean() - uniform.correct.mean())
    print(f"  all layers on the NPU, whole evaluation set: drop {drop:+.2f} points")
    for label, found in (("all on the NPU", result.uniform), ("mixed", result.mixed)):
        accuracy = report.evaluate(found.scheme)
        drop = 100 * (base.correct.mean() - accuracy.correct.mean())
        print(
            f"  {label}: drop {drop:+.2f} points, agreement "
            f"{accuracy.metrics[Metric.AGREEMENT].value:.3f}, "
            f"{accuracy.metrics[Metric.SQNR].value:.1f} dB, {100 * found.npu_share:.1f} % of the "
            f"multiplications on the NPU\n    {scheme_document(found.scheme)}"
        )
    ours = whole.evaluate(result.mixed.scheme)
    exported = scores_of(qdq_model(applied.quantized).SerializeToString(), name, x)
    qdq = measure(exported, whole.expected.reshape(len(x), -1), y)
    drift = 100 * (qdq.correct.mean() - ours.correct.mean())
    print(f"  QDQ model in onnxruntime: {drift:+.2f} points from the reference")
    with tempfile.TemporaryDirectory() as temporary:
        models = runtime_models(graph, calibration, Path(temporary))
    theirs = {
        method: scores_of(content, name, x, precise=True).argmax(axis=1) == y
        for method, content in models.items()
    }
    best = max(theirs, key=lambda method: (theirs[method][choosing].mean(), method == "MinMax"))
    cpu = SchemeEvaluator(graph, dict.fromkeys(assignment, "cpu"), profile, {name: x}, y)
    candidates = {
        "asymmetric int8 on the CPU": cpu.evaluate(LIKE_THEIRS).correct,
        "all on the NPU": uniform.correct,
        "mixed": ours.correct,
        "float": floats.correct,
    }
    for label, part in (("reported half", reporting), ("whole set", slice(None))):
        print(f"  onnxruntime, {label} ({best}): {theirs[best][part].mean():.4f}")
        for kind, correct in candidates.items():
            difference = paired_difference(correct[part], theirs[best][part])
            print(
                f"    {kind}: {correct[part].mean():.4f}, difference "
                f"{100 * difference.value:+.2f} points [{100 * difference.low:+.2f}, "
                f"{100 * difference.high:+.2f}]",
                flush=True,
            )


def main() -> None:
    """All folders given."""
    logging.disable(logging.WARNING)
    folders = [Path(argument) for argument in sys.argv[1:]]
    if not folders:
        print("usage: python benchmarks/quantization.py FOLDER...; no folders, nothing measured")
    for folder in folders:
        run(folder)


if __name__ == "__main__":
    main()
