"""What was read from a model, beside what the model says.

A model says what a runtime computes from its operators as they stand in the file. Everything that
is measured later stands beside the graph that they were read as, simplified and, of models that are
quantized already, as real numbers: what is read wrongly would be seen by nobody. So both are run
once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import numpy.typing as npt

from compiler_core.accuracy.float_model import stacked
from compiler_core.accuracy.judge import Judge, judges
from compiler_core.errors import InputError
from compiler_core.graph.chance import depends_on_chance
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.sampling import check_samples, choose, join, runs
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.good_enough import is_ruin, reason_against
from compiler_core.quantize.quality import OutputQuality, Samples, measured_runs, output_quality
from compiler_core.quantize.selections import selected
from compiler_core.quantize.sensitivity import layer_macs

_MOST_RUNS, _MOST_FLOAT_RUNS = 8, 3
"""Of each of the two, of models with integers and of others: enough to see what is read wrongly."""
_MULTIPLICATIONS = 1 << 33
"""Of each of the two, about: large models run once."""
_LEAST_DB = 30.0
"""SQNR of real outputs of float models, which differ by what float32 and float16 round alone."""
_LINEAR = ("QuantizeLinear", "DequantizeLinear", "QLinear", "DynamicQuantize")
_OF_INTEGERS = ("Integer", "IntegerToFloat", "IntegerBias", "NBits")


def holds_integers(graph: Graph) -> bool:
    """Whether a graph, as it was imported, computes on integers of its own scales."""
    return any(_is_quantized(node) for node in graph.nodes)


def _is_quantized(node: Node) -> bool:
    own = node.domain == "com.microsoft" and node.op[:1] == "Q" and node.op[1:2].isupper()
    return own or node.op.startswith(_LINEAR) or node.op.endswith(_OF_INTEGERS)


def reason_misread(imported: Graph, graph: Graph, samples: Samples, *, threads: int = 1) -> str:
    """Why a graph does not stand for the model that it was read from.

    Args:
        imported: The model as it was imported, with its integers.
        graph: What was read from it: simplified.
        samples: Calibration data, array per input.
        threads: Threads of onnxruntime.

    Returns:
        Nothing where it does, but for what rounding may do, or where that cannot be told.
    """
    if depends_on_chance(imported):
        return ""
    quantized = holds_integers(imported)
    try:
        theirs, ours, count = _both(imported, graph, samples, quantized, threads)
    except InputError:
        return ""
    known = {name: judge for name, judge in judges(graph).items() if name in ours}
    measured = list(_measured(known, ours, theirs, count))
    # The rounding of the model itself may lose more than ours would be allowed to. Whatever float
    # rounds last may choose another of two classes that are nearly equal.
    chosen = () if quantized else selected(graph)
    near = [
        item for item in measured if not quantized and not item.exact and item.output not in chosen
    ]
    worst = min(near, key=lambda item: item.sqnr_db, default=None)
    if worst is not None and worst.sqnr_db < _LEAST_DB:
        return f"output {worst.output!r} has SQNR {worst.sqnr_db:.1f} dB"
    rest = [item for item in measured if item not in near]
    return reason_against(rest) if is_ruin(rest) else ""


def _both(
    imported: Graph, graph: Graph, samples: Samples, quantized: bool, threads: int
) -> tuple[Mapping[str, npt.NDArray[np.generic]], Mapping[str, npt.NDArray[np.generic]], int]:
    """Computed outputs of both, and the number of samples."""
    many = measured_runs(graph, check_samples(graph, samples))
    macs = max(1, sum(layer_macs(graph).values()))
    most = min(_MOST_RUNS if quantized else _MOST_FLOAT_RUNS, max(1, _MULTIPLICATIONS // macs))
    chosen = choose(graph, samples, many[:: -(-len(many) // most)])
    count = check_samples(graph, chosen)
    names = list(judges(graph))
    found = []
    # Rewritten by onnxruntime, integers would saturate on processors without dot products.
    for model, optimize in ((imported, False), (graph, True)):
        session = FloatSession(
            model, names, inputs=graph.inputs, threads=threads, optimize=optimize
        )
        results = [session.run(feeds) for feeds in runs(graph, chosen)]
        joined = {name: join([result[name] for result in results]) for name in names}
        found.append(dict(stacked(graph, joined, names, count)))
    return found[0], found[1], count


def _measured(
    known: Mapping[str, Judge],
    ours: Mapping[str, npt.NDArray[np.generic]],
    theirs: Mapping[str, npt.NDArray[np.generic]],
    count: int,
) -> Iterator[OutputQuality]:
    for name, judge in known.items():
        our, their = ours[name], theirs[name]
        if our.dtype == object or not our.size or our.shape != their.shape:
            continue
        quality = output_quality(judge, our, their, count)
        if quality is not None:
            yield quality
