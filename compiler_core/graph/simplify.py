"""The default pipeline of passes, applied until nothing changes."""

from __future__ import annotations

from collections.abc import Sequence

from compiler_core.graph.ir import Graph
from compiler_core.graph.passes.activation_fusion import ActivationFusion
from compiler_core.graph.passes.batch_norm import BatchNormFolding, BatchNormToConv
from compiler_core.graph.passes.channel_affine import ChannelAffineFolding
from compiler_core.graph.passes.constant_folding import ConstantFolding
from compiler_core.graph.passes.dead_code import DeadCode
from compiler_core.graph.passes.dense import DenseForming
from compiler_core.graph.passes.explicit_windows import ExplicitWindows
from compiler_core.graph.passes.global_pooling import GlobalPooling
from compiler_core.graph.passes.identities import Identities
from compiler_core.graph.passes.pad_folding import PadFolding
from compiler_core.graph.passes.reshape_merging import ReshapeMerging
from compiler_core.graph.passes.rewriter import GraphPass
from compiler_core.graph.passes.transposes import TransposeMerging, TransposePushing

_MAX_ROUNDS = 50

FOLDING: tuple[GraphPass, ...] = (
    ConstantFolding(),
    DeadCode(),
    Identities(),
    ExplicitWindows(),
    ReshapeMerging(),
    TransposeMerging(),
    TransposePushing(),
    PadFolding(),
    GlobalPooling(),
    BatchNormFolding(),
    DenseForming(),
    ChannelAffineFolding(),
    ActivationFusion(),
)
"""Passes that make a graph smaller or more uniform, in the order of one round."""

LATE: tuple[GraphPass, ...] = (BatchNormToConv(),)
"""Passes for what is left when folding has ended."""


def simplify(graph: Graph) -> Graph:
    """Apply the default passes to a fixed point: same function, fewer kinds of operators."""
    graph = run_passes(graph, FOLDING)
    for late in LATE:
        graph = late.apply(graph)
    return run_passes(graph, FOLDING)


def run_passes(graph: Graph, passes: Sequence[GraphPass], *, rounds: int = _MAX_ROUNDS) -> Graph:
    """Apply ``passes`` round after round until a round changes nothing, ``rounds`` at most."""
    for _ in range(rounds):
        before = graph
        for step in passes:
            graph = step.apply(graph)
        if graph is before:
            break
    return graph
