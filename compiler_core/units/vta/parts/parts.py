"""Segments of the VTA in packages: the facet :class:`~compiler_core.units.facets.parts.Parts`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from compiler_core.files.json_file import json_bytes
from compiler_core.files.plain import to_plain
from compiler_core.units.facets.parts import SegmentEntry
from compiler_core.units.vta.link.launch import VtaLaunch
from compiler_core.units.vta.link.npu_segment import NpuSegment
from compiler_core.units.vta.link.placed_tensor import PlacedTensor
from compiler_core.units.vta.machine.assembly import disassemble
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
from compiler_core.units.vta.parts.reader import read_npu_segment


class VtaParts:
    """See :class:`~compiler_core.units.facets.parts.Parts`."""

    def files(self, segment: NpuSegment) -> dict[str, bytes]:
        files = {
            "layout.json": json_bytes(LAYOUT_SCHEMA, to_plain(_layout(segment))),
            "dram.bin": segment.image.tobytes(),
        }
        runs: list[list[str]] = []
        for launch in segment.launches:
            if launch.run is not None:
                runs += [] if launch.part else [[]]
                runs[-1].append(launch.name)
            for program in launch.programs if launch.code else ():
                folder = f"{launch.name}/core-{program.core}"
                files[f"{folder}/instructions.bin"] = program.instructions.tobytes()
                if launch.run is not None:
                    files[f"{folder}/layers.bin"] = launch.run.layers.astype("<i4").tobytes()
        if runs:
            whole = RunsFile(tuple(map(tuple, runs)))
            files[RUNS] = json_bytes(RUNS_SCHEMA, to_plain(whole))
        return files

    def read(self, entry: SegmentEntry, files: Mapping[str, bytes], where: str) -> NpuSegment:
        return read_npu_segment(entry, files, where)

    def tensors(self, segment: NpuSegment) -> Iterator[str]:
        for name, placed in sorted(segment.layout.items()):
            yield f"tensor {name}: {_place(placed)}"

    def commands(self, segment: NpuSegment, launch: VtaLaunch) -> Iterator[str]:
        title = f"# {segment.name} {launch.name} {launch.layer} ({launch.task})"
        if launch.run is not None:
            yield from _commands_of_layer(title, launch, launch.run)
            return
        for program in launch.programs:
            several = len(launch.programs) > 1 or program.core
            yield f"{title} core {program.core}" if several else title
            yield disassemble(program.instructions)


PARTS = VtaParts()


def _commands_of_layer(title: str, launch: VtaLaunch, run: MergedRun) -> Iterator[str]:
    """Its layer's instructions, which stand among those of its neighbours, with their numbers."""
    (core,) = launch.cores
    yield f"{title} core {core}" if core else title
    yield f"# layer {launch.part + 1} of {len(run)} of one program"
    mine = run.layers == launch.part
    lines = disassemble(run.instructions[mine]).splitlines()
    yield from (f"{line}  # at {n}" for line, n in zip(lines, np.flatnonzero(mine), strict=True))


def _layout(segment: NpuSegment) -> Layout:
    return Layout(
        segment.image_address,
        len(segment.image),
        {
            name: LayoutTensor(
                placed.address,
                placed.size_bytes,
                placed.sample_bytes,
                placed.shape,
                "int8",
                layout_name(placed.lanes),
                placed.fold,
            )
            for name, placed in sorted(segment.layout.items())
        },
        tuple(
            LayoutLaunch(launch.name, launch.layer, launch.sources, launch.task, launch.cores)
            for launch in segment.launches
        ),
    )


def _place(placed: PlacedTensor) -> str:
    text = f"int8[{','.join(map(str, placed.shape))}] at {placed.address:#x}"
    text += f", {placed.size_bytes} bytes"
    if placed.sample_bytes != placed.size_bytes:
        text += f", {placed.sample_bytes} to the next sample"
    return text if placed.fold is None else f"{text}, folded by {placed.fold.variant.value}"
