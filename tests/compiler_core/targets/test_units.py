"""Targets of several units and memories: read, refused, derived from one another, and back from
their plain form."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.files.plain import to_plain
from compiler_core.targets.document import read_target, target_document
from compiler_core.targets.load import bundled_targets, load_description, load_target
from compiler_core.targets.target import Access, Memory, Unit
from tests.toy_unit.plugin import FOLDER, TARGET, installed

HEADER = 'schema = "nest-tune/target/1"\nname = "mine"\ninherit = "vta"\n'
GUESS = 'origin = "assumed"\nsource = "a guess"\n'
TOY = f'{GUESS}kind = "toy"\ncores = 2\nclock_hz = 1e8\nrows = 8\ncolumns = 32\nport_bytes = 4\n'
FAST = f"[memories.fast]\n{GUESS}bytes_per_s = 4e9\n"


@pytest.fixture(autouse=True, scope="module")
def toy_kind() -> Iterator[None]:
    with installed(FOLDER):
        yield


def write(folder: Path, text: str, name: str = "mine.toml") -> Path:
    (folder / "toy.toml").write_text(TARGET.read_text())
    path = folder / name
    path.write_text(text)
    return path


def refusal(path: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_description(path)
    assert "\n" not in caught.value.message
    assert len(caught.value.message) < 800
    assert caught.value.hint
    return caught.value.message


def test_a_unit_of_another_kind_stands_beside_the_first(tmp_path: Path) -> None:
    text = HEADER + FAST + f'[units.small]\n{TOY}memory = "fast"\naccess = "exclusive"\n'
    description = load_description(write(tmp_path, text))
    first, second = description.target.units
    assert first == Unit("vta", load_target("vta").npu, 1)
    assert (second.name, second.kind, second.cores) == ("small", "toy", 2)
    assert (second.memory, second.access) == ("fast", Access.EXCLUSIVE)
    assert description.target.memories == (Memory("dram"), Memory("fast", 4e9))
    keys = {quantity.key: quantity for quantity in description.quantities}
    assert keys["units.small.rows"].origin.stated_by == "mine"
    assert keys["memories.fast.bytes_per_s"].unit == "bytes/s"


def test_two_units_of_one_kind_with_different_machines(tmp_path: Path) -> None:
    """The second is derived from a target's unit, number by number."""
    text = HEADER + f'[units.board]\ninherit = "vta-pynq"\ncores = {{ value = 2, {inline()} }}\n'
    target = load_target(write(tmp_path, text))
    assert [unit.name for unit in target.units] == ["vta", "board"]
    assert target.units[1].machine == load_target("vta-pynq").npu
    assert target.units[1].cores == 2
    assert target.npu == load_target("vta").npu


def inline() -> str:
    return GUESS.strip().replace("\n", ", ")


def test_the_unit_of_the_same_name_is_meant_where_there_are_several(tmp_path: Path) -> None:
    write(tmp_path, HEADER + f"[units.small]\n{TOY}", "base.toml")
    child = HEADER.replace("mine", "child")
    found = load_target(write(tmp_path, child + '[units.small]\ninherit = "base.toml"\n'))
    assert found.units == load_target(tmp_path / "base.toml").units
    assert found.digest == load_target(tmp_path / "base.toml").digest
    message = refusal(write(tmp_path, child + '[units.other]\ninherit = "base.toml"\n'))
    assert "has the units vta, small" in message


def test_a_target_without_the_unit_that_is_named_after_its_kind(tmp_path: Path) -> None:
    text = HEADER.replace('inherit = "vta"\n', "") + f"[units.small]\n{TOY}" + CPU
    target = load_target(write(tmp_path, text))
    assert [unit.name for unit in target.units] == ["small"]


CPU = "".join(TARGET.read_text().partition("[cpu]")[1:])


def test_units_are_inherited_by_files(tmp_path: Path) -> None:
    write(tmp_path, HEADER + f"[units.small]\n{TOY}", "base.toml")
    text = HEADER.replace("mine", "child").replace('"vta"', '"base.toml"')
    child = load_target(write(tmp_path, text + f"[units.small]\n{GUESS}rows = 16\n"))
    assert child.units[1].machine.rows == 16
    assert child.units[1].machine.columns == 32


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("units = 3\n", "units = 3 must be a table"),
        ("[units]\nsmall = 3\n", "units.small.kind is missing"),
        ("[units.small]\ncores = 1\n", "units.small.kind is missing"),
        ('[units.small]\nkind = "toi"\n', "units.small.kind = 'toi'"),
        ('[units.small]\nkind = "toy"\nrow = 3\n', "unknown key 'row' in [units.small]"),
        ('[units.small]\nkind = "toy"\n', "units.small.cores is missing"),
        (f"[units.small]\n{TOY}[units.small.more]\n", "unknown key 'more' in [units.small]"),
        (f"[units.vta]\n{TOY}", "the unit of [npu] and [units.vta] have one name"),
        (f"[units.cpu]\n{TOY}", "[units] has 'cpu'"),
        (f"[units.Small]\n{TOY}", "[units] has 'Small'"),
        (f'[units."a b"]\n{TOY}', "[units] has 'a b'"),
        (f'[units."{"a" * 500}"]\n{TOY}', "a unit's name has at most 32"),
        (f'[units.small]\n{TOY}memory = "fats"\n', "'fats'; memories are dram"),
        (f'[units.small]\n{TOY}memory = "FAST"\n', "units.small.memory = 'FAST'"),
        (f'[units.small]\n{TOY}access = "alone"\n', "'shared' or 'exclusive'"),
        ("[memories.fast]\n", "memories.fast.bytes_per_s is missing"),
        (f"[memories.fast]\n{GUESS}bytes_per_s = 0\n", "memories.fast.bytes_per_s = 0"),
        (f"[memories.Fast]\n{GUESS}bytes_per_s = 1e9\n", "'Fast' cannot be a name"),
        ("[memories.fast]\nbytes_per_s = 1e9\n", "does not say where it comes from"),
        ('[cpu]\nmemory = "fast"\n', "unit 'cpu' works in memory 'fast'"),
        ('[units.small]\ninherit = "mine.toml"\n', "a unit is derived from itself"),
        ('[units.small]\ninherit = "gone.toml"\n', "does not exist"),
        ('[units.small]\ninherit = "../x.toml"\n', "folders are not allowed"),
        ('[units.small]\ninherit = "vta-pink"\n', "units.small.inherit = 'vta-pink' is no known"),
        ('[units.small]\nkind = "toy"\ninherit = "vta"\n', "is of kind 'vta'"),
        ("[units.small]\ninherit = 3\n", "units.small.kind is missing"),
        ('[npu]\ninherit = "vta"\n', "unknown key 'inherit' in [npu]"),
        ("".join(f"[units.u{n}]\n{TOY}" for n in range(20)), "21 units; at most 16"),
    ],
)
def test_wrong_units_are_one_clear_error(tmp_path: Path, body: str, expected: str) -> None:
    assert expected in refusal(write(tmp_path, HEADER + body))


