"""Profiles found again by the digests of model and data, so that each is gathered once.

One file per profile in the cache folder, named by what it depends on: the simplified graph, the
samples, the numbers of samples asked for, and the version of onnxruntime. A file that is damaged
counts as none, and a folder that cannot be written only costs time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError, NestTuneError
from compiler_core.graph.ir import Graph
from compiler_core.graph.text import graph_digest
from compiler_core.quantize.profile import (
    Profile,
    profile_model,
    samples_digest,
)
from compiler_core.quantize.profile_file import PROFILE_SCHEMA, read_profile, write_profile
from nest_tune.stores.task_store import cache_folder

__all__ = ["stored_profile"]


def stored_profile(
    graph: Graph,
    samples: Mapping[str, npt.NDArray[Any]],
    sizes: Iterable[int] = (),
    *,
    threads: int = 1,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Profile:
    """The profile of ``graph`` over ``samples``, gathered now where it is not known yet.

    Args:
        graph: The float graph, simplified.
        samples: Array per graph input.
        sizes: Numbers of samples beside one, half and all of them.
        threads: Threads of onnxruntime.
        progress: Told after every batch while it is gathered.

    Raises:
        InputError: As :func:`~compiler_core.quantize.profile.profile_model`.
    """
    arrays = {name: np.asarray(array) for name, array in samples.items()}
    wanted = sorted(set(sizes))
    known = known_profile(graph, arrays, wanted)
    if known is not None:
        return known
    path = _path(graph_digest(graph), samples_digest(arrays), wanted)
    found = profile_model(graph, arrays, wanted, threads=threads, progress=progress)
    # Nothing depends on the file but the time of the next one.
    with suppress(OSError, NestTuneError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_profile(path, found)
    return found


def known_profile(
    graph: Graph, samples: Mapping[str, npt.NDArray[Any]], sizes: Iterable[int] = ()
) -> Profile | None:
    """What :func:`stored_profile` has gathered before; ``None`` where it would have to run the
    model."""
    arrays = {name: np.asarray(array) for name, array in samples.items()}
    model, data = graph_digest(graph), samples_digest(arrays)
    path = _path(model, data, sorted(set(sizes)))
    if not path.is_file():
        return None
    try:
        known = read_profile(path)
    except InputError:
        return None
    if (known.model_digest, known.data_digest) != (model, data):
        return None
    return replace(known, inputs=arrays)


def _path(model: str, data: str, sizes: Iterable[int]) -> Path:
    parts = (PROFILE_SCHEMA, version("onnxruntime"), model, data, *map(str, sizes))
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()
    return cache_folder() / "profiles" / f"{key}.npz"
