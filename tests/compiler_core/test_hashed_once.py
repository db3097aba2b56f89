"""A dataclass that remembers its hash is the same key as one that does not."""

from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, replace

import pytest

from compiler_core.hashed_once import hashed_once


class Counted:
    """A part that counts how often it is hashed."""

    def __init__(self) -> None:
        self.times = 0

    def __hash__(self) -> int:
        self.times += 1
        return 7


@hashed_once
@dataclass(frozen=True)
class Key:
    name: str
    part: object = None


def test_it_is_hashed_once() -> None:
    key = Key("a", Counted())
    assert hash(key) == hash(key)
    assert isinstance(key.part, Counted)
    assert key.part.times == 1


@pytest.mark.parametrize("again", [copy.copy, lambda key: pickle.loads(pickle.dumps(key))])
def test_copies_compute_their_own(again: object) -> None:
    key = Key("a")
    hash(key)
    other = again(key)  # type: ignore[operator]
    assert "_hash" not in vars(other)
    assert other == key
    assert {key: 1}[other] == 1
    assert replace(key, name="b") not in {key}
