"""The handler of GridSample."""

from __future__ import annotations

from math import prod

from compiler_core.graph.ir import Node
from compiler_core.units.cpu.c.convert.builder import PlacedValue, Refusal
from compiler_core.units.cpu.c.convert.shapes import no_clamp
from compiler_core.units.cpu.c.convert.sources import TensorReader
from compiler_core.units.cpu.c.network import FLOAT
from compiler_core.units.cpu.c.operators.sampling import PADDINGS, GridSample

_TAPS = {"nearest": 1, "linear": 2, "bilinear": 2, "cubic": 4, "bicubic": 4}


def grid_sample(sources: TensorReader, node: Node) -> None:
    """GridSample of images and volumes."""
    no_clamp(node)
    builder = sources.builder
    shape, grid = (builder.shape(name) for name in node.inputs)
    mode, padding = node.text("mode", "linear"), node.text("padding_mode", "zeros")
    rank = len(shape)
    if rank not in (4, 5) or mode not in _TAPS or padding not in PADDINGS:
        raise Refusal(f"mode {mode!r} with padding {padding!r} of {rank} axes has no kernel")
    last = (0, *range(2, rank), 1)
    x = sources.real(node.inputs[0], last).value
    points = sources.real(node.inputs[1], tuple(range(len(grid)))).value
    extents = (1, *shape[2:]) if rank == 4 else shape[2:]
    sizes = (shape[0], extents[0], extents[1], extents[2], shape[1])
    result = builder.shape(node.output)
    found = builder.value(node.output, tuple(result[axis] for axis in last), FLOAT)
    names = (x.name, points.name), found.name
    count, align = prod(grid[1:-1]), bool(node.attributes.get("align_corners", 0))
    counts = count, rank - 2, _TAPS[mode]
    builder.add(GridSample(node.name, *names, sizes, *counts, padding, align))
    builder.places.setdefault(node.output, []).append(PlacedValue(found, last))
