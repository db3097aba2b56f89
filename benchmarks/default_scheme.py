"""What the untuned default loses, network by network, and what it took for it.

    python benchmarks/default_scheme.py FOLDER...

For folders with ``model.onnx``, ``calib.npz`` and ``eval.npz``: rung of the ladder, its SQNR and
agreement on the calibration data, top-1 on the evaluation data in float, with weights per tensor
and with the default, its latency against weights per tensor on ``--target``, and the CPU seconds
that the ladder took beyond the profile. The thresholds of
``compiler_core/quantize/good_enough.py`` were chosen on the networks of ``--chosen-on``; the others
are reported.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from compiler_core.accuracy.float_model import float_outputs
from compiler_core.compile.compile import compile_model
from compiler_core.compile.sources import (
    LABELS,
    FloatModel,
    load_model,
    quantize_model,
    read_samples,
)
from compiler_core.configuration.configuration import Configuration, Scheme
from compiler_core.files.npz import read_npz
from compiler_core.partition.configured import with_plan
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.ladder import FIRST, RUNGS, climb
from compiler_core.quantize.profile import Profile, profile_model
from compiler_core.quantize.reference import ReferenceExecutor
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.targets.load import load_target

CHOSEN_ON = ("dscnn_kws", "mobilenet_v1_025_224", "resnet8_cifar10", "squeezenet_v1_1")


@dataclass(frozen=True)
class Row:
    """One network; accuracies in points, latency in percent, times in CPU seconds."""

    name: str
    taken: str
    good_enough: bool
    sqnr_db: float
    agreement: float
    float_top1: float
    first_drop: float
    drop: float
    latency_percent: float
    ladder_s: float


def measure(folder: Path, target_name: str) -> Row:
    """Climbs, compiles and evaluates the network in ``folder``."""
    model = load_model(folder / "model.onnx")
    profile = profile_model(model.graph, read_samples(folder / "calib.npz", model.graph))
    begun = time.process_time()
    found = climb(model.graph, default_assignment(model.graph), profile)
    spent = time.process_time() - begun
    assert found.ladder is not None
    assert found.quality is not None
    samples = read_samples(folder / "eval.npz", model.graph)
    labels = read_npz(folder / "eval.npz", names=[LABELS])[LABELS]
    first = model.graph.outputs[0]
    scores = float_outputs(model.graph, samples, [first])[first]
    correct = _top1(scores, labels)
    results = []
    for scheme in (RUNGS[FIRST], found.scheme):
        latency, output = _compiled(model, profile, scheme, target_name, samples)
        results.append((latency, 100 * (correct - _top1(output, labels))))
    (first_ms, first_drop), (latency_ms, drop) = results
    return Row(
        folder.name,
        found.ladder.taken,
        found.ladder.good_enough,
        found.quality.sqnr_db,
        found.quality.agreement or 0.0,
        100 * correct,
        first_drop,
        drop,
        100 * (latency_ms / first_ms - 1),
        spent,
    )


def _compiled(
    model: FloatModel,
    profile: Profile,
    scheme: QuantizationScheme,
    target_name: str,
    samples: dict[str, np.ndarray],
) -> tuple[float, np.ndarray]:
    """Simulated latency, and the scores of ``samples``."""
    target = load_target(target_name)
    asked = with_plan(Configuration(Scheme.of({}, scheme)), model, target)
    quantized = quantize_model(model, asked, profile)
    latency = compile_model(quantized, target).metrics.latency_ms
    scores = ReferenceExecutor(quantized.quantized).run(samples)[model.graph.outputs[0]]
    return latency, scores


def _top1(scores: np.ndarray, labels: np.ndarray) -> float:
    return float((scores.reshape(len(scores), -1).argmax(axis=1) == labels).mean())


def main() -> None:
    """Prints the table, the networks that thresholds were chosen on first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--target", default="vta")
    parser.add_argument("--chosen-on", nargs="*", default=CHOSEN_ON)
    given = parser.parse_args()
    print(
        "| network | thresholds | rung taken | SQNR [dB] | agreement | float top-1 | drop per "
        "tensor | drop | latency | ladder [CPU s] |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    for folder in sorted(given.folders, key=lambda item: item.name not in given.chosen_on):
        row = measure(folder, given.target)
        kind = "chosen on" if row.name in given.chosen_on else "reported"
        taken = row.taken if row.good_enough else f"{row.taken} (not good enough)"
        print(
            f"| {row.name} | {kind} | {taken} | {row.sqnr_db:.1f} | {row.agreement:.3f} | "
            f"{row.float_top1:.1f} | {row.first_drop:.2f} | {row.drop:.2f} | "
            f"{row.latency_percent:+.1f} % | {row.ladder_s:.1f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
