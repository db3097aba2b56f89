"""Program orders of MobileNet's depthwise layers that stay on chip, against tiles and the bound.

Width 0.25, target ``vta``. For each layer: its lower bound, the untuned schedule, and the best of
so many annealed programs, from several seeds.
"""

from __future__ import annotations

import argparse
import time

from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.legality.bound import lower_bound
from compiler_core.units.vta.legality.default_schedule import default_schedule
from compiler_core.units.vta.legality.legality_resident import residency_violations
from compiler_core.units.vta.lower.layer import measure_layer
from nest_tune.tuning.vta.anneal import anneal_programs

LAYERS = (
    (8, 112, 1),
    (16, 112, 2),
    (32, 56, 1),
    (32, 56, 2),
    (64, 28, 1),
    (64, 28, 2),
    (128, 14, 1),
    (128, 14, 2),
    (256, 7, 1),
)
"""Channels, size and stride."""


def main() -> None:
    """All layers."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--programs", type=int, default=20000, help="per layer and seed")
    parser.add_argument("--seeds", type=int, default=1)
    arguments = parser.parse_args()
    core = load_target("vta").npu
    for channels, size, stride in LAYERS:
        pads = (1, 1, 1, 1) if stride == 1 else (0, 0, 1, 1)
        window, epilogue = Window((3, 3), (stride, stride), pads), Epilogue(17, True, True, True)
        layer = ConvWorkload(1, channels, size, size, channels, window, channels, epilogue)
        name = f"{channels} channels, {size}x{size}, stride {stride}"
        bound = lower_bound(layer, core).cycles
        untuned = measure_layer(layer, default_schedule(layer, core), core).cycles
        shown = f"{name}: bound {bound:,}, untuned {untuned:,} ({untuned / bound:.3f})"
        reasons = residency_violations(layer, core.geometry)
        if reasons:
            print(f"{shown}; does not stay on chip: {reasons[0]}")
            continue
        began = time.process_time()
        found = [
            anneal_programs(layer, core, programs=arguments.programs, seed=seed).cycles
            for seed in range(arguments.seeds)
        ]
        spent = (time.process_time() - began) / arguments.seeds
        ratios = ", ".join(f"{cycles:,} ({cycles / bound:.4f})" for cycles in found)
        print(f"{shown}; annealed {ratios}; {spent:.0f} s of CPU each", flush=True)


if __name__ == "__main__":
    main()
