"""Reconstructions are made once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.quantize import reconstruction
from compiler_core.quantize.apply import apply_profile
from compiler_core.quantize.assignment import default_assignment
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.profile import profile_model
from compiler_core.quantize.scheme import QuantizationScheme, WeightRounding
from compiler_core.quantize.text import quantized_digest
from nest_tune.stores import reconstruction_store
from nest_tune.stores.reconstruction_store import stored_reconstruction

GPTQ = QuantizationScheme(weight_rounding=WeightRounding.GPTQ)


@pytest.fixture
def graph():
    weight = np.random.default_rng(0).standard_normal((5, 3, 1, 1)).astype(np.float32)
    types = {
        "x": TensorType("float32", (1, 3, 4, 4)),
        "w": TensorType("float32", weight.shape),
        "y": TensorType("float32", (1, 5, 4, 4)),
    }
    node = Node("conv", "Conv", ("x", "w"), ("y",))
    batched = frozenset(("x", "y"))
    return Graph("small", ("x",), ("y",), (node,), {"w": weight}, types, {"": 17}, (), batched)


@pytest.fixture
def made(monkeypatch, tmp_path):
    """How often weights were found."""
    calls = []

    def counting(*arguments):
        calls.append(arguments)
        return reconstruction.reconstruct(*arguments)

    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(reconstruction_store, "reconstruct", counting)
    return calls


def digest(graph, x, scheme=GPTQ):
    profile = profile_model(graph, {"x": x})
    units = default_assignment(graph)
    kept = stored_reconstruction(profile, scheme)
    applied = apply_profile(graph, units, profile, scheme, kept)
    return quantized_digest(applied.quantized)


def samples(seed):
    return np.random.default_rng(seed).standard_normal((6, 3, 4, 4)).astype(np.float32)


def test_found_again_by_what_it_depends_on(graph, made):
    first = digest(graph, samples(1))
    assert digest(graph, samples(1)) == first
    assert len(made) == 1
    assert digest(graph, samples(2)) != first
    assert digest(graph, samples(1), replace(GPTQ, granularity=Granularity.CHANNEL)) != first
    changed = replace(graph, constants={"w": graph.constants["w"] * np.float32(1.0001)})
    digest(changed, samples(1))
    assert len(made) == 4


@pytest.mark.parametrize("damage", ["text", "other", "missing"])
def test_damaged_files_count_as_none(graph, made, tmp_path, damage):
    first = digest(graph, samples(1))
    (path,) = (tmp_path / "cache" / "reconstructions").iterdir()
    if damage == "text":
        path.write_bytes(b"no archive")
    elif damage == "other":
        np.savez(path, **{"0.weight": np.zeros((5, 3, 1, 1)), "0.bias": np.zeros(5, np.int32)})
    else:
        np.savez(path, **{"0.weight": np.zeros((5, 3, 1, 1), np.int8)})
    assert digest(graph, samples(1)) == first
    assert len(made) == 2


def test_a_folder_that_cannot_be_written_only_costs_time(graph, made, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    first = digest(graph, samples(1))
    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "file" / "cache"))
    assert digest(graph, samples(1)) == first
    assert len(made) == 2


def test_layers_before_a_change_are_found_again(graph, monkeypatch, tmp_path):
    """Of two layers, the second one's weights alone differ: the first is found, and nothing changes
    by that."""
    second = np.random.default_rng(5).standard_normal((4, 5, 1, 1)).astype(np.float32)
    types = {**graph.types, "v": TensorType("float32", second.shape)}
    types["z"] = TensorType("float32", (1, 4, 4, 4))

    def deep(weight):
        nodes = (*graph.nodes, Node("last", "Conv", ("y", "v"), ("z",)))
        constants = {**graph.constants, "v": weight}
        return replace(
            graph,
            outputs=("z",),
            nodes=nodes,
            types=types,
            constants=constants,
            dynamic_batch=frozenset(("x", "y", "z")),
        )

    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))
    solved = []
    original = reconstruction._Walk._found

    def counting(self, step, operator):
        solved.append(operator.name)
        return original(self, step, operator)

    monkeypatch.setattr(reconstruction._Walk, "_found", counting)
    one, other = deep(second), deep(second * np.float32(1.7))
    digest(one, samples(1))
    assert solved == ["conv", "last"]
    found = digest(other, samples(1))
    assert solved == ["conv", "last", "last"]
    monkeypatch.setattr(reconstruction_store._Layers, "find", lambda _self, _key: None)
    for path in (reconstruction_store.cache_folder() / "reconstructions").glob("*"):
        path.unlink()
    assert digest(other, samples(1)) == found
    assert solved == ["conv", "last", "last", "conv", "last"]


def test_a_damaged_layer_counts_as_none(graph, made):
    first = digest(graph, samples(1))
    folder = reconstruction_store.cache_folder()
    (layer,) = (folder / "rounded-layers").glob("*.npz")
    layer.write_bytes(b"torn")
    for path in (folder / "reconstructions").glob("*"):
        path.unlink()
    assert digest(graph, samples(1)) == first
    assert len(made) == 2
