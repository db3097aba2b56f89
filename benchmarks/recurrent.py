"""What it is worth to multiply the inputs of recurrent cells for all steps at once.

    python benchmarks/recurrent.py [--target vta] [--steps 24]

Recognizers of two bidirectional layers, by width of the state: latency, NPU's share of the
multiplications and quality of the default compile with the cells whole, on the CPU, and with what
multiplies their inputs on the NPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import tempfile

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import nest_tune
from compiler_core.graph.recurrence import GATES

WIDTHS = (32, 64, 128, 256)


def recognizer(
    operator: str, *, steps: int, inputs: int, size: int, layers: int = 2
) -> onnx.ModelProto:
    """Bidirectional layers over a sequence of features, and scores of 40 signs per step.

    Args:
        operator: LSTM, GRU or RNN.
        steps: Of the sequence.
        inputs: Features of a step.
        size: Of the state of a direction.
        layers: One behind the other.
    """
    random = np.random.default_rng(0)
    weights: list[onnx.TensorProto] = []

    def constant(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> str:
        weights.append(numpy_helper.from_array(array, f"w{len(weights)}"))
        return weights[-1].name

    def weight(*shape: int) -> str:
        scale = shape[-1] ** -0.5
        return constant(random.uniform(-scale, scale, shape).astype(np.float32))

    nodes, x, width = [], "x", inputs
    for number in range(layers):
        rows = GATES[operator] * size
        given = [x, weight(2, rows, width), weight(2, rows, size), weight(2, 2 * rows)]
        made = f"h{number}"
        nodes.append(
            helper.make_node(operator, given, [made], hidden_size=size, direction="bidirectional")
        )
        nodes.append(helper.make_node("Transpose", [made], [f"t{number}"], perm=[0, 2, 1, 3]))
        flat = constant(np.array([steps, 1, 2 * size], np.int64))
        nodes.append(helper.make_node("Reshape", [f"t{number}", flat], [f"f{number}"]))
        x, width = f"f{number}", 2 * size
    nodes.append(helper.make_node("MatMul", [x, weight(width, 40)], ["y"]))
    ports: Sequence[onnx.ValueInfoProto] = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [steps, 1, wide])
        for name, wide in (("x", inputs), ("y", 40))
    ]
    graph = helper.make_graph(nodes, "recognizer", ports[:1], ports[1:], weights)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", default="vta")
    parser.add_argument("--steps", type=int, default=24)
    options = parser.parse_args()
    print(f"{options.target}, {options.steps} steps, inputs twice as wide as the state")
    titles = (("whole", 12), ("projected", 12), ("ratio", 8), ("on the NPU", 12), ("SQNR", 10))
    print(f"{'cell':>6}{'state':>7}" + "".join(f"{title:>{width}}" for title, width in titles))
    for operator in ("LSTM", "GRU"):
        for size in WIDTHS:
            with tempfile.TemporaryDirectory() as folder:
                print(_row(Path(folder), operator, size, options.target, options.steps), flush=True)


def _row(folder: Path, operator: str, size: int, target: str, steps: int) -> str:
    path = folder / "model.onnx"
    onnx.save(recognizer(operator, steps=steps, inputs=2 * size, size=size), path)
    random = np.random.default_rng(1)
    data = {"x": random.standard_normal((8, steps, 1, 2 * size)).astype(np.float32)}
    # A profile of the model as it was imported is compiled as it is.
    nest_tune.profile_activations(path, data, output=folder / "profile.npz")
    whole = nest_tune.compile(path, target, folder / "whole", profile=folder / "profile.npz")
    apart = nest_tune.compile(path, target, folder / "apart", calibration=data)
    before, after = whole.metrics.latency_ms, apart.metrics.latency_ms
    quality = apart.configuration.scheme.quality
    noise = "" if quality is None else f"{quality.sqnr_db:.1f} dB"
    return (
        f"{operator:>6}{size:>7}{before:>9.3f} ms{after:>9.3f} ms{after / before:>8.3f}"
        f"{apart.macs_share_npu:>12.1%}{noise:>10}"
    )


if __name__ == "__main__":
    main()
