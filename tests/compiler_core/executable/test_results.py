"""Outputs as arrays that a file can hold."""

from __future__ import annotations

import numpy as np

from compiler_core.executable.results import as_text, flat_outputs
from compiler_core.graph.containers import objects
from compiler_core.graph.sampling import join, join_blocks

A, B = np.zeros((2, 3)), np.ones((1, 3))


def test_names_say_run_and_element() -> None:
    found = flat_outputs(
        {
            "plain": A,
            "ragged": objects([A, B]),
            "sequence": objects([[A, B]]),
            "sequences": objects([[A], [], [A, B]]),
            "absent": objects([None]),
        }
    )
    assert list(found) == [
        "plain", "ragged/0", "ragged/1", "sequence/0", "sequence/1",
        "sequences/0/0", "sequences/2/0", "sequences/2/1",
    ]  # fmt: skip
    np.testing.assert_array_equal(found["sequences/2/1"], B)


def test_text_is_numpys_own() -> None:
    found = as_text(np.array([["a", b"bc"]], object))
    assert found.dtype == "<U2"
    assert found.tolist() == [["a", "bc"]]
    assert as_text(np.empty((0, 2), object)).shape == (0, 2)


def test_equal_shapes_are_joined_and_others_are_kept() -> None:
    np.testing.assert_array_equal(join([A, A]), np.zeros((4, 3)))
    assert [part.shape for part in join([A, B])] == [(2, 3), (1, 3)]
    assert join([A]) is A


def test_blocks_are_joined_as_their_runs_would_be() -> None:
    same = join_blocks([join([A, A]), join([A])], [2, 1])
    assert same.shape == (6, 3)
    for blocks in ([join([A, A]), join([B])], [join([A, B]), join([A])]):
        found = join_blocks(blocks, [2, 1])
        assert found.shape == (3,)
        assert all(isinstance(item, np.ndarray) for item in found)
    np.testing.assert_array_equal(join_blocks([join([A, A]), join([B])], [2, 1])[2], B)
