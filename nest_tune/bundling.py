"""What bundles need from a model and its data: a kind that writes sources, samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.units.facets.bundles import Bundles
from compiler_core.units.registry import unit_kind, unit_kinds

_FACET = "bundles"


def bundles_for(target: str) -> Bundles:
    """The kind of unit that writes sources for a target; of a file, the first that does.

    Raises:
        InputError: No kind knows the target.
    """
    known: list[str] = []
    for name in unit_kinds():
        kind = unit_kind(name)
        if kind.has(_FACET):
            found: Bundles = kind.facet(_FACET, Bundles)
            if target.endswith(".toml") or target in found.targets():
                return found
            known += found.targets()
    raise InputError(f"no sources are written for target {target!r}; known are {', '.join(known)}")


def self_test_samples(
    graph: Graph, data: Mapping[str, npt.NDArray[Any]] | None, count: int
) -> list[dict[str, npt.NDArray[Any]]]:
    """Samples of a self test: the first of the data, or random ones.

    Args:
        graph: The model.
        data: Array per input, samples along the first axis.
        count: How many.
    """
    generator = np.random.default_rng(0)
    found = []
    for index in range(count):
        sample = {}
        for name in graph.inputs:
            shape = tuple(size or 1 for size in graph.types[name].shape or ())
            rows = shape[0] if shape else 1
            if data is not None and (index + 1) * rows <= len(data[name]):
                sample[name] = np.asarray(data[name])[index * rows : (index + 1) * rows]
            else:
                sample[name] = generator.normal(0, 1, shape).astype(np.float32)
        found.append(sample)
    return found
