"""Programs by the clock of this machine: ties are equal, what is slower is told apart, and nothing
of them stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler_core.clock.conditions import Conditions
from compiler_core.clock.together import MIN_ROUNDS, Together
from compiler_core.errors import CheckError
from compiler_core.units.cpu.c.bundles.bundle import write_sources_of
from compiler_core.units.cpu.c.bundles.by_clock import costs_ns, time_programs
from compiler_core.units.cpu.c.bundles.cores import CORES, missing, times_ns
from tests.compiler_core.units.cpu.c.cases import prepared

ALONE = Conditions(1.0, 1.0, 0.0, 0.0, 0.0, 1, 2)
USUAL = tuple(10.0 + 0.1 * (at % 3) for at in range(15))


@pytest.fixture
def program(tmp_path: Path) -> Path:
    if missing(CORES["c99"]):
        pytest.skip("there is no C compiler")
    write_sources_of(prepared("residual", "int8")[1], tmp_path)
    return tmp_path


def heavier(folder: Path, into: Path, times: int) -> Path:
    """The same program, which does all of it several times."""
    into.mkdir()
    for file in folder.iterdir():
        if file.is_file():
            (into / file.name).write_bytes(file.read_bytes())
    text = (into / "count.c").read_text()
    assert text.count("  do {\n") == 1
    text = text.replace("  do {\n", f"  int left = {times};\n  do {{\n")
    (into / "count.c").write_text(text.replace("while (nt_again())", "while (--left)"))
    return into


def test_what_is_not_told_apart_costs_the_same() -> None:
    noisy = tuple(value + (0.3 if at % 2 else -0.3) for at, value in enumerate(USUAL))
    slower = tuple(1.25 * value for value in USUAL)
    faster = tuple(0.5 * value for value in USUAL)
    samples = {"usual": USUAL, "noisy": noisy, "slower": slower, "faster": faster}
    usual, *others = costs_ns(Together(samples, ALONE), tuple(samples))
    assert usual == 1e3 * sorted(USUAL)[7]
    assert others == [usual, pytest.approx(1.25 * usual), pytest.approx(0.5 * usual)]


def test_a_drift_of_the_machine_slows_all_of_a_round() -> None:
    """The third as fast at the end: medians would differ by chance, ratios do not."""
    drift = [1.0 + at / 7 for at in range(15)]
    ours = tuple(value * slow for value, slow in zip(USUAL, drift, strict=True))
    theirs = tuple(1.1 * value for value in ours)
    usual, other = costs_ns(Together({"a": ours, "b": theirs}, ALONE), ("a", "b"))
    assert other == pytest.approx(1.1 * usual)


def test_more_work_takes_longer_and_nothing_stays_loaded(program: Path, tmp_path: Path) -> None:
    more = heavier(program, tmp_path / "more", 20)
    found = time_programs({"once": program, "often": more}, rounds=9, budget_s=0.2)
    assert MIN_ROUNDS <= found.rounds <= 9
    once, often = found.latency_us("once"), found.latency_us("often")
    assert 0 < once.low <= once.value <= once.high
    assert often.value > 4 * once.value
    assert found.ratio("often", "once").low > 4
    maps = Path("/proc/self/maps")
    assert not maps.exists() or "program0.so" not in maps.read_text()


def test_operators_have_intervals_of_all_runs(program: Path) -> None:
    steps = len(prepared("residual", "int8")[1].sources.steps)
    found = times_ns(program, program / "program", steps)
    assert len(found) == steps
    assert all(time.samples == 31 and time.low <= time.value <= time.high for time in found)
    assert max(time.value for time in found) > 0


def test_a_program_that_fails_is_no_time(program: Path) -> None:
    text = (program / "count.c").read_text()
    (program / "count.c").write_text(text.replace("return 0;", "return 3;"))
    with pytest.raises(CheckError, match="does not end as it should"):
        time_programs({"wrong": program})
    (program / "count.c").write_text(text.replace("int main", "int nothing"))
    with pytest.raises(CheckError, match="no function"):
        time_programs({"wrong": program})
