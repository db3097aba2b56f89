"""Axes that a model leaves open, taken from samples where nobody gives them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import onnx

from compiler_core.compile.sources import FloatModel, load_model
from compiler_core.errors import OpenShapeError
from compiler_core.graph.ir import Graph
from compiler_core.graph.reader import ImportLimits, read_model

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Sizes = Callable[[], Shapes]
_SEQUENTIAL = ("LSTM", "GRU", "RNN")


def load_with_samples(
    path: Path, shapes: Shapes | None, sizes: Sizes | None
) -> tuple[FloatModel, Shapes]:
    """Imports and simplifies an ONNX file; sizes that it leaves open, but for the batch, are those
    of samples.

    The first axis is the batch as long as every result follows it. Where it is something else (the
    samples of a sound, the steps of a sequence, the corners of a mesh), arrays with one axis more
    than the input say its size.

    Args:
        path: The model.
        shapes: Of inputs with open axes, as far as they are given.
        sizes: Tells the shapes of the arrays by input (``x`` stands for the only one), all runs in
            one; asked where samples were given.

    Returns:
        The model, and the shapes with which :func:`~compiler_core.compile.sources.load_model` reads
        it so again.

    Raises:
        InputError: The file or ``shapes`` is wrong, or samples do not say a size.
    """
    given = dict(shapes or {})
    try:
        model = load_model(path, given)
    except OpenShapeError as error:
        arrays = {} if sizes is None else sizes()
        sampled = _sampled(path, arrays, None)
        if not sampled.keys() - given.keys():
            if not arrays:
                raise
            names = ", ".join(map(repr, arrays))
            raise OpenShapeError(
                f"{error.message}; the data hold {names}, which do not say it", hint=error.hint
            ) from error
        model = load_model(path, sampled | given)
        given = sampled | given
    if sizes is None:
        return model, given
    known = sizes()
    longer = _longer(model.graph, known) - given.keys()
    sampled = _sampled(path, known, longer) if longer else {}
    return (load_model(path, sampled | given), sampled | given) if sampled else (model, given)


def _longer(graph: Graph, known: Shapes) -> set[str]:
    """Inputs whose first axis is no batch and longer than 1 in every run that the samples hold."""
    steps = {
        node.inputs[0]
        for node in graph.nodes
        if node.op in _SEQUENTIAL and not node.attributes.get("layout", 0)
    }
    apart = bool(steps & graph.dynamic_batch)
    found = set()
    for name in graph.inputs:
        shape = graph.types[name].shape
        array = known.get(name if name in known or len(graph.inputs) > 1 else "x")
        if not shape or array is None or shape[0] != 1 or len(array) != len(shape) + 1:
            continue
        is_batch = name in graph.dynamic_batch and len(shape) > 1 and not apart
        if array[1] > 1 and array[2:] == shape[1:] and not is_batch:
            found.add(name)
    return found


def _sampled(path: Path, known: Shapes, longer: Collection[str] | None) -> dict[str, Shape]:
    """Shapes of one run, of ``longer`` or of all inputs with open axes behind the first."""
    graph = read_model(path, ImportLimits()).graph
    constants = {item.name for item in graph.initializer}
    inputs = [item for item in graph.input if item.name not in constants]
    found = {}
    for item in inputs:
        name = item.name if item.name in known or len(inputs) > 1 else "x"
        if name not in known or (longer is not None and item.name not in longer):
            continue
        shape = _shape(item, known[name], first=longer is not None)
        if shape is not None:
            found[item.name] = shape
    return found


def _shape(item: onnx.ValueInfoProto, sampled: Shape, *, first: bool) -> Shape | None:
    """The shape of one run: an array holds runs along the first axis, or along one more.

    ``None`` where the model leaves nothing open: no axis behind the first, or not the ``first``.
    """
    if item.type.WhichOneof("value") != "tensor_type":
        return None
    if not item.type.tensor_type.HasField("shape"):
        return (1, *sampled[1:]) if sampled else None
    dims = item.type.tensor_type.shape.dim
    if len(sampled) - len(dims) not in (0, 1) or not dims:
        return None
    more = len(sampled) > len(dims)
    sizes = sampled[1:] if more else (1, *sampled[1:])
    fixed = [dim.HasField("dim_value") and dim.dim_value >= 0 for dim in dims]
    if fixed[0] if first else all(fixed[1:]):
        return None
    own = [dim.dim_value if known else None for dim, known in zip(dims, fixed, strict=True)]
    rest = _left_over(sizes[1:], own[1:])
    return tuple(
        size if known is None else known for known, size in zip(own, (sizes[0], *rest), strict=True)
    )


def _left_over(sizes: Shape, own: Sequence[int | None]) -> Shape:
    """``sizes`` in the order of the axes that ``own`` states, where they stand in another.

    Images with their channel last say height and width of a model with its channel first all the
    same; that their axes are to be moved is told where the samples are checked.
    """
    stated = [size for size in own if size is not None]
    left = list(sizes)
    if all(known in (None, size) for known, size in zip(own, sizes, strict=True)):
        return sizes
    for size in stated:
        if size not in left:
            return sizes
        left.remove(size)
    return tuple(left.pop(0) if known is None else known for known in own)
