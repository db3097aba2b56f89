"""Instructions of generated kernels on Cortex-M4 and M55, layer by layer, beside CMSIS-NN's.

The reference counts are those of CMSIS-NN (commit 99f736a, -O3, double rounding) for the same
layers, taken the same way: one call under QEMU, every executed instruction counts one. They are not
cycles. Needs the packages that ``docs/howto/microcontroller.md`` names; runs for about a minute.
"""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from compiler_core.units.cpu.c.arithmetic.pointwise import Addend
from compiler_core.units.cpu.c.arithmetic.weighted import Sliding, WeightedRequantization
from compiler_core.units.cpu.c.bundles.bundle import scheduled_bundle, write_bundle
from compiler_core.units.cpu.c.bundles.cores import CORES, count, missing
from compiler_core.units.cpu.c.network import Network, Operator, Type, Value
from compiler_core.units.cpu.c.operators.pointwise import Output, Sum
from compiler_core.units.cpu.c.operators.weighted import Convolution, Dense
from compiler_core.units.cpu.c.schedules.schedule import choices

REFERENCE = Path(__file__).with_name("cmsis_nn_instructions.csv")
COLUMNS = {"cortex-m4": "instructions_m4", "cortex-m55": "instructions_m55"}
FACTOR, SHIFT = 1 << 30, -8


def pair(text: str) -> tuple[int, int]:
    """``3x3`` as two numbers."""
    first, _, second = text.partition("x")
    return int(first), int(second)


def layer(name: str, row: dict[str, str]) -> tuple[Operator, list[tuple[int, ...]]] | None:
    """An operator with random weights, and the shapes of its inputs and its output."""
    random = np.random.default_rng(0)
    words = row["shape"].split()
    kind = row["operator"]

    def scaling(outputs: int) -> WeightedRequantization:
        factors = np.full(outputs, FACTOR), np.full(outputs, SHIFT)
        return WeightedRequantization(factors[0], factors[1], 3, -128, 127)

    def weights(*shape: int) -> Any:
        return random.integers(-127, 128, shape).astype(np.int8)

    if kind == "add_s8":
        shape = (1, int(words[0]))
        addend = Addend(5, FACTOR, 0)
        known = Output(FACTOR, -18, 1, -128, 127)
        names = (f"{name}a", f"{name}b")
        return Sum(name, names, f"{name}y", (addend, addend), known), [shape] * 3
    if kind == "fc_s8":
        depth, outputs = map(int, words[0].split("-"))
        dense = Dense(
            name,
            (f"{name}a",),
            f"{name}y",
            weights(outputs, depth),
            np.zeros(outputs, np.int64),
            5,
            scaling(outputs),
        )
        return dense, [(1, depth), (1, outputs)]
    if kind not in ("conv_s8", "dw_s8"):
        return None
    kernel = pair(words[0])
    stride = int(words[-1]) if words[-2] == "stride" else 1
    depthwise = kind == "dw_s8"
    if depthwise and words[2].startswith("x"):
        return None  # a channel multiplier
    image = words[2]
    channels, outputs = (
        (int(words[1]), int(words[1])) if depthwise else map(int, words[1].split("-"))
    )
    size = pair(image)
    output = tuple(-(-n // stride) for n in size)
    pads = tuple(
        max(0, (o - 1) * stride + k - n) // 2 for o, k, n in zip(output, kernel, size, strict=True)
    )
    found = Convolution(
        name,
        (f"{name}a",),
        f"{name}y",
        weights(outputs, *kernel, 1 if depthwise else channels),
        np.zeros(outputs, np.int64),
        Sliding(kernel, (stride, stride), (1, 1), (pads[0], pads[1]), (output[0], output[1])),
        channels if depthwise else 1,
        5,
        scaling(outputs),
    )
    return found, [(1, *size, channels), (1, *output, outputs)]


def network(rows: list[dict[str, str]]) -> tuple[Network, list[dict[str, str]]]:
    """All layers side by side, and the rows that they are of."""
    values: dict[str, Value] = {}
    operators, kept = [], []
    for number, row in enumerate(rows):
        made = layer(f"l{number}", row)
        if made is None:
            continue
        operator, shapes = made
        kept.append(row)
        operators.append(operator)
        for name, shape in zip((*operator.inputs, operator.output), shapes, strict=True):
            values[name] = Value(name, name, shape, Type("int8", 0.1, 3))
    inputs = tuple(name for item in operators for name in item.inputs)
    outputs = tuple(item.output for item in operators)
    axes = {name: tuple(range(len(value.shape))) for name, value in values.items()}
    ports = inputs, outputs, inputs + outputs
    return Network("layers", values, *ports, axes, tuple(operators)), kept


def main() -> None:
    """Prints a table."""
    with REFERENCE.open() as stream:
        layers, rows = network(list(csv.DictReader(stream)))
    counts: dict[str, list[float]] = {}
    for name in COLUMNS:
        lacking = missing(CORES[name])
        if lacking:
            print(f"{lacking[0]} is not installed; apt-get install {CORES[name].package}")
            return
        schedules = {item.output: choices(item, name)[0] for item in layers.operators}
        bundle = scheduled_bundle(layers, "layers", schedules)
        zeros = {port: np.zeros(layers.values[port].shape, np.int8) for port in layers.inputs}
        with tempfile.TemporaryDirectory() as folder:
            write_bundle(bundle, Path(folder), [zeros])
            program = Path(folder) / "program"
            counts[name] = list(count(CORES[name], Path(folder), program, len(rows)))
    print(f"{'layer':40}" + "".join(f"{name:>14}{'ratio':>7}" for name in COLUMNS))
    worst = dict.fromkeys(COLUMNS, 0.0)
    for number, row in enumerate(rows):
        line = f"{row['operator']} {row['shape']:30}".ljust(40)
        for name, column in COLUMNS.items():
            ratio = counts[name][number] / float(row[column])
            worst[name] = max(worst[name], ratio)
            line += f"{counts[name][number]:14,.0f}{ratio:7.2f}"
        print(line)
    print("worst".ljust(40) + "".join(f"{'':14}{ratio:7.2f}" for ratio in worst.values()))


if __name__ == "__main__":
    main()
