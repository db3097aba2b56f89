"""How long whole networks take to compile, and what their untuned programs cost.

Run as ``python benchmarks/compilation.py [network ...]``; the networks are the topologies of the
end-to-end tests with seeded random weights, calibrated with two random images.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from networks.topologies import tests_module

from compiler_core.compile.compile import compile_model
from compiler_core.compile.sources import load_model, quantize_model
from compiler_core.configuration.configuration import Configuration
from compiler_core.package.writer import write_package
from compiler_core.targets.load import load_target

NETWORKS = ("resnet18", "resnet50", "resnext50", "googlenet")


def main() -> None:
    synthetic = tests_module("synthetic_models")
    topologies = tests_module("e2e/topologies")
    target = load_target("vta")
    x = np.random.default_rng(0).normal(size=(2, 3, 224, 224)).astype("f4")
    print("From file to verified package on target vta, one thread")
    for name in sys.argv[1:] or NETWORKS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.onnx"
            path.write_bytes(topologies.TOPOLOGIES[name](synthetic))
            wall, busy = time.perf_counter(), time.process_time()
            source = quantize_model(load_model(path), Configuration(), {"x": x})
            compiled = compile_model(source, target)
            write_package(compiled, Path(folder) / "package", {})
            wall, busy = time.perf_counter() - wall, time.process_time() - busy
        layers = [layer for layer in compiled.report.layers if layer.unit == "vta"]
        convolutions = [layer for layer in layers if layer.operator.endswith("conv2d")][1:]
        bound = sum(layer.bound_cycles for layer in layers)
        print(
            f"{name:10} {compiled.metrics.npu_cycles:11,} cycles, "
            f"{bound / compiled.metrics.npu_cycles:.1%} utilized; convolutions but the stem "
            f"{sum(layer.cycles for layer in convolutions):11,} cycles, "
            f"{sum(layer.macs for layer in layers) / 1e9:.2f} GMAC; "
            f"{wall:.1f} s, {busy:.1f} s of them on the CPU"
        )


if __name__ == "__main__":
    main()
