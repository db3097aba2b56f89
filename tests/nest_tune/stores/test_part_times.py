"""Times of operators as records: found again by what was measured, where, and on which machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from compiler_core.clock.machine import ClockMachine
from compiler_core.errors import InputError
from compiler_core.graph.ir import Graph
from compiler_core.precision.parts import PartKey
from compiler_core.units.registry import host_kind
from nest_tune.records.database import RecordDatabase
from nest_tune.records.record import MeasurementOutcome, record_from_plain, record_to_plain
from nest_tune.stores.part_times import RecordedTimer


class CountingTimer:
    """Refuses what ends with ``x``."""

    def __init__(self, model: str = "one") -> None:
        self.machine = ClockMachine(model, "none", "", 1, "rule 1")
        self.measured: list[PartKey] = []

    def times_us(self, parts: Mapping[PartKey, Callable[[], Graph]]) -> Mapping[PartKey, float]:
        self.measured += parts
        return {key: 1.5 + len(key.places) for key in parts if not key.signature.endswith("x")}


def never() -> Graph:
    raise AssertionError("what is known is not built")


KEYS = [PartKey("a", ("cpu",)), PartKey("a", ("cpu", "cpu:u8")), PartKey("bx", ("cpu:u8",))]


def test_each_is_measured_once_per_machine(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/times.db"
    asked = dict.fromkeys(KEYS, never)
    first = CountingTimer()
    found = RecordedTimer(first, url).times_us(asked)
    assert found == {KEYS[0]: 2.5, KEYS[1]: 3.5}
    assert first.measured == KEYS
    again = CountingTimer()
    recorded = RecordedTimer(again, url)
    assert recorded.times_us(asked) == found
    assert (again.measured, recorded.known, recorded.measured) == ([], 3, 0)
    other = CountingTimer("two")
    RecordedTimer(other, url).times_us(asked)
    assert other.measured == KEYS


def test_records_are_records(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/times.db"
    RecordedTimer(CountingTimer(), url).times_us(dict.fromkeys(KEYS, never))
    database = RecordDatabase(url)
    snapshot = database.snapshot()
    database.close()
    assert len(snapshot.records) == 3
    assert sum(record.outcome is MeasurementOutcome.CORRECT for record in snapshot.records) == 2
    for record in snapshot.records:
        assert record_from_plain(record_to_plain(record), "here") == record


def test_a_database_that_cannot_be_opened_costs_time_alone(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/nowhere/times.db"
    for _ in range(2):
        timer = CountingTimer()
        assert RecordedTimer(timer, url).times_us({KEYS[0]: never}) == {KEYS[0]: 2.5}
        assert timer.measured == KEYS[:1]


def test_documents_from_outside() -> None:
    read = host_kind().documents
    for places in ([], ["vta0"], ["cpu"] * 9):
        with pytest.raises(InputError, match="those of the CPU"):
            read.schedule({"places": places}, "here")
    with pytest.raises(InputError, match="characters"):
        read.workload({"signature": "x" * (1 << 17)}, "here", bounded=True)
    with pytest.raises(InputError, match="key 'core' is missing"):
        read.machine({}, "here")
