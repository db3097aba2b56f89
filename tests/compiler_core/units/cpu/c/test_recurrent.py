"""Recurrent operators as C: unrolled, with one copy of weights and kernels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from compiler_core.errors import InputError
from compiler_core.graph.passes.unrolled_recurrence import unrolled
from compiler_core.graph.spelled.spelled_out import spelled_out
from compiler_core.units.cpu.c.bundles.bundle import write_bundle
from tests.compiler_core.graph.passes.test_unrolled_recurrence import (
    INPUTS,
    SIZE,
    rare_graph,
    recurrent,
)
from tests.compiler_core.units.cpu.c.cases import joined, ranges_of, samples
from tests.compiler_core.units.cpu.c.made import make_bundle


def test_steps_share_weights_and_kernels(tmp_path: Path, check_bundle: Callable[..., str]) -> None:
    graph = unrolled(recurrent("GRU", linear_before_reset=1))
    bundle = make_bundle(graph, ranges_of(graph), "cell", core="cortex-m4")
    weights = 3 * SIZE * (INPUTS + SIZE)
    stored = [item for item in bundle.sources.constants if item.dtype == "int8"]
    products = [item for item in stored if item.array.size in (3 * SIZE * 4, 3 * SIZE * SIZE)]
    assert sum(item.array.size for item in products) < 2 * weights
    functions = bundle.sources.files["model.c"].count("NT_APART static void")
    assert functions < len(bundle.sources.steps) / 3
    write_bundle(bundle, tmp_path, samples(graph, 3))
    flags = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert "3 of 3" in check_bundle(tmp_path, "gcc", *flags)


def test_same_bits_of_rare_forms(tmp_path: Path, check_bundle: Callable[..., str]) -> None:
    graphs = {
        "lstm": rare_graph("LSTM", "reverse", "computed", peep=True, clip=0.5, input_forget=1),
        "gru": rare_graph("GRU", "forward", (5, 3), activations=["HardSigmoid", "Softsign"]),
    }
    whole = joined({name: spelled_out(unrolled(graph)) for name, graph in graphs.items()})
    bundle = make_bundle(whole, ranges_of(whole), "cells")
    write_bundle(bundle, tmp_path, samples(whole, 3))
    flags = ("-O1", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    assert "3 of 3" in check_bundle(tmp_path, "clang", *flags)


def test_what_is_not_unrolled_says_why() -> None:
    graph = recurrent("LSTM", activations=["Sigmoid", "ScaledTanh", "Tanh"])
    assert unrolled(graph) is graph
    with pytest.raises(InputError, match=r"\(LSTM\) cannot be written as C: its functions"):
        make_bundle(graph, ranges_of(graph), "cell")
