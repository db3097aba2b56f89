"""Profiles: the statistics of every activation, gathered once for every scheme that follows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.sampling import check_samples, model_batch
from compiler_core.graph.text import graph_digest
from compiler_core.quantize.calibration import (
    Progress,
    Samples,
    gather,
)
from compiler_core.quantize.scheme import CalibrationSize
from compiler_core.quantize.statistics import TensorRange


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

    def is_of(self, graph: Graph) -> bool:
        """Whether it was made of ``graph``."""
        return graph_digest(graph) == self.model_digest

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
