"""What several layers as one program save, network by network, by what a launch costs.

    python benchmarks/merging.py [FOLDER...] [--target vta]

For folders with ``model.onnx`` and ``calib.npz`` (else the digits example), the untuned default
with a launch per operator and with layers that follow one another as one program. Printed are
launches and NPU cycles of both, and the latency of both where a launch costs the CPU half, once
and twice what the target assumes; at last the CPU seconds of both compiles after quantizing.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compiler_core.compile.compile import CompiledModel, compile_model
from compiler_core.compile.sources import QuantizedModel, load_model, quantize_model, read_samples
from compiler_core.configuration.configuration import Configuration
from compiler_core.configuration.launches import LaunchSettings
from compiler_core.targets.integer_units import target_arithmetic
from compiler_core.targets.load import load_target
from compiler_core.targets.target import Target

DIGITS = Path(__file__).resolve().parent.parent / "examples" / "digits"
FACTORS = (0.5, 1.0, 2.0)
"""Of what a launch costs."""


def compiled(source: QuantizedModel, target: Target, *, merge: bool) -> CompiledModel:
    """A model with layers apart or joined, found anew."""
    configuration = replace(source.configuration, launches=LaunchSettings(merge=merge))
    return compile_model(replace(source, configuration=configuration), target)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path)
    parser.add_argument("--target", default="vta")
    options = parser.parse_args()
    target = load_target(options.target)
    cost = target.launch_overhead_s
    print(f"{target.name}: a launch per operator -> layers as one program; ms by the launch's cost")
    titles = "".join(f"{f'{cost * factor * 1e6:.1f} us':>18}" for factor in FACTORS)
    print(f"{'network':<24}{'launches':>10}{'NPU cycles':>26}{'':>8}{titles}{'CPU s':>14}")
    for folder in options.folders or [DIGITS]:
        model = load_model(folder / "model.onnx")
        samples = read_samples(folder / "calib.npz", model.graph)
        known = target_arithmetic(target)
        source = quantize_model(model, Configuration(), samples, arithmetic=known)
        spent, texts = [], []
        apart = joined = None
        for factor in FACTORS:
            own = replace(target, launch_overhead_s=cost * factor)
            times = []
            for merge in (False, True):
                start = time.process_time()
                found = compiled(source, own, merge=merge)
                times.append(found.metrics.latency_ms)
                if len(spent) < 2:  # later ones know how layers begin
                    spent.append(time.process_time() - start)
                if factor == 1.0:
                    apart, joined = (apart, found) if merge else (found, joined)
            texts.append(f"{times[0]:.3f} -> {times[1]:.3f}")
        assert apart is not None
        assert joined is not None
        one, other = apart.metrics, joined.metrics
        print(
            f"{folder.name:<24}{f'{one.launches} -> {other.launches}':>10}"
            f"{f'{one.npu_cycles:,} -> {other.npu_cycles:,}':>26}"
            f"{other.npu_cycles / one.npu_cycles - 1:>+8.1%}"
            + "".join(f"{text:>18}" for text in texts)
            + f"{f'{spent[0]:.1f} -> {spent[1]:.1f}':>14}",
            flush=True,
        )


if __name__ == "__main__":
    main()
