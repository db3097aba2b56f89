"""The default pipeline of passes, applied until nothing changes."""

from __future__ import annotations

from collections.abc import Sequence

from compiler_core.graph.demand import check_demand
from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.activation_fusion import ActivationFusion
from compiler_core.graph.passes.array_features import ArrayFeatures
from compiler_core.graph.passes.batch_norm import BatchNormFolding, BatchNormToConv
from compiler_core.graph.passes.blocked_channels import BlockedChannels
from compiler_core.graph.passes.casts_by_example import CastsByExample
from compiler_core.graph.passes.channel_affine import ChannelAffineFolding
from compiler_core.graph.passes.common_subexpressions import CommonSubexpressions
from compiler_core.graph.passes.constant_branches import ConstantBranches
from compiler_core.graph.passes.constant_folding import Allowance, ConstantFolding
from compiler_core.graph.passes.dead_code import DeadCode
from compiler_core.graph.passes.dense import DenseForming
from compiler_core.graph.passes.einsum import EinsumProducts
from compiler_core.graph.passes.equal_constants import EqualConstants
from compiler_core.graph.passes.explicit_windows import ExplicitWindows
from compiler_core.graph.passes.followed_shapes import FollowedShapes
from compiler_core.graph.passes.global_pooling import GlobalPooling
from compiler_core.graph.passes.half_precision import HalfToFloat
from compiler_core.graph.passes.identities import Identities
from compiler_core.graph.passes.joint_projection import JointProjection
from compiler_core.graph.passes.leading_batch import LeadingBatch
from compiler_core.graph.passes.pad_folding import PadFolding
from compiler_core.graph.passes.prequantized import IntegerOperators, QuantizationRemoval
from compiler_core.graph.passes.quantized_weights import QuantizedWeights
from compiler_core.graph.passes.reshape_merging import ReshapeMerging
from compiler_core.graph.passes.rewriter import GraphPass
from compiler_core.graph.passes.runtime_fusions import RuntimeFusions
from compiler_core.graph.passes.scalar_factors import ScalarFactors
from compiler_core.graph.passes.scalar_operands import ScalarOperands
from compiler_core.graph.passes.sequences import Sequences
from compiler_core.graph.passes.single_steps import SingleSteps
from compiler_core.graph.passes.split_channels import SplitChannels
from compiler_core.graph.passes.transposed_convolution import TransposedConvolution
from compiler_core.graph.passes.transposes import TransposeMerging, TransposePushing
from compiler_core.graph.passes.unrolled_loops import UnrolledLoops
from compiler_core.graph.passes.volume_convolution import VolumeConvolution
from compiler_core.graph.passes.written_functions import WrittenFunctions
from compiler_core.graph.reader import ImportLimits
from compiler_core.graph.shapes import fix_batch, infer_again

_MAX_ROUNDS = 50

FOLDING: tuple[GraphPass, ...] = (
    HalfToFloat(),
    IntegerOperators(),
    QuantizationRemoval(),
    QuantizedWeights(),
    BlockedChannels(),
    RuntimeFusions(),
    WrittenFunctions(frozenset(("Attention",))),
    ArrayFeatures(),
    CastsByExample(),
    ConstantFolding(),
    ConstantBranches(),
    UnrolledLoops(),
    Sequences(),
    ScalarOperands(),
    DeadCode(),
    Identities(),
    ExplicitWindows(),
    ReshapeMerging(),
    TransposeMerging(),
    TransposePushing(),
    LeadingBatch(),
    PadFolding(),
    GlobalPooling(),
    BatchNormFolding(),
    EinsumProducts(),
    DenseForming(),
    ChannelAffineFolding(),
    ScalarFactors(),
    ActivationFusion(),
)
"""Passes that make a graph smaller or more uniform, in the order of one round."""

LATE: tuple[GraphPass, ...] = (
    CommonSubexpressions(),
    BatchNormToConv(),
    TransposedConvolution(),
    VolumeConvolution(),
    SingleSteps(),
    JointProjection(),
    SplitChannels(),
)
"""Passes for what is left when folding has ended."""


def simplify(graph: Graph) -> Graph:
    """Apply the default passes to a fixed point: same function, fewer kinds of operators.

    Folding and shape inference take turns, because each finds what the other needs. A graph that
    depends on its batch by more than leading axes becomes one for a single sample.

    Raises:
        InputError: Shapes that only now are known ask for more than a model may.
    """
    folding = _folding(graph)
    graph = _fold(graph, folding)
    fixed = fix_batch(graph)
    if fixed is not graph:
        graph = _fold(fixed, folding)
    for late in LATE:
        graph = late.apply(graph)
    graph = EqualConstants().apply(run_passes(graph, folding))
    check_demand(graph, ImportLimits())
    return graph


def folded_as_it_is(graph: Graph) -> Graph:
    """A simplified graph that was changed, made small and uniform again; its loops stay loops."""
    return run_passes(graph, [one for one in _folding(graph) if not isinstance(one, UnrolledLoops)])


def _folding(graph: Graph) -> tuple[GraphPass, ...]:
    """:data:`FOLDING` with what it may take for a model in all."""
    bounded = ConstantFolding(allowance=Allowance.of(graph))
    return tuple(bounded if isinstance(one, ConstantFolding) else one for one in FOLDING)


def _fold(graph: Graph, folding: Sequence[GraphPass]) -> Graph:
    for _ in range(_MAX_ROUNDS):
        graph = run_passes(graph, folding)
        inferred = infer_again(FollowedShapes().apply(graph))
        if inferred is graph:
            break
        graph = inferred
    return graph


def run_passes(graph: Graph, passes: Sequence[GraphPass], *, rounds: int = _MAX_ROUNDS) -> Graph:
    """Apply ``passes`` round after round until a round changes nothing, ``rounds`` at most."""
    for _ in range(rounds):
        before = graph
        for step in passes:
            graph = step.apply(graph)
        if graph is before:
            break
    return graph
