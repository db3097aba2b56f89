"""What bundles need from a model and its data: a kind that writes sources, samples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.compile.sources import FloatModel
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.graph.spelled.for_sources import graph_for_sources
from compiler_core.targets.source_kinds import generates_sources, require_source_kind
from compiler_core.units.facets.bundles import (
    Bundles,
    BundleTarget,
    bundle_kinds,
    bundle_writers,
)


def model_for_sources(model: FloatModel) -> FloatModel:
    """A model as sources are written for it: ports of float16 are float32, as is all that is
    float64, recurrent operators step by step, and others that have no kernel as those that have
    one."""
    return replace(model, graph=graph_for_sources(model.graph))


def bundles_for(target: str) -> Bundles:
    """The kind of unit that writes sources for a target, as it does so.

    Raises:
        InputError: None does.
    """
    kind = require_source_kind(target)
    return next(found for known, found in bundle_kinds() if known is kind)


def bundle_target(target: str) -> BundleTarget:
    """A target that sources are written for, by name or path.

    Raises:
        InputError: There is none, or its file is wrong.
    """
    return bundles_for(target).describe(target)


def is_bundle_target(target: str) -> bool:
    """Whether sources are written for a target: by name, or by what its file says it is."""
    try:
        return generates_sources(target)
    except InputError:
        return False


def configures_bundle(path: Path) -> Bundles | None:
    """Whose configuration a file is; ``None`` where it is that of no package of sources."""
    return next((found for found in bundle_writers() if found.is_configuration(path)), None)


def opens_bundle(folder: Path) -> Bundles | None:
    """Who reads a package of sources; ``None`` where the folder holds none."""
    return next((found for found in bundle_writers() if found.is_package(folder)), None)


def require_replaceable(folder: Path) -> None:
    """Refuses a folder that is neither free nor holds a package, of programs or of sources.

    Raises:
        InputError: Something else is there.
    """
    from compiler_core.package.writer import require_free  # heavy

    if opens_bundle(folder) is None:
        require_free(folder)


def _drawn(generator: np.random.Generator, shape: tuple[int, ...], dtype: str) -> npt.NDArray[Any]:
    if dtype == "float32":
        return generator.normal(0, 1, shape).astype(np.float32)
    most = {"bool": 2, "uint8": 256}.get(dtype, 8)
    return generator.integers(0, most, shape).astype(dtype)


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
                sample[name] = _drawn(generator, shape, graph.types[name].dtype)
        found.append(sample)
    return found
