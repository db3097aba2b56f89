"""Small models of one operator, or of two neighbours, in given number formats, for the clock.

What enters and leaves in integers does so as integers: a border belongs to the pair of operators
between which it lies, so that costs of operators and pairs add up to those of a whole model.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.errors import InputError
from compiler_core.graph.containers import is_container
from compiler_core.graph.dtypes import STRING
from compiler_core.graph.extract import Extractor
from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.precision_lowering import lower_precisions
from compiler_core.quantize.precisions import precisions_of
from compiler_core.quantize.scheme import QuantizationScheme, RangeMethod
from compiler_core.quantize.statistics import TensorRange
from compiler_core.tensor.digest import digest

FORMATS_VERSION = 1
"""Raised with every change of how formats are written: older times then no longer count."""

_MOST_VALUE_BYTES = 1 << 29
"""Of all tensors of one run that are kept to time operators on."""
_SHOWN_VALUES = 16
"""Constants of integers up to this size are shapes, axes and the like: costs depend on them."""
_SCHEME = QuantizationScheme(activation_range=RangeMethod.MAX, weight_range=RangeMethod.MAX)
"""Times do not depend on how scales are found."""


@dataclass(frozen=True)
class PartKey:
    """What a time is of: equal for parts of equal cost, in whatever model.

    Attributes:
        signature: Operators, shapes and attributes.
        places: Of the operators, in order.
    """

    signature: str
    places: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ModelPart:
    """Operators of a model, cut out.

    Attributes:
        graph: The operators, in float.
        nodes: Names, in order.
    """

    graph: Graph
    nodes: tuple[str, ...]

    @cached_property
    def signature(self) -> str:
        """Operators, shapes, attributes and connections, without values and names."""
        return json.dumps(list(_described(self.graph)), separators=(",", ":"))

    def key(self, places: Sequence[str]) -> PartKey:
        """What a time of the operators at these places is found by."""
        return PartKey(self.signature, tuple(places))

    def lowered(self, places: Sequence[str], ranges: Mapping[str, TensorRange]) -> Graph:
        """The operators at places, without borders to the outside."""
        asked = precisions_of(dict(zip(self.nodes, places, strict=True)))
        return without_borders(lower_precisions(self.graph, asked, ranges, _SCHEME))


def parts_of(graph: Graph) -> tuple[dict[str, ModelPart], dict[tuple[str, str], ModelPart]]:
    """Every operator, and every two of which one reads what the other writes, by name."""
    extractor = Extractor(graph)
    singles = {n.name: ModelPart(extractor.part([n]), (n.name,)) for n in graph.nodes}
    pairs = {}
    for before, after in neighbours(graph):
        if (before.name, after.name) not in pairs:
            part = extractor.part([before, after])
            pairs[before.name, after.name] = ModelPart(part, (before.name, after.name))
    return singles, pairs


def neighbours(graph: Graph) -> Iterator[tuple[Node, Node]]:
    """Operators and those that read a float tensor of theirs."""
    for node in graph.nodes:
        for tensor in filter(None, node.outputs):
            known = graph.types.get(tensor)
            if known is not None and known.dtype == "float32":
                for reader in graph.consumers(tensor):
                    yield node, reader


def without_borders(graph: Graph) -> Graph:
    """A graph that takes and returns the integers at its borders, where it has them."""
    dropped: set[str] = set()
    inputs: list[str] = []
    for name in graph.inputs:
        readers = graph.consumers(name)
        if readers and all(_is(node, "QuantizeLinear") for node in readers):
            dropped |= {node.name for node in readers}
            inputs += [node.output for node in readers]
        else:
            inputs.append(name)
    outputs: list[str] = []
    for name in graph.outputs:
        last = graph.producer(name)
        before = None if last is None else graph.producer(last.inputs[0])
        if last is None or not _is(last, "DequantizeLinear") or not _is(before, "QuantizeLinear"):
            outputs.append(name)
            continue
        if not graph.consumers(name):
            dropped.add(last.name)
        outputs.append(last.inputs[0])
    nodes = tuple(node for node in graph.nodes if node.name not in dropped)
    return replace(graph, inputs=tuple(inputs), outputs=tuple(outputs), nodes=nodes)


def _is(node: Node | None, operator: str) -> bool:
    return node is not None and node.op == operator


def part_inputs(
    graph: Graph, values: Mapping[str, Any] | None = None, seed: int = 0
) -> dict[str, Any]:
    """Values for the inputs of a part: known ones, seeded random ones for others; text is empty.

    Args:
        graph: The part.
        values: By name, as :func:`run_values` gives them.
        seed: Of what is made up.

    Raises:
        InputError: An input that is not known is a sequence, or its type is not known.
    """
    generator = np.random.default_rng(seed)
    found: dict[str, Any] = {}
    for name in graph.inputs:
        known = graph.types.get(name)
        if values is not None and name in values and _fits(values[name], known):
            found[name] = values[name]
            continue
        if known is None or is_container(known.dtype):
            kind = "of unknown type" if known is None else f"a {known.dtype}"
            raise InputError(f"input {name!r} is {kind}: no values can be made up for it")
        found[name] = _random(known, generator)
    return found


def run_values(graph: Graph, feeds: Mapping[str, Any]) -> dict[str, Any]:
    """What the tensors of a model hold in one run: its inputs, and what its operators write, as far
    as that takes little memory.

    Args:
        graph: The model, in float.
        feeds: Its inputs.
    """
    names = [n for node in graph.nodes for n in node.outputs if n and _is_plain(graph.types.get(n))]
    size = sum(8 * prod(s or 1 for s in graph.types[name].shape or ()) for name in names)
    if not names or size > _MOST_VALUE_BYTES:
        return dict(feeds)
    try:
        held = FloatSession(graph, names, optimize=False).run(feeds)
    except InputError:  # what cannot be handed out one by one is made up
        return dict(feeds)
    return {**held, **feeds}


def _is_plain(known: TensorType | None) -> bool:
    """Whether NumPy has numbers of a tensor's type: it has no bfloat16."""
    if known is None or known.dtype == STRING or is_container(known.dtype):
        return False
    try:
        return np.dtype(known.dtype).kind in "biufc"
    except TypeError:
        return False


