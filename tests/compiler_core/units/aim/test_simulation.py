"""Raw programs through the command line: answers, files, limits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from compiler_core.targets.load import load_target
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.program.program_file import ProgramFile
from compiler_core.units.aim.program.text import parse_text
from compiler_core.units.aim.simulate import timing
from compiler_core.units.aim.tool.simulate import simulate
from compiler_core.units.simulation import simulation
from nest_tune.cli.app import app
from tests.compiler_core.units.aim.vectors import FOLDER, arrays, lines, manifest, program


def _simulate(*arguments: object) -> tuple[int, dict[str, Any]]:
    found = CliRunner().invoke(
        app, ["simulate", *map(str, arguments), "--target", "aim-gddr6", "--json"]
    )
    return found.exit_code, json.loads(found.stdout)


def test_text(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("\n".join(["# comment", *lines()["mac_64"]["trace"], ""]))
    code, document = _simulate(path)
    assert code == 0
    expected = manifest()["mac_64"]["expected"]
    assert document["cycles"] == expected["cycles"]
    assert document["commands"] == {k: v for k, v in expected["commands"].items() if v}
    assert document["energy_origin"] == "published"


def test_wrong_program(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("\n".join(lines()["ill_acc_lost"]["trace"]))
    code, document = _simulate(path)
    assert code == 1
    assert document["error"]["class"] == "acc_lost"
    assert document["error"]["instruction"] == 3


def test_files(tmp_path: Path) -> None:
    after, trace = tmp_path / "after.npz", tmp_path / "t.json"
    data = FOLDER / "data/d_fc32x64_row_b3.npz"
    code, document = _simulate(data, "--outputs", after, "--trace", trace)
    assert code == 0
    expected = arrays(data)
    found = arrays(after)
    assert found["gpr"].shape == (4096, 16)
    numbers = expected["post_gpr_addr"]
    assert np.array_equal(found["gpr"][numbers], expected["post_gpr_data"])
    assert np.array_equal(found["post_bank_addr"], expected["post_bank_addr"])
    events = json.loads(trace.read_text())["traceEvents"]
    names = [e["args"]["name"] for e in events if e["name"] == "thread_name"]
    assert names == [f"channel {n}" for n in range(32)]
    slices = [e for e in events if e["ph"] == "X"]
    assert len(slices) == sum(document["commands"].values())
    ends: dict[int, float] = {}
    for event in sorted(slices, key=lambda e: (e["tid"], e["ts"])):
        assert event["ts"] >= ends.get(event["tid"], 0.0) - 1e-9
        ends[event["tid"]] = event["ts"] + event["dur"]


def test_built_in_program() -> None:
    machine = load_target("aim-gddr6").npu
    assert "174 cycles" in simulation(machine).check(machine)


def test_work_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "MOST_REQUESTS", 1000)
    result = simulate(ProgramFile(program("mac_rows_32")), AimMachine())
    assert result.findings[0].finding_class.value == "work_limit"
    assert result.findings[0].demand > result.findings[0].bound == 1000


def test_fewer_channels() -> None:
    small = AimMachine(channels=2, rows=8, registers=256)
    legal = parse_text(["AiM WR_BIAS 0 0xc0000000", "AiM RD_MAC 2 0xc0000000", "AiM EOC"])
    assert simulate(ProgramFile(legal), small).timing is not None
    wrong = parse_text(["AiM WR_BIAS 0 0xe0000000", "AiM EOC"])
    assert simulate(ProgramFile(wrong), small).findings[0].finding_class.value == "mask"
