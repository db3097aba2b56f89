"""Profiles: the statistics of every activation, gathered once for every scheme that follows.

On disk a profile is an ``.npz`` file. ``manifest`` is UTF-8 JSON as bytes: schema, digests, sizes,
names of the tensors, and whose channels along which axis the long vectors hold; per size ``n``
there are ``n.low``, ``n.high`` ``float64[tensors]``, ``n.positive``, ``n.negative``
``int64[tensors, 2048]`` with their ``n.positive_power``, ``n.negative_power``, and
``n.channel_low``, ``n.channel_high``, ``n.channel_mean``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.files.npz import read_npz, write_npz
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import check_samples, model_batch
from compiler_core.graph.text import graph_digest
from compiler_core.quantize.calibration import (
    Progress,
    Samples,
    gather,
)
from compiler_core.quantize.magnitudes import BINS, Magnitudes
from compiler_core.quantize.scheme import CalibrationSize
from compiler_core.quantize.statistics import ChannelStatistics, TensorRange

PROFILE_SCHEMA = "nest-tune/profile/1"
_LARGEST_POWER = 2048


@dataclass(frozen=True, eq=False)
class Profile:
    """Statistics of a model's activations.

    Attributes:
        model_digest: SHA-256 of the simplified graph.
        data_digest: SHA-256 of the samples.
        samples: How many there are.
        batch: Samples of one run of the model.
        sizes: Statistics per tensor, by the number of samples that they are of.
        inputs: The samples, array per input, where they are at hand: a file does not hold them.
    """

    model_digest: str
    data_digest: str
    samples: int
    batch: int
    sizes: Mapping[int, Mapping[str, TensorRange]]
    inputs: Samples | None = None

    def ranges(
        self, size: CalibrationSize | int = CalibrationSize.ALL
    ) -> Mapping[str, TensorRange]:
        """Statistics of the first samples.

        Raises:
            InputError: The profile has none of that many.
        """
        count = self._count(size)
        if count not in self.sizes:
            known = ", ".join(map(str, sorted(self.sizes)))
            raise InputError(
                f"the profile has no statistics of {count} samples; it has those of {known}",
                hint=f"nest-tune quantize profile --size {count}",
            )
        return self.sizes[count]

    def first(self, size: CalibrationSize | int = CalibrationSize.ALL) -> Samples | None:
        """The first samples, where they are at hand."""
        if self.inputs is None:
            return None
        count = self._count(size)
        return {
            name: array[: len(array) * count // self.samples] for name, array in self.inputs.items()
        }

    def _count(self, size: CalibrationSize | int) -> int:
        return size if isinstance(size, int) else size.samples(self.samples, self.batch)

    def check_model(self, graph: Graph) -> None:
        """Refuse another model than the one it was made of.

        Raises:
            InputError: ``graph`` is another one.
        """
        digest = graph_digest(graph)
        if digest != self.model_digest:
            raise InputError(
                f"the profile is of a model with digest {self.model_digest[:16]}…; this one has "
                f"{digest[:16]}…",
                hint="profile this model",
            )


def profile_model(
    graph: Graph,
    samples: Samples,
    sizes: Iterable[int] = (),
    *,
    threads: int = 1,
    progress: Progress = lambda _done, _total: None,
) -> Profile:
    """Gather the statistics of every float tensor in one pass.

    Args:
        graph: The float graph, simplified.
        samples: Array per graph input; the leading axis counts the samples.
        sizes: Numbers of samples beside one, half and all of them.
        threads: Threads of onnxruntime.
        progress: Told after every batch.

    Raises:
        InputError: As :func:`~compiler_core.quantize.calibration.gather`.
    """
    count, batch = check_samples(graph, samples), model_batch(graph)
    wanted = {*sizes, *(size.samples(count, batch) for size in CalibrationSize)}
    tensors = activations(graph)
    found = gather(graph, samples, tensors, wanted, threads=threads, progress=progress)
    return Profile(graph_digest(graph), samples_digest(samples), count, batch, found, samples)


def activations(graph: Graph) -> tuple[str, ...]:
    """Float tensors that depend on the inputs."""
    computed = [name for node in graph.nodes for name in node.outputs if name]
    return tuple(
        name
        for name in dict.fromkeys((*graph.inputs, *computed))
        if name in graph.types
        and graph.types[name].dtype == "float32"
        and graph.types[name].shape
        and name not in graph.constants
        and all(graph.types[name].shape or ())
    )


def samples_digest(samples: Mapping[str, npt.NDArray[Any]]) -> str:
    """SHA-256 of arrays: names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(samples):
        _add_array(digest, name, samples[name])
    return digest.hexdigest()


def _add_array(digest: hashlib._Hash, name: str, value: npt.NDArray[Any]) -> None:
    array = np.ascontiguousarray(value)
    if array.dtype != object:
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data if array.size else b"")
        return
    digest.update(f"{name} objects {array.shape}\n".encode())
    for index, item in enumerate(array.flat):
        if isinstance(item, list):
            digest.update(f"list {len(item)}\n".encode())
            for number, part in enumerate(item):
                _add_array(digest, f"{name}/{index}/{number}", part)
        elif isinstance(item, np.ndarray):
            _add_array(digest, f"{name}/{index}", item)
        else:
            digest.update(f"{item!r}\n".encode())


