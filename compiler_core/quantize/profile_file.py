"""Profiles as files, which anyone may have written.

On disk a profile is an ``.npz`` file. ``manifest`` is UTF-8 JSON as bytes: schema, digests, sizes,
names of the tensors, and whose channels along which axis the long vectors hold; per size ``n``
there are ``n.low``, ``n.high`` ``float64[tensors]``, ``n.channel_low``, ``n.channel_high``,
``n.channel_mean``, and the histograms of positive and negative magnitudes, of which only the bins
that hold something are written: ``n.positive_used`` ``int64[tensors]`` says how many each tensor
has, ``n.positive_bins`` ``uint16[sum]`` which, ascending, ``n.positive_counts`` ``int64[sum]`` what
they hold, ``n.positive_power`` ``int64[tensors]`` their range; ``n.negative_…`` alike.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.files.npz import read_npz, write_npz
from compiler_core.quantize.magnitudes import BINS, NO_MAGNITUDES, Magnitudes
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.statistics import ChannelStatistics, TensorRange

PROFILE_SCHEMA = "nest-tune/profile/2"
_LARGEST_POWER = 2048
_SIGNS = ("positive", "negative")
_HISTOGRAM_BYTES_MAX = 1 << 30
"""Of all histograms of a file in memory."""

_NOTHING = np.zeros(0, np.int64)


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
        arrays |= _arrays(size, [profile.sizes[size][name] for name in tensors], channels)
    write_npz(path, arrays)


def _arrays(
    size: int, known: list[TensorRange], channels: list[list[int]]
) -> dict[str, npt.NDArray[Any]]:
    arrays: dict[str, npt.NDArray[Any]] = {
        f"{size}.low": np.array([item.low for item in known]),
        f"{size}.high": np.array([item.high for item in known]),
    }
    for sign in _SIGNS:
        found = [getattr(item, sign) or NO_MAGNITUDES for item in known]
        used = [np.flatnonzero(item.counts) for item in found]
        counts = [item.counts[bins] for item, bins in zip(found, used, strict=True)]
        arrays |= {
            f"{size}.{sign}_used": np.array([len(bins) for bins in used], np.int64),
            f"{size}.{sign}_bins": np.concatenate([*used, _NOTHING]).astype(np.uint16),
            f"{size}.{sign}_counts": np.concatenate([*counts, _NOTHING]),
            f"{size}.{sign}_power": np.array([item.power for item in found], np.int64),
        }
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
    room = _HISTOGRAM_BYTES_MAX
    for size in dict.fromkeys(manifest["sizes"]):
        found = {}
        for key, shape in _shapes(len(tensors), total).items():
            found[key] = _array(path, arrays, f"{size}.{key}", shape)
        signs = {}
        for sign in _SIGNS:
            kept = int(np.count_nonzero(found[f"{sign}_used"]))
            room -= kept * BINS * 8
            if room < 0:
                raise InputError(
                    f"{path}: its histograms take more than {_HISTOGRAM_BYTES_MAX >> 20} MiB",
                    hint="profile fewer sizes: nest-tune quantize profile",
                )
            signs[sign] = _histograms(path, size, sign, found, arrays)
        sizes[size] = _ranges(tensors, channels, found, signs)
    return Profile(
        manifest["model"], manifest["data"], manifest["samples"], manifest["batch"], sizes
    )


def _array(
    path: Path, arrays: Mapping[str, npt.NDArray[Any]], name: str, shape: tuple[int, ...]
) -> npt.NDArray[Any]:
    array, key = arrays.get(name), name.partition(".")[2]
    kind = "iu" if key.startswith(_SIGNS) else "f"
    if array is None or array.shape != shape or array.dtype.kind not in kind:
        seen = "missing" if array is None else f"{array.dtype}{list(array.shape)}"
        raise InputError(f"{path}: array '{name}' is {seen}; needed is {list(shape)}")
    # A tensor that is not finite everywhere has infinite limits, and nothing else has.
    limits = key in ("low", "high") and not np.isnan(array).any()
    if not (limits or np.isfinite(array).all()) or _implausible(key, array):
        raise InputError(f"{path}: array '{name}' holds impossible values")
    return array


def _shapes(tensors: int, channels: int) -> dict[str, tuple[int, ...]]:
    return {
        "low": (tensors,),
        "high": (tensors,),
        "positive_used": (tensors,),
        "negative_used": (tensors,),
        "positive_power": (tensors,),
        "negative_power": (tensors,),
        "channel_low": (channels,),
        "channel_high": (channels,),
        "channel_mean": (channels,),
    }


def _implausible(key: str, array: npt.NDArray[Any]) -> bool:
    if key.endswith("_power"):
        return bool(((array > _LARGEST_POWER) | (array < -_LARGEST_POWER)).any())
    if key.endswith("_used"):
        return bool(((array < 0) | (array > BINS)).any())
    if key.endswith("_bins"):
        return bool((array >= BINS).any())
    return key.endswith("_counts") and bool((array < 0).any())


def _histograms(
    path: Path,
    size: int,
    sign: str,
    found: Mapping[str, npt.NDArray[Any]],
    arrays: Mapping[str, npt.NDArray[Any]],
) -> list[Magnitudes]:
    used = found[f"{sign}_used"].astype(np.int64)
    whole = (int(used.sum()),)
    bins = _array(path, arrays, f"{size}.{sign}_bins", whole).astype(np.int64)
    held = _array(path, arrays, f"{size}.{sign}_counts", whole).astype(np.int64)
    made, end = [], 0
    for count, power in zip(used.tolist(), found[f"{sign}_power"].tolist(), strict=True):
        start, end = end, end + count
        counts = NO_MAGNITUDES.counts
        if count:
            counts = np.zeros(BINS, np.int64)
            counts[bins[start:end]] = held[start:end]
        made.append(Magnitudes(counts, power))
    return made


def _ranges(
    tensors: list[str],
    channels: list[list[int]],
    arrays: Mapping[str, npt.NDArray[Any]],
    signs: Mapping[str, list[Magnitudes]],
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
            signs["positive"][number],
            signs["negative"][number],
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
        raise InputError(
            f"{path}: not a profile with schema {PROFILE_SCHEMA!r}",
            hint="nest-tune quantize profile MODEL --calibration F -o profile writes one",
        )
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
