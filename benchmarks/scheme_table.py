"""Measures schemes of trained models as a table for ``replay_quantization.py``.

Run: ``python benchmarks/scheme_table.py OUT.csv FOLDER... [--samples 300] [--target vta]``.

Each FOLDER holds ``model.onnx``, ``calib.npz`` and ``eval.npz`` with labels. Rows are schemes of
the NPU with everything that it supports on it, judged by the integer reference: 96 per model. A
model whose rows are in OUT is not measured again, so that a run may be ended and taken up.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from itertools import product
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from compiler_core.compile.sources import load_model
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.scheme import QuantizationScheme, RangeMethod
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from nest_tune.scheme_search.evaluation import SchemeEvaluator

KNOBS = {
    "granularity": tuple(Granularity),
    "activation_range": (RangeMethod.MAX, RangeMethod.MSE, RangeMethod.PERCENTILE),
    "weight_range": (RangeMethod.MAX, RangeMethod.MSE),
    "bias_correction": (False, True),
    "equalization": (False, True),
    "rescaling": (False, True),
}
VALUE = "top1_accuracy_percent"


def rows_of(folder: Path, target: str, most: int) -> list[list[str]]:
    """Rows of one model."""
    model, machine = load_model(folder / "model.onnx"), load_target(target)
    name = model.graph.inputs[0]
    profile = profile_model(model.graph, {name: np.load(folder / "calib.npz")["x"]})
    data = np.load(folder / "eval.npz")
    known = target_arithmetic(machine)
    evaluator = SchemeEvaluator(
        model.graph,
        default_assignment(model.graph, arithmetic=known),
        profile,
        {name: data["x"][:most]},
        data["y"][:most],
        arithmetic=known,
    )
    floats = 100 * float(evaluator.float_accuracy().correct.mean())
    print(f"{folder.name}: float {floats:.2f}", flush=True)
    found = []
    for values in product(*KNOBS.values()):
        scheme = QuantizationScheme(**dict(zip(KNOBS, values, strict=True)))  # type: ignore[arg-type]
        right = 100 * float(evaluator.evaluate(scheme).correct.mean())
        texts = [str(getattr(value, "value", value)) for value in values]
        found.append([folder.name, *texts, f"{right:.4f}"])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--target", default="vta")
    arguments = parser.parse_args()
    header, out = ["model", *KNOBS, VALUE], arguments.out
    kept = list(csv.reader(out.read_text().splitlines())) if out.exists() else [header]
    done = {row[0] for row in kept}
    for folder in arguments.folders:
        if folder.name in done:
            continue
        began = time.process_time()
        kept += rows_of(folder, arguments.target, arguments.samples)
        draft = out.with_suffix(".new")
        with draft.open("w", newline="") as file:
            csv.writer(file).writerows(kept)
        draft.replace(out)
        print(f"{folder.name}: {time.process_time() - began:.0f} s of CPU time", flush=True)


if __name__ == "__main__":
    main()
