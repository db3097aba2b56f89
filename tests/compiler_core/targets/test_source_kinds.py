"""Several kinds may generate sources: for a target it is the one that has it, not the first."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from compiler_core.errors import InputError
from compiler_core.targets.source_kinds import (
    candidates_for,
    generates_sources,
    require_source_kind,
    source_kind,
    source_tasks_for,
)
from compiler_core.targets.task_target import load_task_target
from compiler_core.units.facets.bundles import bundle_targets
from nest_tune.bundling import bundles_for, is_bundle_target
from tests.toy_unit.plugin import installed

ANOTHER = """
from compiler_core.targets.load import load_target
from compiler_core.units.cpu.c.bundles.facet import CBundles
from compiler_core.units.cpu.c.tasks.source_tasks import CSourceTasks
from compiler_core.units.facets.source_tasks import CoreUnit
from compiler_core.units.unit import UnitKind


class Bundles(CBundles):
    cpu_kind = "another"
    schemas = ("another/1",)

    def targets(self):
        return ("another-core",)


class Tasks(CSourceTasks):
    def core(self, target):
        return CoreUnit("another", target, load_target("vta").npu)


KIND = UnitKind("another", facets={"bundles": Bundles(), "source_tasks": Tasks()})
"""
HEAD = 'schema = "nest-tune/target/1"\nname = "mine"\n'


@pytest.fixture
def another(tmp_path: Path) -> Iterator[Path]:
    """A folder, while a second kind writes sources; its name comes first."""
    plugin = tmp_path / "plugin"
    info = plugin / "another-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: another\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[nest_tune.units]\nanother = another_kind:KIND\n")
    (plugin / "another_kind.py").write_text(ANOTHER)
    with installed(plugin):
        yield tmp_path


def name_of(target: str | Path) -> str | None:
    found = source_kind(target)
    return None if found is None else found.name


def test_names_and_files_lead_to_their_kind(another: Path) -> None:
    assert {"another-core", "c99"} <= set(bundle_targets())
    files = {}
    for name, text in (
        ("another.toml", f'{HEAD}[cpu]\nkind = "another"\n'),
        ("mine.toml", f'{HEAD}inherit = "cortex-m4"\n'),
        ("own-form.toml", 'schema = "another/1"\n'),
        ("old.toml", 'schema = "nest-tune/board/1"\nname = "old"\ncore = "c99"\n'),
        ("npu.toml", f'{HEAD}inherit = "vta"\n'),
        ("unknown.toml", 'schema = "nobody/1"\n'),
    ):
        files[name] = another / name
        files[name].write_text(text)
    assert {name: name_of(path) for name, path in files.items()} == {
        "another.toml": "another",
        "mine.toml": "cpu",
        "own-form.toml": "another",
        "old.toml": "cpu",
        "npu.toml": None,
        "unknown.toml": None,
    }
    assert [name_of(n) for n in ("another-core", "cortex-m4", "vta")] == ["another", "cpu", None]
    assert bundles_for("another-core").cpu_kind == "another"
    assert bundles_for(str(files["mine.toml"])).cpu_kind == "c"


@pytest.mark.usefixtures("another")
def test_facets_are_those_of_the_targets_kind() -> None:
    assert load_task_target("another-core").units[0].name == "another"
    assert source_tasks_for("c99") is not source_tasks_for("another-core")
    assert candidates_for("cortex-m4") is candidates_for("c99")
    with pytest.raises(InputError, match="unit kind 'another' has no candidates"):
        candidates_for("another-core")


def test_files_of_the_old_form_have_tasks(tmp_path: Path) -> None:
    file = tmp_path / "old.toml"
    file.write_text('schema = "nest-tune/board/1"\nname = "old"\ncore = "c99"\n')
    assert generates_sources(file)
    with pytest.raises(InputError, match="target old: nothing counts instructions on core c99"):
        load_task_target(file)


def test_targets_of_programs_have_none() -> None:
    assert not is_bundle_target("vta")
    with pytest.raises(InputError, match="no sources are written for target 'vta'; known are c99"):
        require_source_kind("vta")


def test_looking_a_target_up_loads_nothing_that_writes_sources() -> None:
    program = (
        "import sys\n"
        "from nest_tune.bundling import bundle_target, is_bundle_target\n"
        "assert is_bundle_target('c99') and not is_bundle_target('vta')\n"
        "bundle_target('c99')\n"
        "import json; names = list(sys.modules)\n"
        "own = [n for n in names if n.startswith('compiler_core.units.cpu.c.')]\n"
        "print(json.dumps(own))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[4] for name in json.loads(run.stdout)}
    assert loaded <= {"bundles", "emit", "library"}
    assert "compiler_core.units.cpu.c.emit.sources" not in run.stdout
