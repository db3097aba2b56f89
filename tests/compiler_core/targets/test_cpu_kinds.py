"""Target files say of which kind their CPU is: ``onnx``, or ``c`` for generated sources."""

from __future__ import annotations

from pathlib import Path

import pytest

from compiler_core.errors import InputError
from compiler_core.targets.cpu_kinds import cpu_kind
from compiler_core.targets.load import DESCRIPTIONS, bundled_targets, load_target
from compiler_core.units.facets.bundles import BundleTarget, bundle_file, bundle_targets
from nest_tune.bundling import bundle_target, is_bundle_target

HEAD = 'schema = "nest-tune/target/1"\nname = "mine"\n'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


def test_every_bundled_target_is_of_a_kind() -> None:
    assert {cpu_kind(DESCRIPTIONS / f"{name}.toml") for name in bundled_targets()} == {"onnx"}
    assert {cpu_kind(bundle_file(name)) for name in bundle_targets()} == {"c"}


def test_the_usual_kind_may_be_said(file: Path) -> None:
    file.write_text(HEAD + 'inherit = "vta"\n[cpu]\nkind = "onnx"\n')
    assert load_target(file).digest == load_target("vta").digest
    assert not is_bundle_target(str(file))


def test_targets_of_sources_inherit(file: Path) -> None:
    of = "origin = 'measured', source = 'here'"
    number = f"ram_bytes = {{ value = 98304, {of} }}"
    file.write_text(f'{HEAD}inherit = "cortex-m4"\n[cpu]\n{number}\n')
    assert is_bundle_target(str(file))
    parent = bundle_target("cortex-m4")
    assert bundle_target(str(file)) == BundleTarget(
        "mine", "cortex-m4", parent.description, parent.clock_hz, parent.flash_bytes, 98304
    )
    child = file.with_name("child.toml")
    child.write_text(HEAD.replace("mine", "child") + 'inherit = "mine.toml"\n')
    assert bundle_target(str(child)).ram_bytes == 98304
    with pytest.raises(InputError, match="is of generated C: there are no plans"):
        load_target(child)


def test_files_of_before_are_read(file: Path) -> None:
    file.write_text('schema = "nest-tune/board/1"\nname = "old"\ncore = "c99"\nram_bytes = 2048\n')
    assert is_bundle_target(str(file))
    assert bundle_target(str(file)) == BundleTarget("old", "c99", "", None, None, 2048)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('[cpu]\nkind = "d"\n', "there is no such kind of CPU; known are onnx, c"),
        ('inherit = "vta"\n[cpu]\nkind = "c"\n', "inherits has a CPU of kind 'onnx'"),
        ('inherit = "cortex-m4"\n[cpu]\nkind = "onnx"\n', "inherits has a CPU of kind 'c'"),
    ],
)
def test_kinds_that_cannot_be_are_refused(file: Path, body: str, said: str) -> None:
    file.write_text(HEAD + body)
    with pytest.raises(InputError, match=said):
        load_target(file)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('kind = "c"\n', "cpu.core is missing"),
        ('kind = "c"\ncore = "z80"\n', "core 'z80' is not known"),
        ('kind = "c"\ncore = "c99"\nflash_bytes = 4\n', "does not say where it comes from"),
        ('kind = "c"\ncore = "c99"\ncores = 4\n', "unknown key 'cores'"),
        ('kind = "c"\ncore = "c99"\n[npu]\nkind = "vta"\n', "unknown key 'npu'"),
        (
            'kind = "c"\ncore = "c99"\norigin = "assumed"\nsource = "me"\nram_bytes = 0\n',
            "greater than or equal to 1",
        ),
    ],
)
def test_wrong_targets_of_sources_are_refused(file: Path, body: str, said: str) -> None:
    file.write_text(f"{HEAD}[cpu]\n{body}")
    assert is_bundle_target(str(file))
    with pytest.raises(InputError, match=said):
        bundle_target(str(file))
