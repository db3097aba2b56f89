"""What an output is, and so how it is compared: by graph, types and shapes alone.

=============  =================================================  ===============================
kind           which outputs                                      compared
=============  =================================================  ===============================
``CLASSES``    features of the last operator with weights, or     the best class at each position
               what a softmax ran over, two or more
``INTEGERS``   whole numbers: ArgMax, TopK's positions,           equal or not, value by value
               comparisons, integer types
``REAL``       one value per sample, coordinates, embeddings,     by their noise; against labels 0
               sorted scores, an input made again                 and 1 by a threshold
=============  =================================================  ===============================
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum
from math import prod

from compiler_core.accuracy.joined_parts import Part, is_probability, parts_of
from compiler_core.accuracy.origin import OutputOrigin, trace
from compiler_core.graph.containers import is_container
from compiler_core.graph.dtypes import STRING
from compiler_core.graph.ir import Graph

Shapes = Mapping[str, tuple[int, ...]]

_COORDINATES = 4
"""Values of a box."""


ONE_OUTPUT = "--output NAME of evaluate, --judged-output NAME elsewhere,"
"""What asks for one output alone, for hints."""


class Kind(Enum):
    """How values are compared."""

    CLASSES = "classes"
    INTEGERS = "integers"
    REAL = "real values"


@dataclass(frozen=True)
class Judge:
    """How one output is judged.

    Attributes:
        output: Its name.
        kind: How its values are compared.
        shape: Of the output for one run of the model; ``None`` for not known.
        batched: Whether its first axis is that of the samples of a run.
        axis: Axis of the classes among those, for real values too where labels may make classes of
            them; ``None`` where each value stands for itself.
        classes: How many there are; ``None`` for not known.
        ranked: Axis along which integers are in the order of a TopK, best first.
        threshold: Above it a value that stands for itself means 1: 0.5 after a sigmoid, else 0.
        reason: Why real values are no scores of classes.
        parts: Tensors that it is joined of, where it is of several.
        probabilities: Numbers of the parts that a Sigmoid gives.
    """

    output: str
    kind: Kind
    shape: tuple[int, ...] | None
    batched: bool = True
    axis: int | None = None
    classes: int | None = None
    ranked: int | None = None
    threshold: float = 0.0
    reason: str = ""
    parts: tuple[Part, ...] = ()
    probabilities: tuple[int, ...] = ()

    @property
    def rank(self) -> int:
        """Axes of the output for one run of the model."""
        return len(self.shape or ())


def computed_outputs(graph: Graph) -> tuple[str, ...]:
    """Outputs of numbers that something computes: constants and inputs handed through are always
    right, and text and sequences are compared by nobody."""
    given = {*graph.constants, *graph.inputs}
    return tuple(
        name
        for name in graph.outputs
        if name not in given
        and not (
            name in graph.types
            and (is_container(graph.types[name].dtype) or graph.types[name].dtype == STRING)
        )
    )


def judges(graph: Graph, shapes: Shapes | None = None) -> dict[str, Judge]:
    """How each computed output of ``graph`` is judged, in their order.

    Args:
        graph: The float model, simplified or not.
        shapes: Of outputs for one run of the model, where the graph does not know them.
    """
    names = computed_outputs(graph)
    known: dict[str, tuple[int, ...]] = {}
    for name in names:
        given = graph.types[name].shape if name in graph.types else None
        if given is not None and None not in given:
            known[name] = tuple(int(size or 0) for size in given)
        elif shapes and name in shapes:
            known[name] = tuple(shapes[name])
    origins = {name: trace(graph, name) for name in names}
    own = {name: _alone(graph, name, known.get(name), origins[name]) for name in names}
    return {name: _beside(graph, judge, own, origins, known) for name, judge in own.items()}


def _alone(graph: Graph, name: str, shape: tuple[int, ...] | None, origin: OutputOrigin) -> Judge:
    """What follows from an output itself."""
    dtype = graph.types[name].dtype if name in graph.types else "float32"
    batched = _is_batched(graph, name, shape)
    if origin.whole or "float" not in dtype:
        whole = Judge(name, Kind.INTEGERS, shape, batched)
        return replace(whole, classes=origin.classes, ranked=origin.ranked)
    threshold = 0.5 if origin.sigmoid else 0.0
    parts = parts_of(graph, name, batched=batched)
    likely = tuple(n for n, part in enumerate(parts) if is_probability(graph, name, part))
    real = Judge(
        name, Kind.REAL, shape, batched, threshold=threshold, parts=parts, probabilities=likely
    )
    if shape is None:
        return replace(real, reason="its shape is not known before it is computed")
    if prod(shape[1:] if batched else shape) == 1:
        return replace(real, reason="it is one value per sample")
    axis = origin.axis
    if axis is None or (axis == 0 and batched):
        axis = _usual_axis(len(shape))
    if shape[axis] == 1:
        return replace(real, reason="it is one value per position")
    reason = origin.no_scores
    if not reason and not origin.softmax:
        reason = _made_again(graph, shape)
    kind = Kind.REAL if reason else Kind.CLASSES
    return replace(real, kind=kind, axis=axis, classes=shape[axis], reason=reason)


def _made_again(graph: Graph, shape: tuple[int, ...]) -> str:
    """Why an output of this shape holds no scores; empty where nothing says so.

    Autoencoders, filters of images and encoders give back what has the shape of their input.
    """
    for name in graph.inputs:
        given = graph.types[name]
        if "float" in given.dtype and given.shape == shape:
            return f"it has the shape of input {name!r}"
    return ""


def _is_batched(graph: Graph, name: str, shape: tuple[int, ...] | None) -> bool:
    """Whether the first axis counts the samples of a run, as that of the first input does."""
    if not shape or name in graph.dynamic_batch:
        return bool(shape)
    first = graph.types[graph.inputs[0]].shape if graph.inputs else None
    return shape[0] == (first[0] if first else 1)


def _usual_axis(rank: int) -> int:
    """Where nothing is known: channels of images come second, classes of all else last."""
    return 1 if rank >= 4 else rank - 1


def _beside(
    graph: Graph,
    judge: Judge,
    own: Mapping[str, Judge],
    origins: Mapping[str, OutputOrigin],
    shapes: Shapes,
) -> Judge:
    """What follows for scores from the other outputs: boxes beside scores, features below them."""
    if judge.kind is not Kind.CLASSES or len(own) == 1:
        return judge
    origin = origins[judge.output]
    for name, other in own.items():
        if name == judge.output or other.axis is None or name not in shapes:
            continue
        if judge.output in _below(graph, origins[name]):
            return _real(judge, f"output {name!r} is computed from it")
        if origin.softmax or origin.sigmoid or judge.output in origins[name].way:
            continue
        places = _positions(judge, shapes)
        if _positions(other, shapes) != places or other.classes == judge.classes:
            continue
        scored = origins[name].softmax or origins[name].sigmoid
        box = judge.classes == _COORDINATES
        if box or (scored and places > 1):
            return _real(judge, f"it has the positions of output {name!r} and other values")
    return judge


def _real(judge: Judge, reason: str) -> Judge:
    return replace(judge, kind=Kind.REAL, reason=reason)


def _positions(judge: Judge, shapes: Shapes) -> int:
    shape = shapes[judge.output]
    return prod(shape[1:] if judge.batched else shape) // max(1, judge.classes or 1)


def _below(graph: Graph, origin: OutputOrigin) -> frozenset[str]:
    """Tensors that the operator where a way ends is computed from."""
    if origin.ends_at is None:
        return frozenset()
    producers = {name: node for node in graph.nodes for name in node.outputs if name}
    waiting, seen = list(origin.ends_at.inputs), set()
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(producers[name].inputs if name in producers else ())
    return frozenset(seen)
