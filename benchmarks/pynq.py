"""Layers measured on a Pynq-Z1 board, beside what the target ``vta-pynq`` takes for them.

Five ResNet-18 convolutions, one averaged time each, from a public log of tuned schedules of 2019
(VTA 1x16x16 at 100 MHz, 64-bit AXI port). The schedules are those of the log, as far as they are
the same decisions: outputs in the same tiles, one block of input channels per step, two slots for
each operand. The programs differ: the board's multiply padded taps and load inputs row by row.

Run: ``python benchmarks/pynq.py`` prints measured and simulated milliseconds and their ratio;
``--fit`` searches the numbers of the port again, in three ways, each layer left out in turn.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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
    core = load_target("vta-pynq").npu
    if parser.parse_args().fit:
        _fit(core)
        return
    print(f"{'layer':36} {'board ms':>9} {'simulated':>9} {'ratio':>6}")
    for layer, time in zip(LAYERS, simulated_ms(LAYERS, core), strict=True):
        ratio = time / layer.board_ms
        print(f"{layer.name:36} {layer.board_ms:9.3f} {time:9.3f} {ratio:6.3f}")


if __name__ == "__main__":
    main()
