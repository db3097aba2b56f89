"""Profiles are gathered once."""

from __future__ import annotations

import numpy as np
import pytest

from compiler_core.graph.ir import Graph, Node, TensorType
from compiler_core.quantize import profile as profiles
from nest_tune.stores import profile_store
from nest_tune.stores.profile_store import stored_profile


@pytest.fixture
def graph():
    types = {"x": TensorType("float32", (1, 4)), "y": TensorType("float32", (1, 4))}
    node = Node("relu", "Relu", ("x",), ("y",))
    return Graph("small", ("x",), ("y",), (node,), {}, types, {"": 17}, (), frozenset(types))


@pytest.fixture
def gathered(monkeypatch, tmp_path):
    """How often statistics were gathered."""
    calls = []

    def counting(*arguments, **options):
        calls.append(arguments)
        return profiles.profile_model(*arguments, **options)

    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(profile_store, "profile_model", counting)
    return calls


def test_found_again_by_model_data_and_sizes(graph, gathered, tmp_path):
    x = np.random.default_rng(0).standard_normal((6, 4)).astype(np.float32)
    first = stored_profile(graph, {"x": x})
    again = stored_profile(graph, {"x": x.copy()})
    assert len(gathered) == 1
    assert (again.model_digest, again.data_digest) == (first.model_digest, first.data_digest)
    for size, known in first.sizes.items():
        for name, item in known.items():
            other = again.sizes[size][name]
            assert (other.low, other.high) == (item.low, item.high)
            np.testing.assert_array_equal(other.positive.counts, item.positive.counts)
    stored_profile(graph, {"x": x + 1})
    stored_profile(graph, {"x": x}, [2])
    assert len(gathered) == 3
    assert len(list((tmp_path / "cache" / "profiles").iterdir())) == 3


def test_damaged_files_are_gathered_again(graph, gathered, tmp_path):
    x = np.ones((2, 4), np.float32)
    stored_profile(graph, {"x": x})
    (path,) = (tmp_path / "cache" / "profiles").iterdir()
    path.write_bytes(b"damaged")
    assert stored_profile(graph, {"x": x}).samples == 2
    stored_profile(graph, {"x": x})
    assert len(gathered) == 2


def test_a_cache_that_cannot_be_written_costs_only_time(graph, gathered, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "file"))
    for _ in range(2):
        assert stored_profile(graph, {"x": np.ones((2, 4), np.float32)}).samples == 2
    assert len(gathered) == 2
