"""A bundle around an NPU: sources, and a self test that was computed stage by stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

from compiler_core.errors import InputError
from compiler_core.files.whole_file import write_atomically
from compiler_core.units.cpu.c.driven.sources import DrivenSources, driven_sources, self_test
from compiler_core.units.cpu.c.driven.stages import Buffer, DrivenStage, Stages
from compiler_core.units.cpu.c.network import Array
from compiler_core.units.facets.driving import DrivenModel

SCHEMA = "nest-tune/driven-bundle/1"

Compute = Callable[[str, Mapping[str, Array]], Mapping[str, Array]]
"""What an NPU's segment of that name makes of ``int8[1, C, H, W]`` by name."""


def write_driven(
    model: DrivenModel,
    name: str,
    folder: Path,
    samples: Sequence[Mapping[str, Array]],
    compute: Compute,
) -> DrivenSources:
    """Writes a bundle.

    Args:
        model: Compiled.
        name: C name.
        folder: Made where it is absent.
        samples: Of the self test: array per input of the model.
        compute: The definition of the NPU's bits.

    Raises:
        InputError: A part cannot be written as C, or the folder cannot be written.
    """
    stages = Stages(model)
    sources = driven_sources(model, stages, name)
    tests = [
        (
            [np.asarray(sample[tensor], np.float32) for tensor in model.signature.inputs],
            driven_outputs(model, stages, sample, compute),
        )
        for sample in samples
    ]
    document = {
        "schema": SCHEMA,
        "name": name,
        "arena_bytes": sources.arena_bytes,
        "npu_bytes": sources.memory_bytes,
        "constant_bytes": sources.constant_bytes,
        "stages": list(sources.stages),
    }
    files = {
        **sources.files,
        "selftest.c": self_test(model, name, tests),
        "bundle.json": json.dumps(document, indent=1) + "\n",
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"folder {folder}: {error.strerror}") from error
    for file, text in files.items():
        write_atomically(folder / file, partial(_write, content=text.encode()))
    return sources


def driven_outputs(
    model: DrivenModel, stages: Stages, sample: Mapping[str, Array], compute: Compute
) -> list[Array]:
    """The outputs of one sample, flat: the definition of a bundle's bits."""
    held: dict[Buffer, Array] = {
        ("float", name): np.asarray(sample[name], np.float32).ravel()
        for name in model.signature.inputs
    }
    for stage in stages.stages:
        held |= _on_npu(model, stage, held, compute) if stage.step else _on_cpu(stage, held)
    return [held["float", name] for name in model.signature.outputs]


def _on_cpu(stage: DrivenStage, held: Mapping[Buffer, Array]) -> dict[Buffer, Array]:
    network = stage.network
    assert network is not None
    values = [network.values[name] for name in network.inputs]
    feeds = {
        value.name: held[buffer].reshape(value.shape)
        for value, buffer in zip(values, stage.reads, strict=True)
    }
    found = network.run(feeds)
    pairs = zip(stage.writes, network.outputs, strict=True)
    return {buffer: found[name].ravel() for buffer, name in pairs}


def _on_npu(
    model: DrivenModel, stage: DrivenStage, held: Mapping[Buffer, Array], compute: Compute
) -> dict[Buffer, Array]:
    step = stage.step
    assert step is not None
    assert step.segment is not None
    entering = {}
    for tensor, buffer in zip(step.inputs, stage.reads, strict=True):
        places = step.segment.tensors[tensor].places
        image = np.zeros(int(np.prod(model.tensors[tensor].shape)), np.int8)
        there = places >= 0
        image[places[there]] = held[buffer][there]
        entering[tensor] = image.reshape(model.tensors[tensor].shape)
    result = compute(step.name, entering)
    leaving = {}
    for tensor, buffer in zip(step.outputs, stage.writes, strict=True):
        places = step.segment.tensors[tensor].places
        flat = np.asarray(result[tensor], np.int8).ravel()
        leaving[buffer] = np.where(places >= 0, flat[np.maximum(places, 0)], 0).astype(np.int8)
    return leaving


def _write(stream: IO[bytes], *, content: bytes) -> None:
    stream.write(content)
