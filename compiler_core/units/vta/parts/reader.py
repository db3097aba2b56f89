"""A segment of the NPU in a package whose author is not trusted: every address and extent."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from compiler_core.errors import InputError
from compiler_core.files.counts import require_counts
from compiler_core.files.json_file import parse_json
from compiler_core.files.plain import from_plain
from compiler_core.units.facets.parts import SegmentEntry
from compiler_core.units.facets.programs import Units
from compiler_core.units.vta.link.launch import CoreProgram, VtaLaunch
from compiler_core.units.vta.link.npu_segment import NpuSegment
from compiler_core.units.vta.link.placed_tensor import PlacedTensor
from compiler_core.units.vta.machine.hardware import VtaGeometry
from compiler_core.units.vta.machine.isa import Opcode, decode
from compiler_core.units.vta.merge.run import MergedRun
from compiler_core.units.vta.parts.layout import (
    LAYOUT_SCHEMA,
    RUNS,
    RUNS_SCHEMA,
    Layout,
    LayoutLaunch,
    LayoutTensor,
    RunsFile,
    layout_name,
)
from compiler_core.units.vta.structure.conv_structure import BLOCK
from compiler_core.units.vta.structure.fold import fold_workload, foldable

EXTENT_MAX = 1 << 24
_DEPTH_MAX = 1 << 20
_LAUNCH_NAME = re.compile(r"launch-[0-9]{3,6}")


def read_npu_segment(entry: SegmentEntry, files: Mapping[str, bytes], where: str) -> NpuSegment:
    """A segment of the NPU.

    Args:
        entry: What the package says of it.
        files: By path in the segment's folder.
        where: The segment, as errors name it.

    Raises:
        InputError: A document does not fit the others, or something lies outside the memory.
        KeyError: A file is missing.
    """
    depth = entry.units.machine.geometry.depth
    if max(depth.uop, depth.inp, depth.wgt, depth.acc) > _DEPTH_MAX:
        raise InputError(
            f"{where}: buffers of {depth}; at most {_DEPTH_MAX} elements are simulated"
        )
    layout = from_plain(
        Layout, parse_json(files["layout.json"], LAYOUT_SCHEMA, where), f"{where}/layout.json"
    )
    require_counts(layout, f"{where}/layout.json")
    image = np.frombuffer(files["dram.bin"], np.uint8)
    end = layout.image_address + image.size
    if image.size != layout.image_bytes or not 0 <= layout.image_address <= end:
        raise InputError(f"{where}: dram.bin has {image.size} bytes, not {layout.image_bytes}")
    if end > entry.memory_bytes:
        raise InputError(f"{where}: dram.bin ends at {end}; DRAM has {entry.memory_bytes} bytes")
    tensors = {
        name: _placed(
            tensor,
            entry.memory_bytes,
            entry.units.machine.geometry,
            f"{where}: tensor {name!r}",
        )
        for name, tensor in layout.tensors.items()
    }
    for name in (*entry.inputs, *entry.outputs):
        if name not in tensors or entry.shapes.get(name) != tensors[name].shape:
            raise InputError(f"{where}: tensor {name!r} has no place of its shape in layout.json")
    runs = _runs(layout, files, where)
    launches: list[VtaLaunch] = []
    for launch in layout.launches:
        if not _LAUNCH_NAME.fullmatch(launch.name):
            raise InputError(
                f"{where}: launch name {launch.name!r}; launch-000, launch-001, … are needed"
            )
        part, of = runs.get(launch.name, (0, 1))
        programs = _programs(launch, entry.units, files, where, part)
        made = VtaLaunch(launch.name, launch.layer, launch.sources, launch.task, programs)
        if part:
            before = launches[-1]
            if before.run is None or before.cores != made.cores:
                raise InputError(f"{where}: {launch.name} runs on other cores than {before.name}")
            made = replace(made, run=before.run, part=part)
        elif of > 1:
            made = replace(made, run=_run(made, of, files, where))
        launches.append(made)
    return NpuSegment(
        entry.name,
        entry.operators,
        entry.inputs,
        entry.outputs,
        tensors,
        layout.image_address,
        image,
        tuple(launches),
    )


def _programs(
    launch: LayoutLaunch, units: Units, files: Mapping[str, bytes], where: str, part: int = 0
) -> tuple[CoreProgram, ...]:
    """The programs of a launch; one without instructions where it is a later ``part`` of a run."""
    cores = launch.cores
    if not cores or list(cores) != sorted(set(cores)) or not 0 <= cores[0] <= cores[-1]:
        raise InputError(
            f"{where}: {launch.name} runs on cores {cores}; different ones in rising order are "
            "needed"
        )
    if cores[-1] >= units.count:
        raise InputError(
            f"{where}: {launch.name} runs on core {cores[-1]}; {units.target!r} has {units.count}"
        )
    if part:
        return tuple(CoreProgram(core, np.zeros((0, 16), np.uint8)) for core in cores)
    programs = []
    for core in cores:
        code = files[f"{launch.name}/core-{core}/instructions.bin"]
        if not code or len(code) % 16:
            raise InputError(
                f"{where}: {launch.name}/core-{core} has {len(code)} bytes; 16 per instruction"
            )
        programs.append(CoreProgram(core, np.frombuffer(code, np.uint8).reshape(-1, 16)))
    return tuple(programs)


def _runs(layout: Layout, files: Mapping[str, bytes], where: str) -> dict[str, tuple[int, int]]:
    """Which launch of how many of one program each is, by name."""
    if RUNS not in files:
        return {}
    document = parse_json(files[RUNS], RUNS_SCHEMA, where)
    runs = from_plain(RunsFile, document, f"{where}/{RUNS}").runs
    names = [launch.name for launch in layout.launches]
    found: dict[str, tuple[int, int]] = {}
    for run in runs:
        first = names.index(run[0]) if run and run[0] in names else len(names)
        if len(run) < 2 or names[first : first + len(run)] != list(run) or found.keys() & set(run):
            raise InputError(
                f"{where}/{RUNS}: run {list(run[:4])}; two or more launches that follow one "
                "another in layout.json, each once, are needed"
            )
        found |= {name: (part, len(run)) for part, name in enumerate(run)}
    return found


def _run(launch: VtaLaunch, count: int, files: Mapping[str, bytes], where: str) -> MergedRun:
    """The program of ``count`` layers, of which a launch is the first."""
    if len(launch.programs) != 1:
        raise InputError(f"{where}: {launch.name} runs on several cores and holds several layers")
    (program,) = launch.programs
    content = files[f"{launch.name}/core-{program.core}/layers.bin"]
    if len(content) != 4 * len(program.instructions):
        raise InputError(
            f"{where}: {launch.name}/layers.bin has {len(content)} bytes; 4 per instruction, "
            f"{4 * len(program.instructions)}, are needed"
        )
    layers = np.frombuffer(content, "<i4").astype(np.int32)
    stores = layers[decode(program.instructions)["opcode"] == Opcode.STORE]
    held = set(stores.tolist())
    in_order = (np.diff(stores) >= 0).all() and layers[-1] == count - 1
    if not in_order or not held == set(layers.tolist()) == set(range(count)):
        raise InputError(
            f"{where}: {launch.name}/layers.bin: each layer from 0 to {count - 1} with a "
            "STORE, one after another, the last one at the end, is needed"
        )
    return MergedRun(program.instructions, layers)


def _placed(
    tensor: LayoutTensor, dram_bytes: int, geometry: VtaGeometry, where: str
) -> PlacedTensor:
    batch, channels, height, width = tensor.shape
    if not all(1 <= size <= EXTENT_MAX for size in tensor.shape):
        raise InputError(f"{where}: shape {tensor.shape}; allowed are extents of 1 to {EXTENT_MAX}")
    fold = tensor.fold
    if fold is not None:
        work = fold.workload
        extents = (work.batch, work.in_channels, work.in_height, work.in_width)
        window = work.window
        numbers = (*window.kernel, *window.strides, *window.dilations)
        if extents != tensor.shape or not all(1 <= number <= 1024 for number in numbers):
            raise InputError(
                f"{where}: its fold is of another tensor: extents {extents}, and kernel, strides "
                f"and dilations {numbers}; {tensor.shape} and 1 to 1024 are needed"
            )
        if not all(0 <= pad <= 1024 for pad in window.pads) or not foldable(work):
            raise InputError(f"{where}: its convolution cannot be folded: {window} over {extents}")
        folded = fold_workload(work, fold.variant)
        channels, height, width = folded.in_channels, folded.in_height, folded.in_width
    lanes = geometry.lanes if fold is None else BLOCK
    if tensor.layout != layout_name(lanes):
        raise InputError(f"{where}: layout {tensor.layout!r}; {layout_name(lanes)!r} is needed")
    size = -(-channels // lanes) * lanes * height * width
    if min(height, width) < 1 or tensor.bytes != size or tensor.sample_stride_bytes < size:
        raise InputError(
            f"{where}: {tensor.bytes} bytes, {tensor.sample_stride_bytes} to the next sample; "
            f"its shape needs {size}"
        )
    end = tensor.address + (batch - 1) * tensor.sample_stride_bytes + size
    if tensor.address < 0 or end > dram_bytes:
        raise InputError(f"{where}: lies at {tensor.address} to {end}; DRAM has {dram_bytes} bytes")
    return PlacedTensor(
        tensor.shape, tensor.address, tensor.sample_stride_bytes, tensor.bytes, fold, lanes
    )
