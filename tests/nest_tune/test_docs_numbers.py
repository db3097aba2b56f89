"""Numbers of the code that pages say again: a page that says another one fails."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest

from compiler_core.files import toml_depth, toml_file
from compiler_core.graph import rounds, structure
from compiler_core.graph.reader import ImportLimits
from compiler_core.partition import joined_optimum, optimum
from compiler_core.quantize import ladder, quality
from compiler_core.targets import target_file
from compiler_core.units.vta.lower import slots
from nest_tune.samplers.schedules import guided
from tests.fuzz import sandbox

_MIB = 1 << 20
LIMITS = ImportLimits()
_WORDS = {2: "two", 3: "three", 4: "four", 5: "five", 6: "six"}
_EXPONENTS = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")


class Said(NamedTuple):
    """A number on a page: the words around it, with a hole where it stands, and what it is."""

    page: str
    words: str
    number: str


def power(value: int) -> str:
    """A power of two as pages write it."""
    exponent = value.bit_length() - 1
    assert value == 1 << exponent
    return "2" + str(exponent).translate(_EXPONENTS)


SAID = (
    Said("partition.md", "models of more than {} groups", f"{joined_optimum._MOST_GROUPS:,}"),
    Said("partition.md", "again with what that says, up to {} times",
         _WORDS[joined_optimum._LINKED_PLANS]),
    Said("partition.md", "all placements are tried (up to {})", f"{optimum.MAX_ENUMERATED:,}"),
    Said("quantization.md", "the calibration data (up to {} samples", str(quality.MOST_SAMPLES)),
    Said("quantization.md", "it would take more than {} multiplications",
         power(ladder._MOST_WORK)),
    Said("quantization.md", "more than {} units of work those at the end are left out",
         power(ladder._MOST_MEASURED)),
    Said("lowering.md", "where that takes at most {} % more loads",
         str(round(100 * (slots.MOST_LOADS - 1)))),
    Said("how-it-searches.md", "trained after every batch up to {} measurements",
         str(guided._LEARN_ALWAYS)),
    Said("limits.md", "for one sample · all that are held at once | {} |",
         f"{LIMITS.activation_bytes // _MIB} MiB · {LIMITS.held_bytes // _MIB} MiB"),
    Said("limits.md", "results over constants alone | {} MiB",
         str(LIMITS.folded_bytes // _MIB)),
    Said("limits.md", "multiplications of one sample · over constants alone | {} |",
         f"{power(LIMITS.operations)} · {power(LIMITS.folded_operations)}"),
    Said("limits.md", "stated or counted as it runs | {},", f"{LIMITS.trips:,}"),
    Said("limits.md", "split into a sequence | {} |", f"{LIMITS.pieces:,}"),
    Said("limits.md", "written out · subgraphs within subgraphs | {} |",
         f"{LIMITS.nodes:,} · {structure.SUBGRAPH_DEPTH_MAX}"),
    Said("limits.md", "{} where results of the rounds are joined", f"{rounds.JOINED_MAX:,}"),
    Said("limits.md", "as many as execute {} operators", power(rounds.EXECUTIONS_MAX)),
    Said("limits.md", "outputs of the samples that a default is measured on, together | {} MiB",
         str(quality._OUTPUT_BYTES // _MIB)),
    Said("limits.md", "| TOML | {} MiB", str(toml_file._BYTES_MAX // _MIB)),
    Said("limits.md", "{} parts of a dotted key", str(toml_depth.DEPTH_MAX)),
    Said("limits.md", "a target {} KiB", str(target_file.MAX_FILE_BYTES // 1024)),
    Said("limits.md", "more than {} s of CPU time", str(sandbox.CPU_SECONDS_MAX)),
    Said("limits.md", "or more than {} GiB beside its files", str(sandbox.GROWTH_BYTES_MAX >> 30)),
)  # fmt: skip


@pytest.mark.parametrize("said", SAID, ids=lambda said: f"{said.page}: {said.words[:40]}")
def test_pages_say_the_numbers_of_the_code(repository: Path, said: Said) -> None:
    text = " ".join((repository / "docs" / said.page).read_text().split())
    before, after = said.words.split("{}")
    assert f"{before}{said.number}{after}" in text
