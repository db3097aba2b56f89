"""Models that are quantized already, beside the real numbers that were read from them.

What such a model says is what a runtime computes from its integers. Everything that is measured
later stands beside the real numbers that its operators were read as: an operator that is read
wrongly would be seen by nobody. So both are run once.
"""

from __future__ import annotations

from compiler_core.accuracy.float_model import stacked
from compiler_core.accuracy.judge import judges
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.sampling import check_samples, choose, join, runs
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.good_enough import is_ruin, reason_against
from compiler_core.quantize.quality import Samples, measured_runs, output_quality

_MOST_RUNS = 8
"""Of each of the two: enough to see what is read wrongly."""
_LINEAR = ("QuantizeLinear", "DequantizeLinear", "QLinear", "DynamicQuantize")
_OF_INTEGERS = ("Integer", "IntegerToFloat", "IntegerBias", "NBits")


def holds_integers(graph: Graph) -> bool:
    """Whether a graph, as it was imported, computes on integers of its own scales."""
    return any(_is_quantized(node) for node in graph.nodes)


def _is_quantized(node: Node) -> bool:
    own = node.domain == "com.microsoft" and node.op[:1] == "Q" and node.op[1:2].isupper()
    return own or node.op.startswith(_LINEAR) or node.op.endswith(_OF_INTEGERS)


def reason_misread(own: Graph, graph: Graph, samples: Samples, *, threads: int = 1) -> str:
    """Why the real numbers that were read from a quantized model do not stand for it.

    Args:
        own: As it was imported, its integers with it.
        graph: The real numbers: simplified.
        samples: Calibration data, array per input.
        threads: Threads of onnxruntime.

    Returns:
        Nothing where they do but for what rounding may do, or where that cannot be told.
    """
    try:
        count = check_samples(graph, samples)
        most = measured_runs(graph, count)
        chosen = choose(graph, samples, most[:: -(-len(most) // _MOST_RUNS)])
        count = check_samples(graph, chosen)
        known = judges(graph)
        found = []
        # Rewritten by onnxruntime, integers would saturate on processors without dot products.
        for model, optimize in ((own, False), (graph, True)):
            session = FloatSession(
                model, list(known), inputs=graph.inputs, threads=threads, optimize=optimize
            )
            results = [session.run(feeds) for feeds in runs(graph, chosen)]
            joined = {name: join([result[name] for result in results]) for name in known}
            found.append(dict(stacked(graph, joined, list(known), count)))
    except InputError:
        return ""
    theirs, ours = found
    qualities = [
        output_quality(judge, ours[name], theirs[name], count)
        for name, judge in known.items()
        if ours[name].dtype != object and ours[name].size and ours[name].shape == theirs[name].shape
    ]
    # The rounding of the model itself may lose more than ours would be allowed to.
    measured = [quality for quality in qualities if quality is not None]
    return reason_against(measured) if is_ruin(measured) else ""
