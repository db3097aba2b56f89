"""Layers measured on a Pynq-Z1 board, beside what the target ``vta-pynq`` takes for them.

Five ResNet-18 convolutions, one averaged time each, from a public log of tuned schedules of 2019
(VTA 1x16x16 at 100 MHz, 64-bit AXI port). The schedules are those of the log, as far as they are
the same decisions: outputs in the same tiles, one block of input channels per step, two slots for
each operand. The programs differ: the board's multiply padded taps and load inputs row by row.

Run: ``python benchmarks/pynq.py`` prints measured and simulated milliseconds and their ratio;
``--fit`` searches the numbers of the port again, in three ways, each layer left out in turn;
``--tilings`` sets other tilings beside the law of the board's programs (:func:`law_ms`).
"""

from __future__ import annotations

import argparse
import itertools
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from compiler_core.targets.load import load_target
from compiler_core.tensor.workload import ConvWorkload, Epilogue, Window
from compiler_core.units.vta.lower.layer import lower_layer
from compiler_core.units.vta.machine.hardware import VtaCore, VtaTiming
from compiler_core.units.vta.schedule.schedule import BiasVariant, ConvSchedule, LoopOrder
from compiler_core.units.vta.simulate.timing import time_program

_WAYS = {
    "latency alone": ((256,), (16,), range(0, 401, 8)),
    "latency, bursts under way": ((256,), (1, 2, 3, 4), range(0, 301, 4)),
    "latency, bursts under way, their length": ((16, 32, 64, 128), (1, 2, 3, 4), range(0, 201, 2)),
}


@dataclass(frozen=True)
class BoardLayer:
    """A convolution as it was measured.

    Attributes:
        channels, size, outputs, kernel, stride: Of the convolution; the image is square.
        tile: Rows, columns and blocks of 16 channels of an output tile.
        board_ms: On the board.
    """

    channels: int
    size: int
    outputs: int
    kernel: int
    stride: int
    tile: tuple[int, int, int]
    board_ms: float

    @property
    def name(self) -> str:
        """In one line."""
        where = f"{self.channels}x{self.size}x{self.size} to {self.outputs}"
        return f"{where}, {self.kernel}x{self.kernel} stride {self.stride}"

    @property
    def workload(self) -> ConvWorkload:
        """As the compiler sees it: bias, shift and both clips."""
        pad, size, kernel, stride = self.kernel // 2, self.size, self.kernel, self.stride
        window = Window((kernel, kernel), (stride, stride), (pad, pad, pad, pad))
        epilogue = Epilogue(17, shift=True, clip_low=True, clip_high=True)
        return ConvWorkload(1, self.channels, size, size, self.outputs, window, 1, epilogue)

    @property
    def schedule(self) -> ConvSchedule:
        """The decisions of the log."""
        return ConvSchedule(
            *self.tile,
            tile_in_blocks=1,
            order=LoopOrder.INPUT_STATIONARY,
            input_slots=2,
            weight_slots=2,
            output_slots=2,
            bias=BiasVariant.ALU,
        )


LAYERS = (
    BoardLayer(64, 56, 64, 3, 1, (8, 56, 2), 5.699),
    BoardLayer(64, 56, 128, 1, 2, (7, 28, 4), 1.349),
    BoardLayer(128, 28, 128, 3, 1, (14, 28, 2), 5.183),
    BoardLayer(256, 14, 512, 3, 2, (7, 7, 16), 3.994),
    BoardLayer(256, 14, 512, 1, 2, (7, 7, 16), 1.081),
)


def simulated_ms(layers: Iterable[BoardLayer], core: VtaCore) -> list[float]:
    """What each layer takes on a core."""
    found = []
    for layer in layers:
        program = lower_layer(layer.workload, layer.schedule, core.geometry)
        timing = time_program(program.lowered.instructions, core.timing, core.geometry)
        found.append(timing.cycles / core.clock_hz * 1e3)
    return found


def ratios(layers: Sequence[BoardLayer], core: VtaCore) -> list[float]:
    """Simulated over measured time, by layer."""
    times = simulated_ms(layers, core)
    return [time / layer.board_ms for time, layer in zip(times, layers, strict=True)]


