"""Latency of all plans per model at half, once and twice the assumed CPU speed.

    python benchmarks/partition.py [TARGET …] [--model NAME …]

Margins are ``baseline / optimum - 1``. Topologies with random weights; untuned schedules. Seconds
are CPU time of this process.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from time import process_time

import onnx
from networks.topologies import tests_module

from compiler_core.compile.sources import load_model
from compiler_core.partition.best import find_best, prepare
from compiler_core.partition.build_costs import build_costs
from compiler_core.partition.evaluate import Evaluator
from compiler_core.partition.programs import ProgramCosts
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from compiler_core.units.cpu.cost_table import analytic_costs

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
FILES = {"squeezenet": "light_squeezenet.onnx", "googlenet": "light_inception_v1.onnx"}
BUILT = ("resnet18", "resnet50", "resnext50")
SCALES = (0.5, 1.0, 2.0)
COLUMNS = ("all_cpu", "all_npu", "static_by_type", "partition_tuner", "best_sequential")


def model_path(name: str, folder: Path) -> Path:
    """An ONNX file: from the onnx package, or built in ``folder``."""
    if name in FILES:
        return LIGHT / FILES[name]
    path = folder / f"{name}.onnx"
    topologies = tests_module("e2e/topologies")
    path.write_bytes(topologies.TOPOLOGIES[name](tests_module("synthetic_models")))
    return path


def scaled(target: Target, scale: float) -> Target:
    """The target with a CPU of another clock, its launches included."""
    cpu = replace(target.cpu, clock_hz=target.cpu.clock_hz * scale)
    return replace(target, cpu=cpu, launch_overhead_s=target.launch_overhead_s / scale)


def main() -> None:
    """Prints one table per target and model."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=["vta", "vta-ultra96"])
    parser.add_argument("--model", action="append", choices=[*FILES, *BUILT])
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.model or [*FILES, *BUILT]:
            graph = load_model(model_path(name, Path(folder))).graph
            for target_name in arguments.targets or ["vta", "vta-ultra96"]:
                target = load_target(target_name)
                start = process_time()
                evaluator = prepare(graph, target)
                _print(name, target, evaluator, process_time() - start)


def _print(name: str, target: Target, evaluator: Evaluator, prepared_s: float) -> None:
    print(
        f"\n{name} on {target.name}: {len(evaluator.choices)} groups, costs in {prepared_s:.1f} s"
    )
    print(f"{'CPU':>5} {'optimum':>10} {'gap':>6}", end="")
    print("".join(f" {column:>24}" for column in COLUMNS), f"{'search':>9} {'one plan':>9}")
    programs = ProgramCosts(target.units[0], {})  # measured once for all scales
    for scale in SCALES:
        chip = scaled(target, scale)
        costs = build_costs(evaluator.groups, chip, analytic_costs(chip.cpu), programs=programs)
        scaled_evaluator = Evaluator(evaluator.groups, costs)
        start = process_time()
        best = find_best(scaled_evaluator)
        searched_s = process_time() - start
        start = process_time()
        for _ in range(10):
            scaled_evaluator.latency_ps(best.optimum.placement)
        one_ms = (process_time() - start) * 100
        optimum = best.optimum.latency_ps / 1e9
        row = {key: item.latency_ps / 1e9 for key, item in best.baselines.items()}
        row["best_sequential"] = best.sequential.sequential_ps / 1e9
        print(f"{scale:>4}x {optimum:>7.2f} ms {best.optimum.gap:>6.2%}", end="")
        for column in COLUMNS:
            print(f" {row[column]:>12.2f} ms {row[column] / optimum - 1:>+8.2%}", end="")
        print(f" {searched_s:>7.2f} s {one_ms:>6.2f} ms")


if __name__ == "__main__":
    main()
