"""What was asked for last stays, within its bound."""

from __future__ import annotations

import random

from compiler_core.recent import Recent


def test_what_was_not_asked_for_longest_goes_first() -> None:
    recent: Recent[str] = Recent(3)
    for key in "abc":
        recent.keep(key, key.upper())
    assert recent.get("a") == "A"
    recent.keep("d", "D")
    assert [recent.get(key) for key in "abcd"] == ["A", None, "C", "D"]


def test_weights_stay_within_the_bound() -> None:
    draw, recent, weights = random.Random(3), Recent[int](100), dict[int, int]()
    for key in range(300):
        weights[key] = draw.randrange(1, 60)
        recent.keep(key, key, weights[key])
        assert recent.get(key) == key
        held = [own for own in weights if recent.get(own) is not None]
        assert sum(weights[own] for own in held) <= 100
        recent.get(key)


def test_what_is_too_large_stays_until_the_next() -> None:
    recent: Recent[str] = Recent(3)
    recent.keep("a", "A")
    recent.keep("large", "L", 10)
    assert [recent.get("a"), recent.get("large")] == [None, "L"]
    recent.keep("b", "B")
    assert [recent.get("large"), recent.get("b")] == [None, "B"]


def test_the_first_value_of_a_key_stays() -> None:
    recent: Recent[str] = Recent(3)
    recent.keep("a", "A")
    recent.keep("a", "B", 2)
    assert recent.get("a") == "A"
