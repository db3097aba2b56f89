"""Kinds of units by name, whoever offers them."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler_core.errors import InputError, MissingDependencyError
from compiler_core.files.plain import to_plain
from compiler_core.plugins.registry import load
from compiler_core.targets.load import load_target
from compiler_core.tensor.task import Task, task_key
from compiler_core.units import registry
from compiler_core.units.registry import (
    kind_of_id,
    kind_of_machine,
    read_machine,
    unit_kind,
    unit_kinds,
    unnamed_kind,
)
from compiler_core.units.unit import Tasks, UnitKind
from tests.tiling_workloads import WORKLOADS
from tests.toy_unit.plugin import FOLDER, TARGET, installed


def offer(folder: Path, entries: str, code: str, name: str = "other") -> Path:
    """A distribution that offers kinds."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[nest_tune.units]\n{entries}\n")
    (folder / f"{name}_kinds.py").write_text(code)
    return folder


def test_bundled_kinds_are_entry_points() -> None:
    assert {"cpu", "vta"} <= set(unit_kinds())
    assert unit_kind("vta") is unit_kind("vta")
    assert unnamed_kind().name == "vta"


def test_a_source_tree_without_metadata_has_its_kinds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("compiler_core.plugins.registry.entry_points", lambda **_: ())
    registry.forget_kinds()
    try:
        assert {"cpu", "vta"} <= set(unit_kinds())
        assert unit_kind("vta").tasks
    finally:
        registry.forget_kinds()


def test_a_plug_in_is_found_and_nothing_of_it_is_left() -> None:
    with installed(FOLDER):
        assert "toy" in unit_kinds()
        chip = load_target(TARGET)
        assert kind_of_machine(chip.npu) is unit_kind("toy")
        assert read_machine(to_plain(chip.npu), "here") == chip.npu
    with pytest.raises(InputError, match=r"unit kind 'toy' is not known; known are .*cpu, vta"):
        unit_kind("toy")


def test_machines_and_ids_without_a_name_are_of_the_unnamed_kind() -> None:
    core = load_target("vta").npu
    assert "kind" not in to_plain(core)
    assert read_machine(to_plain(core), "here") == core
    task = Task("vta", WORKLOADS["conv"])
    assert task.id == f"conv2d-{WORKLOADS['conv'].digest}"
    assert task.key == task_key(task.id) == WORKLOADS["conv"].digest
    assert kind_of_id(task.id) is kind_of_id(task.key) is unit_kind("vta")


def test_unknown_kinds_come_with_the_nearest_known_one() -> None:
    with pytest.raises(InputError, match="unit kind 'vtaa' is not known") as caught:
        unit_kind("vtaa")
    assert caught.value.hint == "did you mean 'vta'?"


@pytest.mark.parametrize(
    ("entries", "code", "message"),
    [
        ("bad = other_kinds:KIND", "raise RuntimeError('broken')", "RuntimeError: broken"),
        ("bad = other_kinds:NONE", "", "AttributeError"),
        ("bad = no_such_module:KIND", "", "ModuleNotFoundError"),
        ("bad = other_kinds:KIND", "KIND = 5", "is int; 'bad' is needed"),
        (
            "bad = other_kinds:KIND",
            "from compiler_core.units.unit import UnitKind\nKIND = UnitKind('other')",
            "is kind 'other'; 'bad' is needed",
        ),
    ],
)
def test_a_broken_plug_in_is_named_and_others_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, entries: str, code: str, message: str
) -> None:
    import sys

    monkeypatch.delitem(sys.modules, "other_kinds", raising=False)
    with installed(offer(tmp_path, entries, code)):
        with pytest.raises(InputError, match=f"unit kind 'bad' of other: .*{message}"):
            unit_kind("bad")
        assert unit_kind("vta").tasks
        assert load_target("vta").npu.kind == "vta"
    monkeypatch.delitem(sys.modules, "other_kinds", raising=False)


def test_a_kind_that_two_offer_is_refused(tmp_path: Path) -> None:
    with (
        installed(offer(tmp_path / "rival", "toy = rival_kinds:KIND", "", "rival"), FOLDER),
        pytest.raises(InputError, match=r"offered more than once: .* of rival, .* of toy-unit"),
    ):
        unit_kind("toy")


def test_what_a_kind_lacks_is_said() -> None:
    with pytest.raises(InputError, match="unit kind 'mine' has no tasks"):
        _ = UnitKind("mine").tasks
    with pytest.raises(InputError, match="tasks: object lacks bound, default, measure, violations"):
        _ = UnitKind("mine", facets={"tasks": object()}).tasks
    with pytest.raises(InputError, match="tasks: nowhere:TASKS cannot be loaded"):
        UnitKind("mine", facets={"tasks": "nowhere:TASKS"}).facet("tasks", Tasks)
    with pytest.raises(InputError, match="unit kind 'My_Kind': a name has small letters"):
        UnitKind("My_Kind")


def test_a_module_that_ends_the_process_cannot_be_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaving_part.py").write_text("import sys\nsys.exit(4)\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"leaving_part:KIND cannot be loaded: SystemExit: 4"):
        load("leaving_part:KIND", "a part")


def test_a_kind_may_be_written_as_a_value(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TARGET.read_text().replace('kind = "toy"', 'kind = { value = "toy" }'))
    with installed(FOLDER):
        assert load_target(path).npu == load_target(TARGET).npu
        derived = tmp_path / "derived.toml"
        derived.write_text(
            'schema = "nest-tune/target/1"\nname = "derived"\ninherit = "mine.toml"\n'
            '[npu]\norigin = "assumed"\nsource = "made up"\nrows = 8\n'
        )
        assert load_target(derived).npu.rows == 8


def test_a_target_of_an_unknown_kind_says_so(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(TARGET.read_text())
    with pytest.raises(InputError, match=r"npu\.kind = 'toy': unit kind 'toy' is not known"):
        load_target(path)


def test_a_library_that_the_system_does_not_map_is_a_missing_dependency(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "heavy_part.py").write_text("raise OSError('libheavy.so: cannot map it')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingDependencyError, match=r"heavy_part:KIND needs .* cannot map it"):
        load("heavy_part:KIND", "unit kind 'mine'")
