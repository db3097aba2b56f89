"""Packages of generated C: written, read back, executed; what was changed is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from compiler_core.errors import InputError
from compiler_core.graph.exporter import write_model
from compiler_core.graph.importer import import_onnx
from compiler_core.graph.passes.simplify import simplify
from compiler_core.units.cpu.c.bundles.cores import CORES, missing
from compiler_core.units.cpu.c.bundles.facet import BUNDLES
from compiler_core.units.cpu.c.bundles.package import OpenPackage
from compiler_core.units.facets.bundles import BundleRequest
from tests.compiler_core.units.cpu.c.cases import (
    CASES,
    Array,
    all_in_one,
    names,
    prepared,
    ranges_of,
    samples,
)

DIGEST = "0" * 64


def written(
    name: str, precision: str, folder: Path, target: str = "c99"
) -> tuple[OpenPackage, dict[str, Array]]:
    """A package of a case, and samples for it."""
    given = (all_in_one if name == "all" else lambda kind: prepared(name, kind))(precision)[0]
    graph = simplify(given)  # as compilation does, and whoever opens the package
    tests = samples(graph, 3)
    request = BundleRequest(
        graph,
        ranges_of(graph) if precision == "int8" else {},
        tests[:1],
        target,
        folder,
        "case",
        precision=precision,
        source=DIGEST,
    )
    BUNDLES.write(request)
    return OpenPackage(folder), {key: np.concatenate([s[key] for s in tests]) for key in tests[0]}


def held(opened: OpenPackage, x: dict[str, Array], *, emulated: bool = False) -> None:
    """What the sources write is what the reference says, bit for bit."""
    rows, expected = opened.run(x, emulated=emulated), opened.reference(x)
    assert list(rows) == list(opened.graph.outputs)
    for name, array in expected.items():
        assert rows[name].tobytes() == array.tobytes(), name
        assert opened.real(name, rows[name]).dtype == np.float32


def need(*cores: str) -> None:
    for core in cores:
        if missing(CORES[core]):
            pytest.skip(f"compiler or emulator of {core} are not installed")


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_every_operator_runs_as_the_reference_says(precision: str, tmp_path: Path) -> None:
    need("c99")
    held(*written("all", precision, tmp_path))


@pytest.mark.parametrize("core", sorted(set(CORES) - {"c99", "aarch64"}))
def test_samples_go_through_every_core(core: str, tmp_path: Path) -> None:
    need(core)
    held(*written("branches", "int8", tmp_path, core), emulated=True)


def test_a_configuration_leads_to_the_same_sources(tmp_path: Path) -> None:
    opened, _ = written("residual", "int8", tmp_path / "a", "cortex-m4")
    request = BundleRequest(
        opened.graph,
        {},
        samples(opened.graph, 1),
        "",
        tmp_path / "b",
        "case",
        source=DIGEST,
        configuration=tmp_path / "a" / "config.toml",
    )
    BUNDLES.write(request)
    for name in ("model.c", "model.h", "weights.c", "config.toml", "source.onnx"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("name", ["model.c", "weights.c", "config.toml", "source.onnx"])
def test_changed_files_are_refused(name: str, tmp_path: Path) -> None:
    written("residual", "int8", tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(InputError, match=f"{name} was changed"):
        OpenPackage(tmp_path)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda plain: {**plain, "files": {"../config.toml": "0"}}, "names no files"),
        (lambda plain: {**plain, "files": None}, "names no files"),
        (lambda plain: {**plain, "report": None}, "report"),
        (lambda plain: {**plain, "schema": "x"}, "schema"),
        (lambda plain: [plain], "schema"),
    ],
)
def test_hostile_documents_are_refused(change: object, said: str, tmp_path: Path) -> None:
    assert callable(change)
    written("residual", "int8", tmp_path)
    path = tmp_path / "bundle.json"
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    with pytest.raises(InputError, match=said):
        OpenPackage(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('schema = "nest-tune/bundle-config/1"', 'schema = "x"', "schema"),
        ("outputs = 2", "outputs = 3", "not legal"),
        ('core = "cortex-m4"', 'core = "cortex-m9"', "not"),
        (DIGEST, "1" * 64, "is for model"),
        ("precision", "precission", "precission"),
    ],
)
def test_wrong_configurations_are_refused(old: str, new: str, said: str, tmp_path: Path) -> None:
    opened, _ = written("residual", "int8", tmp_path / "a", "cortex-m4")
    text = (tmp_path / "a" / "config.toml").read_text()
    assert old in text
    (tmp_path / "config.toml").write_text(text.replace(old, new))
    request = BundleRequest(
        opened.graph,
        {},
        samples(opened.graph, 1),
        "",
        tmp_path / "b",
        "case",
        source=DIGEST,
        configuration=tmp_path / "config.toml",
    )
    with pytest.raises(InputError, match=said):
        BUNDLES.write(request)
    shutil.rmtree(tmp_path / "a")


@pytest.mark.parametrize("name", names())
def test_graphs_that_packages_hold_have_the_same_tensors_when_opened(
    name: str, tmp_path: Path
) -> None:
    graph = simplify(CASES[name]())
    (tmp_path / "m.onnx").write_bytes(write_model(graph).SerializeToString())
    opened = simplify(import_onnx(tmp_path / "m.onnx"))
    told = [(node.op, node.outputs) for node in graph.nodes]
    assert [(node.op, node.outputs) for node in opened.nodes] == told
