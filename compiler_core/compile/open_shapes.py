"""Axes that a model leaves open, taken from samples where nobody gives them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy.typing as npt
import onnx

from compiler_core.compile.sources import FloatModel, load_model
from compiler_core.errors import OpenShapeError
from compiler_core.graph.reader import ImportLimits, read_model

Shapes = Mapping[str, tuple[int, ...]]
Samples = Callable[[], Mapping[str, npt.NDArray[Any]]]


def load_with_samples(
    path: Path, shapes: Shapes | None, samples: Samples | None
) -> tuple[FloatModel, Shapes]:
    """Imports and simplifies an ONNX file; sizes that it leaves open, but for the batch, are those
    of the samples.

    Args:
        path: The model.
        shapes: Of inputs with open axes, as far as they are given.
        samples: Reads arrays by input (``x`` stands for the only one); asked where they are needed.

    Returns:
        The model, and the shapes with which :func:`~compiler_core.compile.sources.load_model` reads
        it so again.

    Raises:
        InputError: The file or ``shapes`` is wrong, or samples do not say a size.
    """
    try:
        return load_model(path, shapes), shapes or {}
    except OpenShapeError:
        if samples is None:
            raise
        arrays = samples()
        found = {**_sampled(path, arrays), **(shapes or {})}
        if not found.keys() - (shapes or {}).keys():
            raise
    return load_model(path, found), found


def _sampled(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, tuple[int, ...]]:
    graph = read_model(path, ImportLimits()).graph
    constants = {item.name for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in constants]
    found = {}
    for item in inputs:
        name = item.name if item.name in arrays or len(inputs) > 1 else "x"
        shape = _shape(item, arrays[name].shape) if name in arrays else None
        if shape is not None:
            found[item.name] = shape
    return found


def _shape(item: onnx.ValueInfoProto, sampled: tuple[int, ...]) -> tuple[int, ...] | None:
    """The shape of one run: an array holds runs along the first axis, or along one more."""
    dims = item.type.tensor_type.shape.dim
    if len(sampled) - len(dims) not in (0, 1) or len(dims) < 2:
        return None
    more = len(sampled) > len(dims)
    sizes = sampled[1:] if more else (1, *sampled[1:])
    named = [dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims]
    if all(named[1:]):
        return None
    return tuple(
        dim.dim_value if fixed else size
        for dim, fixed, size in zip(dims, named, sizes, strict=True)
    )
