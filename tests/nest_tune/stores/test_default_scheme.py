"""What default schemes are stored for."""

from __future__ import annotations

from nest_tune.stores.default_scheme import _on_units


def test_the_core_of_a_unit_makes_no_difference_but_the_numbers_of_the_cpu_do() -> None:
    given = {"a": "vta1", "b": "vta-rows", "c": "cpu", "d": "cpu:int8"}
    assert _on_units(given, None) == {"a": "vta", "b": "vta", "c": "cpu", "d": "cpu:int8"}