def _fits(value: Any, known: TensorType | None) -> bool:
    if known is None or is_container(known.dtype):
        return True
    if not isinstance(value, np.ndarray) or not _is_shaped(value.shape, known.shape):
        return False
    return known.dtype == STRING or value.dtype.name == known.dtype


def _is_shaped(shape: tuple[int, ...], known: tuple[int | None, ...] | None) -> bool:
    return known is None or (
        len(shape) == len(known)
        and all(size in (None, own) for own, size in zip(shape, known, strict=True))
    )


def _random(known: TensorType, generator: np.random.Generator) -> npt.NDArray[Any]:
    shape = tuple(size or 1 for size in known.shape or ())
    if known.dtype == STRING:
        return np.full(shape, "", object)
    dtype = np.dtype(known.dtype)
    if dtype.kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    info = np.iinfo(dtype) if dtype.kind in "iu" else None
    if info is not None and dtype.itemsize <= 2:
        return generator.integers(info.min, info.max, shape).astype(dtype)
    return generator.integers(0, 2, shape).astype(dtype)


def is_measurable(part: ModelPart, largest_bytes: int) -> bool:
    """Whether inputs can be made up: shapes are known and no strings or sequences."""
    for name in part.graph.inputs:
        known = part.graph.types.get(name)
        if known is None or known.shape is None:
            return False
        try:
            dtype = np.dtype(known.dtype)
        except TypeError:
            return False
        if dtype.kind not in "fiub" or prod(s or 1 for s in known.shape) > largest_bytes:
            return False
    return True


def _described(graph: Graph) -> Iterator[list[Any]]:
    names = {name: f"i{at}" for at, name in enumerate(graph.inputs)}
    yield [[_type(graph, name) for name in graph.inputs], graph.opsets.get("", 0)]
    for number, node in enumerate(graph.nodes):
        read = [names.get(name) or _constant(graph, name) for name in node.inputs]
        attributes = {key: _plain(value) for key, value in sorted(node.attributes.items())}
        clip = None if node.clip is None else [str(limit) for limit in node.clip]
        opaque = [digest(item.hex()) for item in node.opaque]
        results = [_type(graph, name) if name else "" for name in node.outputs]
        yield [node.op, node.domain, read, attributes, clip, opaque, results]
        names |= {name: f"n{number}.{at}" for at, name in enumerate(node.outputs) if name}


def _type(graph: Graph, name: str) -> str:
    known = graph.types.get(name)
    if known is None:
        return "?"
    sizes = "?" if known.shape is None else "x".join(str(size or 1) for size in known.shape)
    return f"{known.dtype}:{sizes}"


def _constant(graph: Graph, name: str) -> str:
    value = graph.constants.get(name)
    if value is None:
        return ""
    text = f"{value.dtype.name}:{'x'.join(map(str, value.shape))}"
    if value.dtype.kind in "iub" and value.size <= _SHOWN_VALUES:
        text += f"={value.reshape(-1).tolist()}"
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return digest(value.tobytes().hex())
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    if isinstance(value, bytes):
        return value.hex()
    return str(value) if isinstance(value, float) else value
