"""Samples cut into runs, against plain indexing."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph, TensorType
from compiler_core.graph.sampling import (
    check_samples,
    count_samples,
    join,
    model_batch,
    runs,
    spread,
    take,
)

Shape = tuple[int, ...]


def model(shapes: dict[str, Shape], dynamic: frozenset[str] = frozenset()) -> Graph:
    types = {name: TensorType("float32", shape) for name, shape in shapes.items()}
    return Graph("m", tuple(shapes), (), (), {}, types, {"": 17}, dynamic_batch=dynamic)


@given(
    shapes=st.lists(
        st.lists(st.integers(1, 3), max_size=3).map(tuple), min_size=1, max_size=3
    ).filter(any),
    count=st.integers(1, 4),
)
def test_runs_get_what_a_stack_of_runs_holds(shapes: list[Shape], count: int) -> None:
    graph = model({f"i{number}": shape for number, shape in enumerate(shapes)})
    random = np.random.default_rng(0)
    stacked = {
        name: random.standard_normal((count, *(graph.types[name].shape or ()))).astype(np.float32)
        for name in graph.inputs
    }
    samples = spread(graph, stacked)
    assert check_samples(graph, samples) == count * model_batch(graph)
    fed = list(runs(graph, samples))
    assert len(fed) == count
    for run, feeds in enumerate(fed):
        for name, array in feeds.items():
            assert array.shape == graph.types[name].shape
            assert np.array_equal(array, stacked[name][run])
    batch = model_batch(graph)
    for first in range(count):
        part = take(graph, samples, first * batch, count * batch)
        assert count_samples(graph, part) == (count - first) * batch


def test_what_is_no_batch_is_given_once_for_all_runs() -> None:
    graph = model({"x": (1, 2), "gain": (), "state": (2, 1, 3)})
    state = np.arange(6, dtype=np.float32).reshape(2, 1, 3)
    given_ = {"x": np.zeros((3, 2), np.float32), "gain": np.float32(5).reshape(()), "state": state}
    fed = list(runs(graph, spread(graph, given_)))
    assert len(fed) == 3
    assert all(np.array_equal(feeds["state"], state) and feeds["gain"] == 5 for feeds in fed)


def test_a_dynamic_axis_takes_any_number() -> None:
    graph = model({"x": (1, 2)}, frozenset({"x"}))
    samples = spread(graph, {"x": np.zeros((5, 2), np.float32)})
    assert check_samples(graph, samples) == 5
    assert [feeds["x"].shape for feeds in runs(graph, samples)] == [(1, 2)] * 5


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": np.zeros((3, 2), np.float32), "z": np.zeros((4, 2), np.float32)}, "3, 4 samples"),
        ({"x": np.zeros((3, 2), np.float32), "z": np.zeros((1, 2), np.float32)}, "1, 3 samples"),
        ({"x": np.zeros((3, 5), np.float32), "z": np.zeros((3, 2), np.float32)}, "shape"),
        ({"x": np.zeros((0, 2), np.float32), "z": np.zeros((0, 2), np.float32)}, "at least 1"),
    ],
)
def test_inputs_that_do_not_go_together_are_refused(
    arrays: dict[str, np.ndarray], words: str
) -> None:
    graph = model({"x": (1, 2), "z": (1, 2)})
    with pytest.raises(InputError, match=words):
        check_samples(graph, spread(graph, arrays))


def test_joining_makes_scalars_a_vector_and_follows_the_axis() -> None:
    assert np.array_equal(join([np.array(1.0), np.array(2.0)]), [1, 2])
    parts = [np.full((4, 1, 2), value) for value in range(3)]
    assert join(parts, 1).shape == (4, 3, 2)


def test_a_first_axis_that_is_no_batch_is_told() -> None:
    graph = model({"x": (30, 1, 20)})
    steps_first = np.zeros((30, 16, 20), np.float32)
    with pytest.raises(InputError, match=r"expected \(runs, 30, 1, 20\)") as caught:
        check_samples(graph, spread(graph, {"x": steps_first}))
    assert "moveaxis" in str(caught.value.hint)
    moved = np.moveaxis(steps_first, 1, 0)[:, :, None]
    assert check_samples(graph, spread(graph, {"x": moved})) == 16 * 30
    with pytest.raises(InputError, match=r"expected \(samples, 4\)"):
        check_samples(model({"x": (1, 4)}), {"x": np.zeros((3, 5), np.float32)})


@pytest.mark.parametrize(
    ("shape", "given", "words"),
    [
        ((1, 3, 8, 8), (5, 8, 8, 3), r"numpy.transpose\(x, \(0, 3, 1, 2\)\)"),
        ((1, 2, 3, 4), (5, 4, 2, 3), r"numpy.transpose\(x, \(0, 2, 3, 1\)\)"),
        ((1, 3, 8, 8), (3, 8, 8), r"x\[None\]"),
        ((10, 3, 8, 8), (16, 3, 20, 20), "--shape x=1,3,20,20"),
        ((1, 3, 8, 8), (16, 3, 20, 20), "--shape x=1,3,20,20"),
    ],
)
def test_a_wrong_shape_says_what_would_be_right(
    shape: tuple[int, ...], given: tuple[int, ...], words: str
) -> None:
    """Channels last, a sample without its axis, a file made for another size."""
    with pytest.raises(InputError) as caught:
        check_samples(model({"x": shape}), {"x": np.zeros(given, np.float32)})
    assert re.search(words, str(caught.value.hint))
    found = re.search(r"transpose\(x, (.*)\)$", str(caught.value.hint))
    if found is not None:
        order = tuple(map(int, found[1].strip("()").split(",")))
        assert np.zeros(given).transpose(order).shape[1:] == shape[1:]


@pytest.mark.parametrize(("batch", "rows"), [(17, 3), (4, 6), (3, 2), (49, 48)])
def test_a_part_of_a_batch_is_refused(batch: int, rows: int) -> None:
    with pytest.raises(InputError, match=f"multiple of the model's batch {batch}"):
        check_samples(model({"x": (batch, 4)}), {"x": np.zeros((rows, 4), np.float32)})
