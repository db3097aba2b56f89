"""Target descriptions: the bundled ones, inheritance, origins, and everything that can be wrong."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.targets import load
from compiler_core.targets.integer_units import integer_forms
from compiler_core.targets.load import bundled_targets, load_description, load_target
from compiler_core.targets.target import OriginKind
from compiler_core.units.facets.bundles import bundle_targets
from compiler_core.units.vta.machine.hardware import LinearCost, TimingProfile
from compiler_core.units.vta.machine.profiles import RTL2020, RTL_PIPELINED_32BIT

CHILD = 'schema = "nest-tune/target/1"\nname = "mine"\ninherit = "vta"\n'
GUESS = 'origin = "assumed"\nsource = "a guess"\n'


def write(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


def refusal(path: Path | str) -> str:
    with pytest.raises(InputError) as caught:
        load_description(path)
    message = caught.value.message
    assert "\n" not in message
    assert len(message) < 800
    return message


def test_bundled_targets_are_those_of_the_project() -> None:
    assert set(bundled_targets()) == {
        "aim-gddr6",
        "vta-aim",
        "vta",
        "vta-int4",
        "vta-duo",
        "vta-rtl2020",
        "vta-pynq",
        "vta-ultra96",
        "vta-zcu102",
        "vta-x2",
        "vta-x4",
        "vta-x4-128",
        "vta-x4-256",
    }


@pytest.mark.parametrize("name", bundled_targets())
def test_every_number_of_a_bundled_target_has_an_origin(name: str) -> None:
    description = load_description(name)
    assert description.target.name == name
    assert description.target.description
    others = {"aim-gddr6": 59, "vta-aim": 95, "vta-int4": 47, "vta-duo": 84}
    assert len(description.quantities) == others.get(name, 46)
    assert all(quantity.origin.source for quantity in description.quantities)


def test_rtl2020_is_the_measured_profile() -> None:
    assert load_target("vta-rtl2020").npu.timing == RTL2020


def test_default_is_the_pipelined_profile_with_int8_elements() -> None:
    timing = load_target("vta").npu.timing
    int8 = load_target("vta-rtl2020").npu.geometry.element_bytes
    assert timing == replace(RTL_PIPELINED_32BIT, element_bytes=int8)


@pytest.mark.parametrize(
    ("name", "cores", "clock_mhz", "port_bits", "latency", "boundary", "cpu"),
    [
        ("vta", 1, 100, 64, 16, 2048, "Cortex-A9"),
        ("vta-int4", 1, 100, 64, 16, 2048, "Cortex-A9"),
        ("vta-rtl2020", 1, 100, 64, 0, 2048, "Cortex-A9"),
        ("vta-pynq", 1, 100, 64, 112, 256, "Cortex-A9"),
        ("vta-ultra96", 1, 333, 128, 64, 4096, "Cortex-A53"),
        ("vta-zcu102", 1, 333, 128, 64, 4096, "Cortex-A53"),
        ("vta-x2", 2, 100, 64, 16, 2048, "Cortex-A53"),
        ("vta-x4", 4, 100, 64, 16, 2048, "Cortex-A53"),
        ("vta-x4-128", 4, 100, 128, 16, 4096, "Cortex-A53"),
        ("vta-x4-256", 4, 100, 256, 16, 4096, "Cortex-A53"),
    ],
)
def test_bundled_target_has_its_published_figures(
    name: str, cores: int, clock_mhz: int, port_bits: int, latency: int, boundary: int, cpu: str
) -> None:
    target = load_target(name)
    timing = target.npu.timing
    assert target.npu_cores == cores
    assert target.npu.clock_hz == clock_mhz * 1e6
    assert timing.port_bytes * 8 == port_bits
    assert timing.memory_latency_cycles == latency
    assert timing.burst_boundary_bytes == boundary
    assert target.cpu.name == cpu
    assert target.launch_overhead_s == pytest.approx(20e-6 * 1e9 / target.cpu.clock_hz)


def test_the_4_bit_core_differs_from_the_default_in_its_blocks_alone() -> None:
    usual, own = load_target("vta").npu, load_target("vta-int4").npu
    assert own.geometry.depth == usual.geometry.depth
    assert own.geometry.weight_bits == 4
    assert own.geometry.block_out == 2 * usual.geometry.block_out
    timing = replace(own.timing, element_bytes=usual.geometry.element_bytes)
    assert timing == usual.timing


def test_the_cores_of_the_duo_hold_tensors_alike() -> None:
    duo = load_target("vta-duo")
    first, second = (unit.machine for unit in duo.units)
    assert (duo.units[0].name, duo.units[1].name) == ("vta", "int4")
    assert first.geometry.lanes == second.geometry.lanes == 32
    assert first.timing == load_target("vta").npu.timing
    assert second == load_target("vta-int4").npu
    forms = set(integer_forms(duo).values())
    assert len(forms) == 1, "what one has written the other reads"


def test_boards_with_the_same_numbers_have_the_same_digest() -> None:
    assert load_target("vta-ultra96").digest == load_target("vta-zcu102").digest
    others = {load_target(name).digest for name in bundled_targets()}
    assert len(others) == len(bundled_targets()) - 1


def test_pynq_alu_starts_every_second_cycle() -> None:
    costs = load_target("vta-pynq").npu.timing.costs
    assert costs.alu_immediate == costs.alu_tensor == LinearCost(per_micro_op=2, fixed=7)
    assert costs.gemm == LinearCost(per_micro_op=1, fixed=7)


def test_child_overrides_one_number_and_states_its_origin(tmp_path: Path) -> None:
    path = write(tmp_path, CHILD + f"[npu.timing]\n{GUESS}queue_depth = 64\n")
    parent, child = load_description("vta"), load_description(path)
    assert child.lineage == ("mine", "vta", "vta-rtl2020")
    assert child.target.description == parent.target.description
    assert child.target.npu.timing == replace(parent.target.npu.timing, queue_depth=64)
    assert child.target.digest != parent.target.digest
    origins = {quantity.key: quantity.origin for quantity in child.quantities}
    assert origins["npu.timing.queue_depth"].kind is OriginKind.ASSUMED
    assert origins["npu.timing.queue_depth"].stated_by == "mine"
    assert origins["npu.timing.port_bytes"].stated_by == "vta"


def test_origin_of_a_number_goes_before_that_of_its_table(tmp_path: Path) -> None:
    own = '{ value = 64, origin = "measured", source = "my board" }'
    path = write(tmp_path, CHILD + f"[npu.timing]\n{GUESS}queue_depth = {own}\nburst_beats = 256\n")
    origins = {quantity.key: quantity.origin for quantity in load_description(path).quantities}
    assert origins["npu.timing.queue_depth"].kind is OriginKind.MEASURED
    assert origins["npu.timing.burst_beats"].kind is OriginKind.ASSUMED


def test_name_description_and_origins_do_not_change_the_digest(tmp_path: Path) -> None:
    path = write(tmp_path, CHILD + f'description = "x"\n[npu.timing]\n{GUESS}queue_depth = 512\n')
    assert load_target(path).digest == load_target("vta").digest


def test_text_can_be_overridden_without_an_origin(tmp_path: Path) -> None:
    path = write(tmp_path, CHILD + '[npu.timing]\nprofile = "rtl2020"\n')
    assert load_target(path).npu.timing.profile is TimingProfile.RTL2020


def test_file_inherits_from_a_file_beside_it(tmp_path: Path) -> None:
    write(tmp_path, CHILD.replace("mine", "base") + f"[npu]\n{GUESS}clock_hz = 5e7\n", "base.toml")
    path = write(tmp_path, CHILD.replace('"vta"', '"base.toml"'))
    assert load_target(path).npu.clock_hz == 5e7


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ("[npu]\nclock = 1\n", "unknown key 'clock' in [npu] (nearest: clock_hz)"),
        ("[nup]\n", "unknown key 'nup' in the file (nearest: npu)"),
        (f"[npu]\n{GUESS}clock_hz = 0\n", "npu.clock_hz = 0"),
        (f"[npu]\n{GUESS}clock_hz = -1e8\n", "npu.clock_hz = -100000000.0"),
        (f"[npu]\n{GUESS}clock_hz = nan\n", "npu.clock_hz = nan"),
        (f"[npu]\n{GUESS}clock_hz = inf\n", "npu.clock_hz = inf"),
        (f"[npu]\n{GUESS}clock_hz = true\n", "must be a number"),
        (f"[npu]\n{GUESS}clock_hz = [1]\n", "must be a number"),
        (f"[npu]\n{GUESS}clock_hz = 1979-05-27\n", "must be a number"),
        ('[npu]\nclock_hz = "fast"\n', "npu.clock_hz = 'fast'"),
        ("[npu]\nclock_hz = 1e8\n", "does not say where it comes from"),
        ('[npu]\norigin = "guessed"\nsource = "x"\nclock_hz = 1e8\n', "allowed are measured"),
        ('[npu]\norigin = "assumed"\nclock_hz = 1e8\n', "source = None"),
        ("[npu]\nclock_hz = { value = 1e8 }\n", "does not say where it comes from"),
        ("[npu]\nclock_hz = { valu = 1e8 }\n", "allowed are value, origin and source"),
        ("[npu]\nclock_hz = { value = { value = 1 } }\n", "must be a number"),
        ("npu = 3\n", "must be a table"),
        (f"[npu]\n{GUESS}cores = 0\n", "npu.cores = 0"),
        (f"[npu]\n{GUESS}cores = 1.0\n", "npu.cores = 1.0"),
        (f"[npu]\n{GUESS}cores = {'9' * 400}\n", "a number of more than 64 bits"),
        ('[npu]\nkind = "tpu"\n', "npu.kind = 'tpu'"),
        ('[npu.timing]\nprofile = "rtl2021"\n', "'rtl2020' or 'rtl-pipelined'"),
        (f"[npu.timing]\n{GUESS}port_bytes = 12\n", "must be a power of two"),
        (
            f"[npu.timing]\n{GUESS}port_bytes = 16\n",
            "must be burst_beats x port_bytes = 256 x 16 = 4096",
        ),
        (f"[npu.geometry]\n{GUESS}block_in = 32\n", "element_bytes.inp = 16"),
        (f"[npu.geometry.element_bytes]\n{GUESS}inp = 24\n", "must be a power of two"),
        (f"[npu.geometry.buffer_depth]\n{GUESS}wgt = 1025\n", "npu.geometry.buffer_depth.wgt"),
        (f"[cpu]\n{GUESS}float_macs_per_cycle = 0\n", "cpu.float_macs_per_cycle = 0"),
    ],
)
def test_wrong_description_is_one_clear_error(tmp_path: Path, body: str, expected: str) -> None:
    assert expected in refusal(write(tmp_path, CHILD + body))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "schema is missing"),
        ('schema = "nest-tune/target/2"\nname = "a"\n', 'reads schema = "nest-tune/target/1"'),
        ('schema = "nest-tune/target/1"\n', "name = ''"),
        (CHILD.replace("mine", "Mine"), "name = 'Mine'"),
        (CHILD.replace('"mine"', "3"), "name = 3 must be a text"),
        (CHILD.replace('inherit = "vta"', ""), "npu is missing"),
        (CHILD.replace('"vta"', '"vta-pink"'), "no known target (nearest: vta-pynq)"),
        (CHILD.replace('"vta"', '"gone.toml"'), "does not exist (inherited by"),
        (CHILD.replace('"vta"', '"../up.toml"'), "folders are not allowed"),
        (CHILD.replace('"vta"', '"/etc/x.toml"'), "folders are not allowed"),
        (CHILD.replace('"vta"', '""'), "not the name of"),
        (CHILD.replace('"vta"', '"mine.toml"'), "goes in a circle: mine -> mine"),
        ("a = [", "not a TOML file"),
        ("a = " + "[" * 10000, "brackets within brackets"),
        ("a = " + "9" * 10000, "not a TOML file"),
        ("a" + ".a" * 8000 + " = 1", "parts of one dotted key"),
        ("# " + "x" * 70000, "larger than the 16384 bytes"),
        ("name = '\x00'", "not a TOML file"),
    ],
    ids=range(18),
)
def test_wrong_file_is_one_clear_error(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in refusal(write(tmp_path, text))


def test_circle_of_three_files_is_named(tmp_path: Path) -> None:
    for name, parent in (("a", "b"), ("b", "c"), ("c", "a")):
        text = CHILD.replace("mine", name).replace('"vta"', f'"{parent}.toml"')
        write(tmp_path, text, f"{name}.toml")
    assert "a -> b -> c -> a" in refusal(tmp_path / "a.toml")


def test_lineage_has_a_limit(tmp_path: Path) -> None:
    for index in range(12):
        text = CHILD.replace("mine", f"t{index}").replace('"vta"', f'"t{index + 1}.toml"')
        write(tmp_path, text, f"t{index}.toml")
    assert "more than the 8 files" in refusal(tmp_path / "t0.toml")


def test_link_out_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    write(tmp_path, CHILD.replace("mine", "base"), "base.toml")
    (tmp_path / "inner" / "base.toml").symlink_to(tmp_path / "base.toml")
    path = write(tmp_path / "inner", CHILD.replace('"vta"', '"base.toml"'))
    assert "leads out of the folder" in refusal(path)


@pytest.mark.parametrize("name", ["vta-pinq", "", "no/such.toml", ".", "\x00.toml", "a" * 5000])
def test_unknown_name_is_refused(name: str) -> None:
    refusal(name)


def test_folder_and_binary_are_refused(tmp_path: Path) -> None:
    assert "is not a file" in refusal(tmp_path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    assert "not a TOML file" in refusal(tmp_path / "binary.toml")


@given(st.data())
def test_mutated_description_is_a_target_or_a_clear_error(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    source = (load.DESCRIPTIONS / "vta-rtl2020.toml").read_text()
    start = data.draw(st.integers(0, len(source)))
    end = data.draw(st.integers(start, min(len(source), start + 40)))
    piece = data.draw(st.one_of(st.text(max_size=8), st.sampled_from(["-1", "[", "{", "1e400"])))
    path = tmp_path_factory.getbasetemp() / "mutated.toml"
    path.write_text(source[:start] + piece + source[end:], encoding="utf-8", newline="")
    try:
        description = load_description(path)
    except InputError:
        event("refused")
    else:
        event("read")
        tomllib.loads(path.read_text(encoding="utf-8"))
        assert len(description.quantities) == 46


def test_circle_of_links_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.toml").symlink_to(tmp_path / "b.toml")
    (tmp_path / "b.toml").symlink_to(tmp_path / "a.toml")
    refusal(tmp_path / "a.toml")


def test_an_origin_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "t.toml"
    path.write_text(
        'schema = "nest-tune/target/1"\nname = "t"\ninherit = "vta"\n'
        '[npu.timing]\norigin = ["measured"]\nsource = "x"\nmemory_latency_cycles = 28\n'
    )
    with pytest.raises(InputError, match="origin"):
        load_target(str(path))


@pytest.mark.parametrize(
    ("wrong", "meant"),
    [("hosts", "host"), ("cortex-m5", "cortex-m55"), ("c98", "c99"), ("vtaa", "vta")],
)
def test_an_unknown_target_is_told_all_that_there_are(wrong: str, meant: str) -> None:
    """Also those that sources are written for, and this machine."""
    with pytest.raises(InputError, match="no target") as caught:
        load_target(wrong)
    assert f"(nearest: {meant})" in caught.value.message
    known = caught.value.message.partition("known are ")[2].split(", ")
    assert {*bundled_targets(), *bundle_targets(), "host"} < set(known)
