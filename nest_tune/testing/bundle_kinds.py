"""What kinds have to hold that write models as sources: the facet ``bundles``.

The author of such a kind calls :func:`check_bundles` in a test, with a target whose sources run on
this machine.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from compiler_core.compile.sources import FloatModel, noise_samples
from compiler_core.errors import NestTuneError
from compiler_core.graph.session import FloatSession
from compiler_core.quantize.profile import profile_model
from compiler_core.units.facets.bundles import BundleReport, BundleRequest, Bundles
from nest_tune.bundling import self_test_samples

_RUNS = 3
_CLOSE = 1e-3
"""Of float32 sources to the float model, against its largest output."""


def check_bundles(bundles: Bundles, target: str, model: FloatModel) -> None:
    """Checks the facet.

    Args:
        bundles: The facet of the kind.
        target: One of its targets, whose sources run here.
        model: A small one.

    Raises:
        AssertionError: Something does not hold; says what.
    """
    check_targets(bundles)
    samples = noise_samples(model.graph, _RUNS)
    for precision in ("float32", "int8"):
        with tempfile.TemporaryDirectory() as folder:
            request = _request(model, samples, target, Path(folder) / "one", precision)
            report = bundles.write(request)
            check_report(report, request)
            check_bits(bundles, request, samples)
            check_rebuilt(bundles, request, Path(folder) / "two")
            check_damage(bundles, request.folder)


def check_targets(bundles: Bundles) -> None:
    """Every target that comes along says what it is; others are refused."""
    names = bundles.targets()
    assert names, "there is a target"
    assert len(set(names)) == len(names), "targets have names of their own"
    for name in names:
        found = bundles.describe(name)
        assert bundles.describe(str(bundles.file(name))) == found, f"{name}: its file is it"
        assert found.name == name, "a target knows its name"
        assert found.core, "a target has a core"
        for size in (found.flash_bytes, found.ram_bytes, found.clock_hz):
            assert size is None or size > 0, "what is limited is limited to something"
        assert isinstance(bundles.counts(found.core), bool)
    _require_refused(lambda: bundles.describe("no such target"), "an unknown target is refused")


def check_report(report: BundleReport, request: BundleRequest) -> None:
    """Figures of a report fit one another, and what lies in the arena at one time lies apart."""
    assert report.target == request.target, "a report says its target"
    assert report.constant_bytes > 0, "weights are constants"
    assert 0 <= report.arena_bound_bytes <= report.arena_bytes, "no arena is below its bound"
    assert report.ram_peak_bytes == report.arena_bytes + report.port_bytes
    assert report.flash_bytes is None or report.flash_bytes >= report.constant_bytes
    assert report.operators, "operators are listed"
    for use in report.arena:
        assert use.first <= use.last, "a value is written before it is used"
        assert 0 <= use.offset <= use.offset + use.size_bytes <= report.arena_bytes
    for at, one in enumerate(report.arena):
        for other in report.arena[at + 1 :]:
            together = one.first <= other.last and other.first <= one.last
            apart = (
                one.offset + one.size_bytes <= other.offset
                or other.offset + other.size_bytes <= one.offset
            )
            assert not together or apart, f"{one.name} and {other.name} lie on one another"


def check_bits(
    bundles: Bundles, request: BundleRequest, samples: Mapping[str, npt.NDArray[Any]]
) -> None:
    """What the sources compute is what the reference says, run by run; in float32 it is the model,
    and the self test agrees."""
    assert bundles.is_package(request.folder), "what was written with a digest is a package"
    opened = bundles.open(request.folder)
    assert opened.model == (request.model, request.source), "a package says what it was made from"
    assert opened.report.target == request.target
    ours, wanted = opened.run(samples), opened.reference(samples)
    assert ours.keys() == wanted.keys() == set(request.graph.outputs)
    for name, rows in ours.items():
        assert rows.tobytes() == np.asarray(wanted[name], rows.dtype).tobytes(), f"bits of {name}"
        assert len(rows) == _RUNS, "a row per run"
    if request.precision == "float32":
        session = FloatSession(request.graph)
        for run in range(_RUNS):
            known = session.run({n: a[run : run + 1] for n, a in samples.items()})
            for name, values in known.items():
                real = opened.real(name, ours[name])[run : run + 1]
                limit = _CLOSE * max(1.0, float(np.abs(values).max()))
                assert np.abs(real.reshape(values.shape) - values).max() <= limit, name
    assert bundles.check(opened.report, request.folder), "the self test says what it did"


def check_rebuilt(bundles: Bundles, request: BundleRequest, folder: Path) -> None:
    """The configuration of a package leads to the same files again."""
    found = [path for path in request.folder.rglob("*.toml") if bundles.is_configuration(path)]
    assert len(found) == 1, "a package has its configuration"
    assert not bundles.is_configuration(request.folder / "no such file.toml")
    again = replace(request, folder=folder, ranges={}, target="", configuration=found[0])
    bundles.write(again)
    sources = {path.relative_to(request.folder) for path in _sources(request.folder)}
    assert sources == {path.relative_to(folder) for path in _sources(folder)}
    for path in sources:
        same = (request.folder / path).read_bytes() == (folder / path).read_bytes()
        assert same, f"{path} follows from the configuration"


def check_damage(bundles: Bundles, folder: Path) -> None:
    """A package of which a file is changed or missing is refused."""
    for path in _sources(folder):
        content = path.read_bytes()
        for damaged in (content[:-1], None):
            if damaged is None:
                path.unlink()
            else:
                path.write_bytes(damaged)
            _require_refused(lambda: bundles.open(folder), f"{path.name} is held to its digest")
        path.write_bytes(content)
    bundles.open(folder)


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".c", ".h"))


def _request(
    model: FloatModel,
    samples: Mapping[str, npt.NDArray[Any]],
    target: str,
    folder: Path,
    precision: str,
) -> BundleRequest:
    ranges = profile_model(model.graph, samples).ranges() if precision == "int8" else {}
    tests = self_test_samples(model.graph, samples, 2)
    return BundleRequest(
        model.graph,
        dict(ranges),
        tests,
        target,
        folder,
        model.name,
        precision=precision,
        source=model.digest,
    )


def _require_refused(attempt: Any, what: str) -> None:
    try:
        attempt()
    except NestTuneError:
        return
    raise AssertionError(what)
