"""What several layers as one program save, network by network.

    python benchmarks/merging.py [FOLDER...] [--target vta]

For folders with ``model.onnx`` and ``calib.npz`` (else the digits example): the untuned default on
one core, each integer segment as one launch per layer and as one program. Printed are the NPU's
cycles of both, without and with a choice of how each layer begins, their ratio, the latency as
compiled and what is left of it without the launches and cycles saved (a bound where the CPU
works beside the NPU), and the CPU seconds of the merge.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

import nest_tune
from compiler_core.compile.sources import (
    load_model,
    quantize_model,
    read_samples,
)
from compiler_core.compile.unit_layers import model_layers
from compiler_core.memory.plan import ALIGNMENT, align
from compiler_core.quantize.ir import QuantizedGraph
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target
from compiler_core.units.vta.link.linker import (
    ConstantPool,
    link_segment,
    place_activations,
    plan_activations,
)
from compiler_core.units.vta.link.merged_layers import merge_segment
from compiler_core.units.vta.machine.hardware import VtaCore
from compiler_core.units.vta.merge.merge import Entry
from compiler_core.units.vta.schedule.schedule import Schedule
from compiler_core.units.vta.simulate.timing import time_program
from compiler_core.units.vta.verify import first_error, verify

DIGITS = Path(__file__).resolve().parent.parent / "examples" / "digits"


def merged_cycles(
    quantized: QuantizedGraph, schedules: Mapping[str, Schedule], target: Target
) -> tuple[int, int, int, int, int]:
    """Launches and segments, and cycles of launches, of programs as they come, and as chosen."""
    launches = segments = apart = plain = chosen = 0
    core: VtaCore = target.npu
    geometry = core.geometry
    for part in model_layers(quantized, target):
        plan = plan_activations(part, schedules, geometry)
        layout = place_activations(part, plan, schedules, geometry)
        pools = [ConstantPool(ALIGNMENT + align(plan.size)) for _ in range(3)]
        linked = link_segment(part, schedules, layout, pools[0], geometry)
        entries = [Entry()] * len(part.layers)
        first = merge_segment(part, schedules, layout, pools[1], core, entries)
        best = merge_segment(part, schedules, layout, pools[2], core)
        dram = np.zeros(pools[2].end, np.uint8)
        pools[2].write(dram)
        error = first_error(verify(best.instructions, geometry, dram))
        assert error is None, str(error)
        launches, segments = launches + len(linked), segments + 1
        apart += sum(
            time_program(launch.instructions, core.timing, geometry).cycles for launch in linked
        )
        plain += first.cycles
        chosen += best.cycles
    return launches, segments, apart, plain, chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--target", default="vta")
    options = parser.parse_args()
    target = load_target(options.target)
    core: VtaCore = target.npu
    print(f"one program per segment on {target.name}; latency if nothing overlaps launches")
    print(
        f"{'network':<22}{'launches':>9}{'segments':>9}{'cycles':>12}{'joined':>12}{'chosen':>12}"
        f"{'ratio':>8}{'ms':>9}{'merged':>9}{'CPU s':>7}"
    )
    for folder in options.folders or [DIGITS]:
        with tempfile.TemporaryDirectory() as output:
            done = nest_tune.compile(
                folder / "model.onnx",
                target,
                Path(output) / "package",
                calibration=folder / "calib.npz",
            )
        model = load_model(folder / "model.onnx")
        samples = read_samples(folder / "calib.npz", model.graph)
        source = quantize_model(
            model, done.configuration, samples, arithmetic=target_arithmetic(target)
        )
        start = time.process_time()
        found = merged_cycles(source.quantized, done.configuration.schedules, target)
        spent = time.process_time() - start
        launches, segments, apart, plain, chosen = found
        saved = (apart - chosen) / core.clock_hz + (launches - segments) * target.launch_overhead_s
        latency = done.metrics.latency_ms
        print(
            f"{folder.name:<22}{launches:>9}{segments:>9}{apart:>12,}{plain:>12,}{chosen:>12,}"
            f"{chosen / apart:>8.3f}{latency:>9.3f}{latency - saved * 1e3:>9.3f}{spent:>7.1f}"
        )


if __name__ == "__main__":
    main()
