"""Operators that generated sources have no kernel for, as others that they have.

It is no part of :func:`~compiler_core.graph.passes.simplify.simplify`: where a runtime has the
operator, one is better than several.

| operator | becomes |
|---|---|
| PRelu with a slope per channel | x where positive, plus slope times x where negative |
| Tan, Sinh, Asin, Acosh … | their formulas of Sin, Exp, Log, Sqrt, Atan |
| LogSoftmax | x less its maximum, less the logarithm of the sum of exponentials |
| Hardmax | OneHot of ArgMax |
| InstanceNormalization | LayerNormalization of channels, scale, bias; before opset 17 by means |
| LayerNormalization of several axes | that of one |
| Sum, Mean, Max, Min of several | one pair after another |
| ReduceL1, -L2, -SumSquare, -LogSum, -LogSumExp | ReduceSum between functions of one element |
| LpNormalization | x divided by ReduceL1 or ReduceL2, or the smallest number |
| LpPool, LRN | AveragePool of powers |
| Add of a constant that holds −∞ | Where: the sum, or −∞ |
| IsNaN, IsInf, Cast to bool | comparisons |
| Split and Concat with parts of no elements | those without them |
| Celu | Elu between two factors |
| BatchNormalization that no layer took | a depthwise convolution of one tap; Mul and Add |
| Pad by reflection, edges or the other end | Gather along each axis |
| GatherND, Scatter… at constant places, Compress, ReverseSequence | Gather of what lies flat |
| the same at computed places, or of several; TensorScatter | Gather, ScatterND of rows |
| Shape, Size, EyeLike | constants |
| Trilu | Where a constant says so |
| Gemm of a transposed input, MatMul of a vector | Gemm, MatMul |
| STFT of real signals, DFT | MatMul with waves |
| Col2Im | ConvTranspose with ones |
| Einsum of one operand or of many | Mul of what broadcasts, ReduceSum |
| Scaler of classical learners | x less an offset, times a scale |
| Normalizer of classical learners, L1 and L2 | as LpNormalization |
| LinearRegressor, LinearClassifier | Gemm; Softmax or Sigmoid; the label is ArgMax and Gather |
| SVMClassifier, SVMRegressor | Gemm and functions of one element; see :mod:`.machines` |
| Imputer, LabelEncoder of whole numbers | Where; Gather from a table |
| TreeEnsembleClassifier | sums over trees and the same; see :mod:`.trees` |
| MaxPool, AveragePool, global pools, Conv over volumes | those over images |
| what ONNX defines by others | those |
| Loop and Scan that keep nothing from time to time | their nodes, of one axis more |
| Loop and Scan of a known number of times | their nodes, time after time |
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.learner_types import DOMAIN
from compiler_core.graph.passes.loops_at_once import LoopsAtOnce
from compiler_core.graph.passes.rewriter import Rewriter, is_op
from compiler_core.graph.passes.simplify import simplify
from compiler_core.graph.passes.unrolled_loops import UnrolledLoops
from compiler_core.graph.passes.volume_convolution import VolumeConvolution
from compiler_core.graph.passes.written_functions import WrittenFunctions
from compiler_core.graph.spelled import (
    computed_places,
    elements,
    known,
    learners,
    machines,
    moves,
    normalizations,
    pools,
    products,
    reductions,
    volumes,
)
from compiler_core.graph.spelled.einsum import einsum
from compiler_core.graph.spelled.masks import masked_sum
from compiler_core.graph.spelled.spelling import Spelling
from compiler_core.graph.spelled.trees import tree_classifier, tree_regressor

Way = Callable[[Spelling], bool]

_MOST_ROUNDS = 8
"""What functions are made of may be spelled out again."""

_FUNCTIONS = frozenset(
    (
        *("AffineGrid", "Attention", "CausalConvWithState", "CenterCropPad", "FlexAttention"),
        *("BlackmanWindow", "HammingWindow", "HannWindow", "LinearAttention"),
        *("GroupNormalization", "MeanVarianceNormalization", "RMSNormalization"),
        *("NegativeLogLikelihoodLoss", "RotaryEmbedding", "SoftmaxCrossEntropyLoss"),
    )
)
"""What ONNX defines by others and nobody has whole. Other functions of it (Relu, Softmax, Gelu …)
have kernels, or are spelled out with fewer operators than the standard takes."""

LOOPS = UnrolledLoops(most_times=256, most_nodes=4000)
"""What becomes of loops."""

_PASSES = (
    VolumeConvolution(least_products=0),
    WrittenFunctions(_FUNCTIONS),
    LoopsAtOnce(),
    LOOPS,
)


def spelled_out(graph: Graph) -> Graph:
    """The graph without these operators, simplified; where a shape is not fixed they stay."""
    for _ in range(_MOST_ROUNDS):
        work = graph
        for step in (SpelledOut(), *_PASSES):
            work = step.apply(work)
        if work is graph:
            break
        graph = simplify(work)
    return graph


@dataclass(frozen=True)
class SpelledOut:
    """The pass."""

    name: ClassVar[str] = "spelled-out"

    def apply(self, graph: Graph) -> Graph:
        """See :class:`compiler_core.graph.passes.rewriter.GraphPass`."""
        work = Rewriter(graph)
        for node in work.nodes():
            way = _way(work, node)
            shape = work.shape(node.inputs[0]) if way is not None else None
            if way is not None and shape is not None and way(Spelling(work, node, shape)):
                work.changed = True
        return work.finish()


def _way(work: Rewriter, node: Node) -> Way | None:
    """What spells a node out."""
    if not node.inputs:
        return None
    if is_op(node, *_MOVES):
        return _MOVES[node.op]
    if node.domain == DOMAIN and node.op in _OF_NUMBERS:
        return _OF_NUMBERS[node.op]
    if work.dtype(node.inputs[0]) != "float32":
        return None
    if node.domain == DOMAIN:
        return _LEARNERS.get(node.op)
    return _WAYS[node.op] if is_op(node, *_WAYS) else None


def _either(*ways: Way) -> Way:
    """The first way that there is."""

    def way(spelling: Spelling) -> bool:
        return any(one(spelling) for one in ways)

    return way


_MOVES: dict[str, Way] = {
    "Cast": elements.to_truth,
    "Compress": moves.compressed,
    "EyeLike": known.eye_like,
    "GatherElements": _either(moves.gathered_elements, computed_places.gathered_elements),
    "GatherND": _either(moves.gathered_parts, computed_places.gathered_parts),
    "Concat": moves.joined,
    "Dropout": elements.without_dropping,
    **dict.fromkeys(("Max", "Min"), elements.several),
    "Pad": moves.pad,
    "ReverseSequence": moves.reversed_sequences,
    "Scatter": _either(moves.scattered_elements, computed_places.scattered_elements),
    "ScatterElements": _either(moves.scattered_elements, computed_places.scattered_elements),
    "ScatterND": _either(moves.scattered_parts, computed_places.scattered_parts),
    "Shape": known.shape,
    "Size": known.size,
    "Split": moves.split,
    "TensorScatter": computed_places.cache_update,
    "Trilu": moves.triangle,
}
"""Of elements of any type."""

_REDUCTIONS = (
    *("ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp"),
    *("ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum"),
)

_WAYS: dict[str, Way] = {
    "Add": masked_sum,
    **dict.fromkeys(("AveragePool", "MaxPool"), volumes.volume_pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), volumes.global_volume_pool),
    "BatchNormalization": normalizations.batch_normalization,
    "Celu": elements.celu,
    "Col2Im": products.columns_to_image,
    "DFT": products.fourier,
    "Einsum": einsum,
    "Equal": elements.infinite,
    "Gemm": products.gemm,
    "Hardmax": reductions.hardmax,
    "InstanceNormalization": normalizations.instance_normalization,
    "IsInf": elements.is_infinite,
    "IsNaN": elements.is_nan,
    "LRN": pools.local_response,
    "LayerNormalization": normalizations.layer_normalization,
    "LogSoftmax": reductions.log_softmax,
    "LpNormalization": reductions.lp_normalization,
    "LpPool": pools.power_pool,
    "MatMul": products.matmul,
    **dict.fromkeys(("Sum", "Mean"), elements.several),
    "Pow": elements.power,
    "PRelu": elements.slopes,
    **dict.fromkeys(_REDUCTIONS, reductions.reduced),
    "STFT": products.short_time_fourier,
    **dict.fromkeys(elements.FORMULAS, elements.formula),
}

_OF_NUMBERS: dict[str, Way] = {
    "LabelEncoder": learners.encoder,
    "OneHotEncoder": learners.categories,
}
"""Learners of whole or real numbers."""

_LEARNERS: dict[str, Way] = {
    "Binarizer": elements.binarized,
    "Imputer": learners.imputer,
    "LinearClassifier": learners.linear_classifier,
    "LinearRegressor": learners.linear_regressor,
    "Normalizer": learners.normalizer,
    "SVMClassifier": machines.vector_classifier,
    "SVMRegressor": machines.vector_regressor,
    "Scaler": learners.scaler,
    "TreeEnsembleClassifier": tree_classifier,
    "TreeEnsembleRegressor": tree_regressor,
}
