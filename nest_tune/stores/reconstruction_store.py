"""Reconstructions found again, so that each is made once: they take seconds, unlike their result.

One file per reconstruction in the cache folder, named by what it depends on: the float graph with
its decided units, the integers before, the samples, and the version of onnxruntime. It holds the
weights and biases after. Beside them lies one file per layer, named by its grid and the tensors
that it reads in both networks, for schemes and plans that differ behind it. A damaged file counts
as none, and a folder that cannot be written only costs time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError, NestTuneError
from compiler_core.files.npz import read_npz, write_npz
from compiler_core.graph.text import graph_digest
from compiler_core.quantize.ir import IntegerConv, IntegerSegment, QuantizedGraph
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.reconstruction import Samples, reconstruct
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.quantize.skeleton import ConvStep, Skeleton
from compiler_core.quantize.text import quantized_digest
from nest_tune.stores.task_store import cache_folder

__all__ = ["stored_reconstruction"]

_SCHEMA = "nest-tune/reconstruction/1"


def stored_reconstruction(
    profile: Profile, scheme: QuantizationScheme
) -> Callable[[Skeleton, QuantizedGraph, Samples], QuantizedGraph]:
    """:func:`~compiler_core.quantize.reconstruction.reconstruct`, done only where it is not known.

    Args:
        profile: Of the samples that it will be given.
        scheme: Says which of them.
    """
    return partial(_stored, f"{profile.data_digest} {scheme.calibration}")


def _stored(
    data: str, skeleton: Skeleton, quantized: QuantizedGraph, samples: Samples
) -> QuantizedGraph:
    path = cache_folder() / "reconstructions" / f"{_key(data, skeleton, quantized)}.npz"
    known = _read(path, quantized) if path.is_file() else None
    if known is not None:
        return known
    found = reconstruct(skeleton, quantized, samples, _Layers())
    arrays: dict[str, npt.NDArray[Any]] = {}
    for number, operator in enumerate(_convolutions(found)):
        arrays[f"{number}.weight"], arrays[f"{number}.bias"] = operator.weight, operator.bias
    # Nothing depends on the file but the time of the next one.
    with suppress(OSError, NestTuneError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_npz(path, arrays)
    return found


class _Layers:
    """Single layers in the cache folder, see :class:`LayerMemory
    <compiler_core.quantize.reconstruction.LayerMemory>`."""

    def find(self, key: str) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.int32]] | None:
        path = self._path(key)
        if not path.is_file():
            return None
        try:
            arrays = read_npz(path)
        except InputError:
            return None
        weight, bias = arrays.get("weight"), arrays.get("bias")
        if weight is None or bias is None or weight.dtype != np.int8 or bias.dtype != np.int32:
            return None
        return weight, bias

    def keep(self, key: str, weight: npt.NDArray[np.int8], bias: npt.NDArray[np.int32]) -> None:
        path = self._path(key)
        # Nothing depends on the file but the time of the next one.
        with suppress(OSError, NestTuneError):
            path.parent.mkdir(parents=True, exist_ok=True)
            write_npz(path, {"weight": weight, "bias": bias})

    def _path(self, key: str) -> Path:
        name = hashlib.sha256(f"{_SCHEMA} {version('numpy')} {key}".encode()).hexdigest()
        return cache_folder() / "rounded-layers" / f"{name}.npz"


def _key(data: str, skeleton: Skeleton, quantized: QuantizedGraph) -> str:
    parts = (_SCHEMA, version("onnxruntime"), data, graph_digest(skeleton.source))
    digest = hashlib.sha256("\n".join(parts).encode())
    digest.update(quantized_digest(quantized).encode())
    for step in skeleton.steps:
        if isinstance(step, ConvStep):
            digest.update(np.ascontiguousarray(step.weight).tobytes())
            digest.update(np.ascontiguousarray(step.bias).tobytes())
    return digest.hexdigest()


def _convolutions(quantized: QuantizedGraph) -> Iterator[IntegerConv]:
    for segment in quantized.segments:
        if isinstance(segment, IntegerSegment):
            yield from (item for item in segment.operators if isinstance(item, IntegerConv))


def _read(path: Path, quantized: QuantizedGraph) -> QuantizedGraph | None:
    """``quantized`` with the weights and biases of a file; ``None`` where they do not fit."""
    try:
        arrays = read_npz(path)
    except InputError:
        return None
    found: dict[str, IntegerConv] = {}
    for number, operator in enumerate(_convolutions(quantized)):
        weight, bias = arrays.get(f"{number}.weight"), arrays.get(f"{number}.bias")
        if not (_like(weight, operator.weight) and _like(bias, operator.bias)):
            return None
        assert weight is not None
        assert bias is not None
        found[operator.name] = replace(operator, weight=weight, bias=bias)
    segments = tuple(
        replace(part, operators=tuple(found.get(item.name, item) for item in part.operators))
        if isinstance(part, IntegerSegment)
        else part
        for part in quantized.segments
    )
    return replace(quantized, segments=segments)


def _like(array: npt.NDArray[Any] | None, wanted: npt.NDArray[Any]) -> bool:
    return array is not None and array.dtype == wanted.dtype and array.shape == wanted.shape
