"""Classes of instructions: they add up to what the counter of the board says."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler_core.units.cpu.c.bundles import classes
from compiler_core.units.cpu.c.bundles.bundle import scheduled_bundle, write_sources_of
from compiler_core.units.cpu.c.bundles.classes import CYCLES, InstructionMix, count_whole
from compiler_core.units.cpu.c.bundles.cores import CORES, Core, count, missing
from compiler_core.units.cpu.c.convert.convert import to_network
from compiler_core.units.cpu.c.schedules.schedule import choices
from tests.compiler_core.units.cpu.c.cases import Model, ranges_of


def written(core: Core, folder: Path) -> int:
    """A convolution and a float sigmoid; the number of its operators."""
    m = Model((1, 8, 9, 9), (1, 16, 7, 7))
    conv = m.node("Conv", "x0", m.weight(16, 8, 3, 3), m.weight(16))
    graph = m.graph(m.node("Div", conv, m.node("Exp", "x1")))
    network = to_network(graph, ranges_of(graph))
    schedules = {item.output: choices(item, core.name)[0] for item in network.operators}
    bundle = scheduled_bundle(network, "mixed", schedules)
    write_sources_of(bundle, folder)
    return len(bundle.sources.steps)


@pytest.mark.parametrize("name", CYCLES)
def test_classes_add_up(name: str, tmp_path: Path) -> None:
    core = CORES[name]
    if not classes.counts_classes(name):
        pytest.skip(f"nothing counts classes on {name}: {core.package}, or cc, is not installed")
    steps = written(core, tmp_path)
    whole = count_whole(core, tmp_path, tmp_path / "program", steps)
    mix = whole.mix
    assert mix is not None
    total = sum(count(core, tmp_path, tmp_path / "program", steps))
    assert whole.instructions == total  # the plugin changes nothing
    # The library's functions and the borders of steps are in the one, not in the other.
    assert mix.instructions == pytest.approx(total, rel=0.02)
    assert (mix.counts["vector"] > 0) == (name == "cortex-m55")
    assert mix.counts["float"] > 0
    assert (mix.counts["multiply"] > 0) == (name != "cortex-m55")  # there by vectors
    assert all(mix.counts[kind] > 0 for kind in ("load", "store", "branch", "other"))
    assert count_whole(core, tmp_path, tmp_path / "program", steps) == whole
    assert min(CYCLES[name].values()) < mix.cycles_per_instruction < max(CYCLES[name].values())


def test_cycles_are_weighted() -> None:
    weights = CYCLES["cortex-m4"]
    counts = dict.fromkeys(weights, 0) | {"load": 3, "other": 1}
    mix = InstructionMix("cortex-m4", counts)
    assert mix.instructions == 4
    assert mix.cycles_per_instruction == (3 * weights["load"] + weights["other"]) / 4


def test_without_the_plugin_instructions_are_counted_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    core = CORES["cortex-m4"]
    if missing(core):
        pytest.skip(f"{core.package} is not installed")
    steps = written(core, tmp_path)
    monkeypatch.setattr(classes, "counts_classes", lambda _name: False)
    whole = count_whole(core, tmp_path, tmp_path / "program", steps)
    assert whole.mix is None
    assert whole.instructions == sum(count(core, tmp_path, tmp_path / "program", steps))