def law_ms(layer: BoardLayer, core: VtaCore) -> float:
    """What the board takes for the log's own program of a layer, fitted there within 2 %.

    Inputs are loaded row by row at 0.46 of the port and 52 cycles a row, for each block of input
    channels; padded taps are multiplied, a vector of outputs takes 9 cycles more. The larger
    counts.
    """
    (high, wide, blocks), size = layer.tile, layer.size // layer.stride
    tiles = -(-size // high) * -(-size // wide) * -(-layer.outputs // 16 // blocks)
    steps, taps = tiles * layer.channels // 16, layer.kernel**2
    rows, columns = (
        min((extent - 1) * layer.stride + layer.kernel, layer.size) for extent in (high, wide)
    )
    moved = 16 * rows * columns + 256 * blocks * taps
    load = steps * (moved / (8 * 0.46) + 52 * (rows + blocks))
    compute = high * wide * blocks * (steps * taps + tiles * 9)
    return max(load, compute) / core.clock_hz * 1e3


_SHAPES = (
    (64, 56, 64, 3, 1),
    (64, 56, 128, 3, 2),
    (128, 28, 128, 3, 1),
    (128, 28, 256, 3, 2),
    (128, 28, 256, 1, 2),
    (256, 14, 256, 3, 1),
    (512, 7, 512, 3, 1),
)


def _tilings() -> Iterator[BoardLayer]:
    """Tilings in two slots of each operand that fit the buffers."""
    for shape in _SHAPES:
        _, size, outputs, kernel, stride = shape
        extents = [extent for extent in (4, 7, 8, 14, 28, 56) if size // stride % extent == 0]
        for high, wide, blocks in itertools.product(extents, extents, (2, 4, 8, 16)):
            rows, columns = ((extent - 1) * stride + kernel for extent in (high, wide))
            fits = blocks <= outputs // 16 and 2 * high * wide * blocks <= 2048
            fits = fits and 2 * blocks * kernel**2 <= 1024 and 2 * rows * columns <= 2048
            if fits and high <= 28 and 2 * wide >= size // stride:
                yield BoardLayer(*shape, (high, wide, blocks), 0.0)


def _beside_the_law(core: VtaCore) -> None:
    layers = list(_tilings())
    errors = []
    for layer, time in zip(layers, simulated_ms(layers, core), strict=True):
        law = law_ms(layer, core)
        errors.append(time / law - 1)
        print(f"{layer.name:36} {layer.tile!s:12} {law:9.3f} {time:9.3f} {time / law:6.3f}")
    size = [abs(error) for error in errors]
    print(
        f"{len(size)} tilings: mean error {np.mean(size):.1%}, "
        f"{np.mean([error <= 0.1 for error in size]):.0%} within 10 %, "
        f"from {min(errors):+.1%} to {max(errors):+.1%}"
    )


def _fit(core: VtaCore) -> None:
    for way, (lengths, under_way, latencies) in _WAYS.items():
        tried: list[tuple[VtaTiming, list[float]]] = []
        for beats in lengths:
            for count in under_way:
                for latency in latencies:
                    timing = replace(
                        core.timing,
                        burst_beats=beats,
                        burst_boundary_bytes=beats * core.timing.port_bytes,
                        outstanding_bursts=count,
                        memory_latency_cycles=latency,
                    )
                    tried.append((timing, ratios(LAYERS, replace(core, timing=timing))))
        timing, found = min(tried, key=lambda item: max(abs(r - 1) for r in item[1]))
        print(
            f"{way}: {timing.burst_beats} beats, {timing.outstanding_bursts} under way, "
            f"latency {timing.memory_latency_cycles}: "
            + " ".join(f"{ratio:.3f}" for ratio in found)
        )
        without = []
        for left in range(len(LAYERS)):
            best = min(
                tried, key=lambda t: max(abs(r - 1) for i, r in enumerate(t[1]) if i != left)
            )
            without.append(best[1][left])
        print("  each predicted by the others: " + " ".join(f"{ratio:.3f}" for ratio in without))


def main() -> None:
    """Prints the table, or fits."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--tilings", action="store_true")
    arguments, core = parser.parse_args(), load_target("vta-pynq").npu
    if arguments.fit:
        _fit(core)
        return
    if arguments.tilings:
        _beside_the_law(core)
        return
    print(f"{'layer':36} {'board ms':>9} {'simulated':>9} {'ratio':>6}")
    for layer, time in zip(LAYERS, simulated_ms(LAYERS, core), strict=True):
        ratio = time / layer.board_ms
        print(f"{layer.name:36} {layer.board_ms:9.3f} {time:9.3f} {ratio:6.3f}")


if __name__ == "__main__":
    main()