def write_profile(path: Path, profile: Profile) -> None:
    """Write a profile; the file appears whole or not at all.

    Raises:
        InputError: The file cannot be written.
    """
    sizes = sorted(profile.sizes)
    tensors = list(profile.sizes[sizes[0]])
    channels = [
        [number, axis, len(known.low)]
        for number, name in enumerate(tensors)
        for axis, known in sorted(profile.sizes[sizes[0]][name].channels.items())
    ]
    manifest = {
        "schema": PROFILE_SCHEMA,
        "model": profile.model_digest,
        "data": profile.data_digest,
        "samples": profile.samples,
        "batch": profile.batch,
        "sizes": sizes,
        "tensors": tensors,
        "channels": channels,
    }
    text = json.dumps(manifest).encode()
    arrays: dict[str, npt.NDArray[Any]] = {"manifest": np.frombuffer(text, np.uint8)}
    for size in sizes:
        arrays |= _arrays(size, [profile.sizes[size][name] for name in tensors], channels, tensors)
    write_npz(path, arrays)


def _arrays(
    size: int, known: list[TensorRange], channels: list[list[int]], tensors: list[str]
) -> dict[str, npt.NDArray[Any]]:
    signs = {
        "positive": [item.positive or Magnitudes(np.zeros(BINS, np.int64), 0) for item in known],
        "negative": [item.negative or Magnitudes(np.zeros(BINS, np.int64), 0) for item in known],
    }
    arrays: dict[str, npt.NDArray[Any]] = {
        f"{size}.low": np.array([item.low for item in known]),
        f"{size}.high": np.array([item.high for item in known]),
    }
    for sign, found in signs.items():
        arrays[f"{size}.{sign}"] = (
            np.stack([item.counts for item in found])
            if tensors
            else (np.zeros((0, BINS), np.int64))
        )
        arrays[f"{size}.{sign}_power"] = np.array([item.power for item in found], np.int64)
    for field in ("low", "high", "mean"):
        parts = [getattr(known[number].channels[axis], field) for number, axis, _ in channels]
        arrays[f"{size}.channel_{field}"] = np.concatenate(parts) if parts else np.zeros(0)
    return arrays


def read_profile(path: Path) -> Profile:
    """Read a profile that anyone may have written.

    Raises:
        InputError: The file is damaged, or not a profile.
    """
    arrays = read_npz(path)
    manifest = _manifest(path, arrays)
    tensors, channels = manifest["tensors"], manifest["channels"]
    total = sum(count for _, _, count in channels)
    sizes = {}
    for size in manifest["sizes"]:
        found = {}
        for key, shape in _shapes(len(tensors), total).items():
            array = arrays.get(f"{size}.{key}")
            kind = "i" if key.startswith(("positive", "negative")) else "f"
            if array is None or array.shape != shape or array.dtype.kind != kind:
                seen = "missing" if array is None else f"{array.dtype}{list(array.shape)}"
                raise InputError(f"{path}: array '{size}.{key}' is {seen}; needed is {list(shape)}")
            # A tensor that is not finite everywhere has infinite limits, and nothing else has.
            limits = key in ("low", "high") and not np.isnan(array).any()
            if not (limits or np.isfinite(array).all()) or (
                kind == "i" and _implausible(key, array)
            ):
                raise InputError(f"{path}: array '{size}.{key}' holds impossible values")
            found[key] = array
        sizes[size] = _ranges(tensors, channels, found)
    return Profile(
        manifest["model"], manifest["data"], manifest["samples"], manifest["batch"], sizes
    )


def _shapes(tensors: int, channels: int) -> dict[str, tuple[int, ...]]:
    return {
        "low": (tensors,),
        "high": (tensors,),
        "positive": (tensors, BINS),
        "negative": (tensors, BINS),
        "positive_power": (tensors,),
        "negative_power": (tensors,),
        "channel_low": (channels,),
        "channel_high": (channels,),
        "channel_mean": (channels,),
    }


def _implausible(key: str, array: npt.NDArray[Any]) -> bool:
    if key.endswith("_power"):
        return bool((np.abs(array) > _LARGEST_POWER).any())
    return bool((array < 0).any())


def _ranges(
    tensors: list[str], channels: list[list[int]], arrays: Mapping[str, npt.NDArray[Any]]
) -> dict[str, TensorRange]:
    axes: list[dict[int, ChannelStatistics]] = [{} for _ in tensors]
    start = 0
    for number, axis, count in channels:
        low, high, mean = (
            arrays[f"channel_{field}"][start : start + count] for field in ("low", "high", "mean")
        )
        axes[number][axis] = ChannelStatistics(low, high, mean)
        start += count
    return {
        name: TensorRange(
            float(arrays["low"][number]),
            float(arrays["high"][number]),
            Magnitudes(arrays["positive"][number], int(arrays["positive_power"][number])),
            Magnitudes(arrays["negative"][number], int(arrays["negative_power"][number])),
            axes[number],
        )
        for number, name in enumerate(tensors)
    }


def _manifest(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Any]:
    raw = arrays.get("manifest")
    try:
        found = json.loads(raw.tobytes()) if raw is not None and raw.dtype == np.uint8 else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or found.get("schema") != PROFILE_SCHEMA:
        raise InputError(f"{path}: not a profile with schema {PROFILE_SCHEMA!r}")
    tensors, channels, sizes = (found.get(key) for key in ("tensors", "channels", "sizes"))
    whole = (
        isinstance(tensors, list)
        and all(isinstance(name, str) for name in tensors)
        and len(set(tensors)) == len(tensors)
        and isinstance(sizes, list)
        and all(type(size) is int and size > 0 for size in sizes)
        and all(type(found.get(key)) is int and found[key] > 0 for key in ("samples", "batch"))
        and all(isinstance(found.get(key), str) for key in ("model", "data"))
        and isinstance(channels, list)
        and all(
            isinstance(item, list)
            and len(item) == 3
            and all(type(value) is int and value >= 0 for value in item)
            and item[0] < len(tensors)
            for item in channels
        )
    )
    if not whole:
        raise InputError(f"{path}: the manifest of the profile is damaged")
    return found
