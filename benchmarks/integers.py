"""Which share of the latency quantizing, dequantizing and the CPU's loops on integers take.

Run as ``python benchmarks/integers.py FOLDER [--target vta] [--steps N] [NAME …]``, with
``<name>.onnx`` and ``<name>.npz`` in the folder (``benchmarks/networks/torch_exports.py`` writes
such files). Weights are quantized per channel, nothing is searched: what is told is the default
placement.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import nest_tune
from compiler_core.configuration.configuration import Configuration, Scheme
from compiler_core.executable.report import CONVERSIONS
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.sums import float_sum

CHANNEL = Configuration(scheme=Scheme.of({}, QuantizationScheme(granularity=Granularity.CHANNEL)))


def main() -> int:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--target", default="vta")
    parser.add_argument("--steps", type=int, default=0, help="longest steps to print")
    given = parser.parse_args()
    names = given.names or sorted(path.stem for path in given.folder.glob("*.onnx"))
    for name in names:
        steps = report(given.folder, name, given.target)
        print(line(name, steps), flush=True)
        for step in sorted(steps, key=lambda step: -step["latency_ms"])[: given.steps]:
            print(f"  {step['latency_ms']:.4f} {step['unit']} {step['operator']} {step['name']}")
    return 0


def report(folder: Path, name: str, target: str) -> list[dict[str, Any]]:
    """The steps of a compiled model."""
    data = folder / f"{name}.npz"
    with tempfile.TemporaryDirectory() as work:
        package = Path(work, "package")
        nest_tune.compile(
            folder / f"{name}.onnx", target, package, config=CHANNEL, calibration=data
        )
        found: list[dict[str, Any]] = json.loads((package / "report.json").read_text())["layers"]
    return found


def line(name: str, steps: list[dict[str, Any]]) -> str:
    """Latency and shares of one model."""
    end = max(step["end_ms"] for step in steps)
    shares = [
        float_sum(step["latency_ms"] for step in steps if chosen(step)) / end
        for chosen in (is_conversion, is_on_integers)
    ]
    return (
        f"{name:16} {end:8.3f} ms  conversions {shares[0]:6.1%}  integers {shares[1]:6.1%}  "
        f"together {shares[0] + shares[1]:6.1%}"
    )


def is_conversion(step: dict[str, Any]) -> bool:
    """Whether a step is one at a border."""
    return step["operator"] in CONVERSIONS


def is_on_integers(step: dict[str, Any]) -> bool:
    """Whether a step is a loop of the CPU on integers."""
    return bool(step["unit"] == "cpu" and step["operator"].startswith("int8 "))


if __name__ == "__main__":
    sys.exit(main())
