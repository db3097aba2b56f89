"""Accuracy and speed of quantization on trained models, beside onnxruntime's own.

Reads folders that hold ``model.onnx``, ``calib.npz`` (x) and ``eval.npz`` (x, y), given as
arguments. Even samples of the evaluation set and, without labels, those of calibration choose; odd
samples report (``--choose odd``: the other way round). Both sides calibrate on the same data.
Differences are ours minus onnxruntime's, paired, with 95 % intervals; those of the float model show
what a quantization without any error would get. The best configuration is the one that
:func:`benchmarks.witnesses.best_beside` takes on the samples that choose, beside what onnxruntime
does.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import tempfile
import time
from collections.abc import Mapping
from dataclasses import replace
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

from benchmarks.witnesses import best_beside
from compiler_core.accuracy.intervals import paired_difference
from compiler_core.accuracy.metric import Metric
from compiler_core.compile.sources import load_model
from compiler_core.graph.exporter import export_onnx
from compiler_core.quantize.accuracy import measure
from compiler_core.quantize.assemble import CPU
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
from nest_tune.scheme_search.evaluation import SchemeEvaluator
from nest_tune.scheme_search.search import candidate, search_schemes

METHODS = (CalibrationMethod.MinMax, CalibrationMethod.Entropy, CalibrationMethod.Percentile)
QDQ_OPSET = 13
HALVES = {"even": slice(0, None, 2), "odd": slice(1, None, 2)}
RECIPES = tuple(
    QuantizationScheme(
        Scales.ASYMMETRIC,
        Granularity.CHANNEL,
        method,
        RangeMethod.MAX,
        cpu_precision=CpuPrecision.INT8_ALL,
    )
    for method in (RangeMethod.MAX, RangeMethod.KL, RangeMethod.PERCENTILE)
)
"""What onnxruntime does: the first is its MinMax."""
ON_CPU = tuple(
    replace(scheme, cpu_precision=precision, activation_range=method)
    for scheme in RECIPES[:1]
    for precision in (CpuPrecision.INT8, CpuPrecision.INT8_ACTIVATIONS_16)
    for method in (RangeMethod.MAX, RangeMethod.KL, RangeMethod.PERCENTILE, RangeMethod.MSE)
)
"""Other schemes of the CPU."""


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


def run(folder: Path, *, gptq: bool | None, choosing: str) -> None:
    """One model; the half ``choosing`` of its samples chooses."""
    chosen = HALVES[choosing]
    (reported,) = (part for half, part in HALVES.items() if half != choosing)
    parts = {"reported half": reported, "whole set": slice(None)}
    model = load_model(folder / "model.onnx")
    graph, (name,) = model.graph, model.graph.inputs
    calibration = np.load(folder / "calib.npz")["x"]
    with np.load(folder / "eval.npz") as data:
        x, y = data["x"], data["y"]
    start = time.perf_counter()
    profile = profile_model(graph, {name: calibration})
    profiled = time.perf_counter() - start
    assignment = default_assignment(graph)

    def evaluators(units: Mapping[str, str]) -> tuple[SchemeEvaluator, ...]:
        return tuple(
            SchemeEvaluator(graph, units, profile, {name: samples}, labels)
            for samples, labels in ((x[chosen], y[chosen]), (x, y), (calibration, None))
        )

    choose, whole, plain = evaluators(assignment)
    start = time.perf_counter()
    result = search_schemes(choose, unlabelled=plain, gptq=gptq)
    searched = time.perf_counter() - start
    start = time.perf_counter()
    applied = whole.apply(result.mixed.scheme)
    took = time.perf_counter() - start
    start = time.perf_counter()
    uniform = whole.evaluate(result.uniform.scheme)
    evaluated = time.perf_counter() - start
    print(
        f"{folder.name}: profile of {len(calibration)} samples {profiled:.1f} s, search "
        f"{searched:.0f} s, scheme to graph {took:.2f} s, {len(x)} samples {evaluated:.1f} s"
    )
    floats = whole.float_accuracy()
    mixed = whole.evaluate(result.mixed.scheme)
    for label, found, accuracy in (
        ("all on the NPU", result.uniform, uniform),
        ("mixed", result.mixed, mixed),
    ):
        lost = [
            100 * (floats.correct[p].mean() - accuracy.correct[p].mean()) for p in parts.values()
        ]
        print(
            f"  {label}: drop {lost[0]:+.2f} points on the reported half, {lost[1]:+.2f} on the "
            f"whole set, agreement {accuracy.metrics[Metric.AGREEMENT].value:.3f}, "
            f"{accuracy.metrics[Metric.SQNR].value:.1f} dB, {100 * found.npu_share:.1f} % of the "
            f"multiplications on the NPU\n    {_shown(found.scheme)}"
        )
    exported = scores_of(qdq_model(applied.quantized).SerializeToString(), name, x)
    (output,) = whole.judges
    expected = whole.expected[output]
    shaped = exported.reshape(expected.shape)
    qdq = measure(whole.judges, {output: shaped}, {output: expected}, y, len(x))
    drift = 100 * (qdq.correct.mean() - mixed.correct.mean())
    print(f"  QDQ model of mixed in onnxruntime: {drift:+.2f} points from the reference")

    with tempfile.TemporaryDirectory() as temporary:
        models = runtime_models(graph, calibration, Path(temporary))
    theirs = {
        method: scores_of(content, name, x, precise=True).argmax(axis=1) == y
        for method, content in models.items()
    }
    method = max(theirs, key=lambda key: (theirs[key][chosen].mean(), key == "MinMax"))
    on_cpu = evaluators(dict.fromkeys(assignment, CPU))
    recipes = [candidate(on_cpu[0], on_cpu[2], scheme) for scheme in RECIPES]
    others = [candidate(on_cpu[0], on_cpu[2], scheme) for scheme in ON_CPU]
    # Of equal recipes the first, as of equal methods of onnxruntime MinMax.
    recipe = max(recipes, key=lambda found: found.accuracy.correct.mean())
    best = best_beside(recipe, [*recipes, *others, result.uniform, result.mixed])
    place = whole if best in (result.uniform, result.mixed) else on_cpu[1]
    candidates = {
        f"best ({_shown(best.scheme)})": place.evaluate(best.scheme).correct,
        "the recipe as ours": on_cpu[1].evaluate(recipe.scheme).correct,
        "all on the NPU": uniform.correct,
        "mixed": mixed.correct,
        "float": floats.correct,
    }
    for label, part in parts.items():
        print(f"  onnxruntime, {label} ({method}): {theirs[method][part].mean():.4f}")
        for kind, correct in candidates.items():
            ours, other = correct[part], theirs[method][part]
            difference = paired_difference(ours, other)
            print(
                f"    {kind}: {ours.mean():.4f}, difference {100 * difference.value:+.2f} points "
                f"[{100 * difference.low:+.2f}, {100 * difference.high:+.2f}], "
                f"{(ours & ~other).sum()} won, {(~ours & other).sum()} lost",
                flush=True,
            )


def _shown(scheme: QuantizationScheme) -> str:
    """What a scheme decides otherwise than the default."""
    default = scheme_document(QuantizationScheme())
    decided = {k: v for k, v in scheme_document(scheme).items() if v != default[k]}
    return ", ".join(f"{key}={value}" for key, value in decided.items())


def main() -> None:
    """All folders given."""
    logging.disable(logging.WARNING)
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER")
    parser.add_argument("--gptq", action=argparse.BooleanOptionalAction, help="as quantize search")
    parser.add_argument("--choose", choices=HALVES, default="even", help="samples that choose")
    arguments = parser.parse_args()
    if not arguments.folders:
        print("no folders, nothing measured")
    for folder in arguments.folders:
        run(folder, gptq=arguments.gptq, choosing=arguments.choose)


if __name__ == "__main__":
    main()
