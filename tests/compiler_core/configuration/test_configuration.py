"""The lock file: round trip, order, one-line diffs, unknown keys."""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from compiler_core.clock.machine import ClockMachine
from compiler_core.configuration.configuration import (
    Configuration,
    Scheme,
    Subject,
    configuration_text,
    parse_configuration,
    read_configuration,
)
from compiler_core.configuration.lock import Lock, LockedClock, LockedLayer
from compiler_core.errors import InputError
from compiler_core.quantize.exponents import Granularity
from compiler_core.quantize.ladder_record import Ladder, Quality, Rung
from compiler_core.quantize.scheme import QuantizationScheme
from compiler_core.units.vta.schedule.schedule import (
    BiasVariant,
    ConvSchedule,
    EpilogueGranularity,
    FoldVariant,
    LoopOrder,
    MaxPoolSchedule,
    MicroOpLoading,
)

sizes = st.integers(1, 64)
conv_schedules = st.builds(
    ConvSchedule,
    sizes,
    sizes,
    sizes,
    sizes,
    st.sampled_from(LoopOrder),
    sizes,
    sizes,
    sizes,
    st.sampled_from(BiasVariant),
    st.sampled_from(EpilogueGranularity),
    st.sampled_from(MicroOpLoading),
    st.sampled_from(FoldVariant),
)
pool_schedules = st.builds(MaxPoolSchedule, sizes, sizes, sizes, sizes, sizes)
names = st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=12)
task_ids = names.filter(lambda name: "_" not in name)  # what is before one names a kind
configurations = st.builds(
    Configuration,
    st.dictionaries(names, st.integers(-30, 30)).map(Scheme),
    st.dictionaries(names, st.sampled_from(["vta", "cpu"])),
    st.dictionaries(task_ids, conv_schedules | pool_schedules, max_size=4),
    st.builds(Subject, names, names),
    st.builds(Subject, names, names),
    st.dictionaries(names, st.floats(allow_nan=False, allow_infinity=False)),
)

SCHEDULE = ConvSchedule(4, 8, 1, 2)
CONFIGURATION = Configuration(
    Scheme({"x": 5, "y/z:0": -3}),
    {"conv 1": "vta", "softmax": "cpu"},
    {"conv2d-0": SCHEDULE, "max-pool-1": MaxPoolSchedule(2, 2, 1)},
    Subject("m", "abc"),
    Subject("vta", "def"),
    {"npu_cycles": 12.0},
)


@given(configurations)
def test_round_trip_through_toml(configuration: Configuration) -> None:
    text = configuration_text(configuration)
    assert parse_configuration(text.encode(), "config") == configuration
    tomllib.loads(text)


def test_enums_are_their_values_and_the_order_is_stable() -> None:
    text = configuration_text(CONFIGURATION)
    assert 'order = "weight"' in text
    assert text.index("[model]") < text.index("[target]") < text.index("[scheme.exponents]")
    assert text.index("[scheme.exponents]") < text.index("[plan]") < text.index("[schedule.conv")
    backwards = replace(
        CONFIGURATION, schedules=dict(reversed(list(CONFIGURATION.schedules.items())))
    )
    assert configuration_text(backwards) == text


def test_one_changed_decision_is_one_changed_line() -> None:
    changed = replace(
        CONFIGURATION,
        schedules=dict(CONFIGURATION.schedules) | {"conv2d-0": replace(SCHEDULE, tile_height=2)},
    )
    before, after = (configuration_text(c).splitlines() for c in (CONFIGURATION, changed))
    diff = [line for line in difflib.ndiff(before, after) if line[0] in "+-"]
    assert diff == ["- tile_height = 4", "+ tile_height = 2"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("tile_width = 8", "tile_widht = 8", "unknown key 'tile_widht'"),
        ("tile_width = 8\n", "", "key 'tile_width' is missing"),
        ("tile_width = 8", 'tile_width = "8"', "tile_width: '8'; an integer"),
        ('order = "weight"', 'order = "outer"', "'outer'; allowed are weight, input"),
        ("[plan]", "[plans]", "unknown key 'plans'"),
        ('softmax = "cpu"', 'softmax = "GPU 0"', "'GPU 0' is no name of a place"),
        ("nest-tune/config/1", "nest-tune/config/2", "schema 'nest-tune/config/2'"),
        ("x = 5", "x = 5.0", "x: 5.0; an integer"),
        ("x = 5", "x = 300", "scheme.exponents.x: 300; scales reach from 2**-100 to 2**100"),
        ("x = 5", f"x = -{'9' * 4000}", "scheme.exponents.x: "),
        ("[plan]", "[plan", "not a TOML file"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, words: str) -> None:
    text = configuration_text(CONFIGURATION)
    assert old in text
    path = tmp_path / "config.toml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError) as raised:
        read_configuration(path)
    assert words in raised.value.message
    assert str(path) in raised.value.message


LOCKED = replace(
    CONFIGURATION,
    scheme=Scheme(
        {"x": 5},
        quality=Quality("y", -3.0, 107, 0.5),
        ladder=Ladder("first", True, {"first": Rung("taken", Quality("y", -3.0, 108))}, 4.25, 4.5),
    ),
    lock=Lock(
        "m.onnx",
        "vta",
        samples=109,
        shapes={"x": (1, 110)},
        layers={"conv 1": LockedLayer("vta", "Conv", 111, 0.25, 0.75, 112, 113)},
        clock=LockedClock(ClockMachine("a", "x86_64", "", 117, "ort", 118), (14.5, 15.5), (16.5,)),
    ),
)


@pytest.mark.parametrize("wrong", ["-1", "-0.5", "1152921504606846977", "1e300"])
@pytest.mark.parametrize(
    "number", [*range(107, 114), 117, 118, 4.25, 4.5, 0.25, 0.75, 14.5, 15.5, 16.5]
)
def test_counts_and_costs_of_a_lock_are_0_or_more(number: float, wrong: str) -> None:
    """Noise in dB alone may be negative."""
    text = configuration_text(LOCKED)
    assert parse_configuration(text.encode(), "lock") == LOCKED
    changed, count = re.subn(rf"(?<=[ \[]){re.escape(str(number))}(?=[\n,\]])", wrong, text)
    assert count == 1
    with pytest.raises(InputError) as raised:
        parse_configuration(changed.encode(), "lock")
    assert " is needed" in raised.value.message


def test_missing_and_binary_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_configuration(tmp_path / "none.toml")
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="not a TOML file"):
        read_configuration(tmp_path / "binary.toml")


def test_decisions_of_a_scheme_come_back_as_they_were() -> None:
    scheme = QuantizationScheme(
        granularity=Granularity.CHANNEL,
        calibration=7,
        bias_correction=True,
        float_layers=("a, b", 'c"d'),
    )
    written = Configuration(Scheme.of({"x": 3}, scheme))
    read = parse_configuration(configuration_text(written).encode(), "here")
    assert read == written
    assert read.scheme.quantization() == scheme
    assert Scheme.of({"x": 3}, QuantizationScheme()) == Scheme({"x": 3})
    with pytest.raises(InputError):
        Scheme({}, {"granularity": "chanel"}).quantization()
    with pytest.raises(InputError):
        Scheme({}, {"bias_correction": "["}).quantization()