def test_units_derived_in_a_circle_of_files_are_refused(tmp_path: Path) -> None:
    other = HEADER.replace("mine", "other") + '[units.small]\ninherit = "mine.toml"\n'
    write(tmp_path, other, "other.toml")
    message = refusal(write(tmp_path, HEADER + '[units.small]\ninherit = "other.toml"\n'))
    assert "a unit is derived from itself" in message


@pytest.mark.parametrize("name", [*bundled_targets(), "host"])
def test_plain_form_of_one_unit_is_what_it_was(name: str) -> None:
    target = load_target(name)
    plain = target_document(target)
    if "units" in plain:  # what the older form cannot say
        assert read_target(plain, "here") == target
        assert any(unit.kind != "vta" for unit in target.units) or len(target.units) > 1
        return
    assert plain["npu"] == to_plain(target.npu)
    assert list(plain)[:4] == ["name", "description", "npu", "npu_cores"]
    assert read_target(plain, "here") == target


SOME_UNITS = st.lists(
    st.tuples(
        st.sampled_from(["small", "large", "vta2", "a-b"]),
        st.integers(1, 4),
        st.sampled_from([None, "dram", "fast"]),
        st.sampled_from([None, "shared", "exclusive"]),
        st.sampled_from([None, "vta-pynq", "toy.toml"]),
    ),
    min_size=1,
    max_size=4,
    unique_by=lambda item: item[0],
)


@given(SOME_UNITS, st.sampled_from([None, "fast"]))
def test_any_target_comes_back_from_toml_and_from_plain(
    tmp_path_factory: pytest.TempPathFactory,
    units: list[tuple[str, int, str | None, str | None, str | None]],
    cpu_memory: str | None,
) -> None:
    folder = tmp_path_factory.getbasetemp()
    text = HEADER + FAST
    text += "" if cpu_memory is None else f'[cpu]\nmemory = "{cpu_memory}"\n'
    for name, cores, memory, access, base in units:
        rest = TOY if base is None else f'{GUESS}inherit = "{base}"\ncores = 1\n'
        text += f"[units.{name}]\n" + "\n".join(
            f"cores = {cores}" if line.startswith("cores") else line for line in rest.splitlines()
        )
        text += f'\nmemory = "{memory}"\n' if memory else "\n"
        text += f'access = "{access}"\n' if access else ""
    target = load_target(write(folder, text, "any.toml"))
    assert target.cpu_memory == (cpu_memory or "dram")
    for unit, (name, cores, memory, access, base) in zip(target.units[1:], units, strict=True):
        machine = load_target({"toy.toml": TARGET}.get(base, base)).npu if base else None
        assert (unit.name, unit.cores, unit.memory) == (name, cores, memory or "dram")
        assert unit.access.value == (access or "shared")
        assert machine is None or unit.machine == machine
    assert read_target(target_document(target), "here") == target
    assert load_target(folder / "any.toml").digest == target.digest


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda d: d["units"].clear(), "at least one unit"),
        (lambda d: d["units"].append(d["units"][0]), "is there twice"),
        (lambda d: d["units"][1].update(name="../x"), "cannot be a name"),
        (lambda d: d["units"][1].update(memory="none"), "works in memory 'none'"),
        (lambda d: d["units"][1].update(cores=1 << 40), "at most 64"),
        (lambda d: d["memories"].clear(), "works in memory"),
        (lambda d: d["units"][1].update(access="other"), "allowed are shared, exclusive"),
        (lambda d: d["units"][1]["machine"].update(kind="gone"), "'gone' is not known"),
    ],
)
def test_wrong_plain_targets_are_refused(tmp_path: Path, change, expected: str) -> None:  # type: ignore[no-untyped-def]
    plain = target_document(load_target(write(tmp_path, HEADER + f"[units.small]\n{TOY}")))
    change(plain)
    with pytest.raises(InputError, match=expected):
        read_target(plain, "package.json: target")
