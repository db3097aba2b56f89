"""The untuned default of quantization, found once per model, plan and calibration data.

Whatever means the untuned default asks here: ``compile`` without a scheme, trial 0 of a study,
``task list``, ``space show``. What was found lies in the cache folder, one small file each, named
by what it depends on. A damaged file counts as none, and a folder that cannot be written only
costs time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from compiler_core.compile.sources import FloatModel, assignment_of
from compiler_core.configuration.configuration import Configuration, Scheme
from compiler_core.errors import InputError
from compiler_core.files.plain import from_plain, to_plain
from compiler_core.graph.ir import Graph
from compiler_core.graph.text import graph_digest
from compiler_core.quantize.arithmetic import usual_arithmetic
from compiler_core.quantize.kept_scales import kept_scheme
from compiler_core.quantize.ladder import Choice, climb
from compiler_core.quantize.ladder_record import Ladder, Quality
from compiler_core.quantize.profile import Profile
from compiler_core.quantize.scheme import read_scheme, scheme_document
from compiler_core.quantize.unit_arithmetics import Computing, unit_arithmetics
from compiler_core.units.names import shares_of
from nest_tune.stores.compiler_source import source_digest
from nest_tune.stores.reconstruction_store import stored_reconstruction
from nest_tune.stores.task_store import cache_folder

_SCHEMA = "nest-tune/default-scheme/1"

Progress = Callable[[str], None]


def with_default_scheme(
    configuration: Configuration,
    model: FloatModel,
    profile: Profile,
    *,
    arithmetic: Computing | None = None,
    threads: int = 1,
    progress: Progress = lambda _: None,
    pinned: bool | None = None,
) -> Configuration:
    """A configuration whose scheme is decided: its own, or the untuned default where it has none.

    Args:
        configuration: Its plan says what runs on the NPU.
        model: What is compiled.
        profile: Statistics of the calibration data, with the samples.
        arithmetic: Of the NPUs; by default one of the usual kind.
        threads: Threads of onnxruntime.
        progress: Told what is being done.
        pinned: Whether somebody decided the plan; by default wherever there is one.

    Raises:
        InputError: The plan or the profile does not fit the model.
    """
    if not configuration.scheme.is_open:
        return configuration
    kept = with_kept_scheme(configuration, model, arithmetic, exact=True)
    if kept is not configuration:
        return kept
    assignment = assignment_of(model, configuration, arithmetic)
    found = default_choice(
        model.graph,
        assignment,
        profile,
        arithmetic=arithmetic,
        threads=threads,
        progress=progress,
        pinned=bool(configuration.plan) if pinned is None else pinned,
    )
    scheme = replace(Scheme.of({}, found.scheme), quality=found.quality, ladder=found.ladder)
    return replace(configuration, scheme=scheme)


def with_kept_scheme(
    configuration: Configuration,
    model: FloatModel,
    arithmetic: Computing | None = None,
    *,
    exact: bool = False,
) -> Configuration:
    """A configuration that keeps the scales of a model that is quantized already, where nothing is
    decided and the model has all that it takes; else the configuration as it is.

    Args:
        configuration: Of the compile.
        model: What is compiled.
        arithmetic: Of the NPUs; by default one of the usual kind.
        exact: Whether weights have to keep their integers, too.

    Raises:
        InputError: The plan does not fit the model.
    """
    if not configuration.scheme.is_open or not model.graph.kept:
        return configuration
    assignment = assignment_of(model, configuration, arithmetic)
    scheme = kept_scheme(model.graph, assignment, arithmetic, exact=exact)
    if scheme is None:
        return configuration
    return replace(configuration, scheme=Scheme.of({}, scheme))


def known_choice(
    graph: Graph,
    assignment: Mapping[str, str],
    profile: Profile,
    *,
    arithmetic: Computing | None = None,
    pinned: bool = False,
) -> Choice | None:
    """What :func:`default_choice` has found before; ``None`` where it would have to climb."""
    if profile.inputs is None:
        return None
    assignment = _on_units(assignment, arithmetic)
    return _read(_path(graph, assignment, profile, arithmetic, pinned))


def _on_units(assignment: Mapping[str, str], arithmetic: Computing | None) -> dict[str, str]:
    """The unit of each node, without what a plan says of its cores."""
    units, found = unit_arithmetics(arithmetic), {}
    for name, place in assignment.items():
        found[name] = place if shares_of(place) else units.unit_of(place, name) or place
    return found


def _path(
    graph: Graph,
    assignment: Mapping[str, str],
    profile: Profile,
    arithmetic: Computing | None,
    pinned: bool,
) -> Path:
    key = _key(graph, assignment, profile, arithmetic, pinned)
    return cache_folder() / "default-schemes" / f"{key}.json"


def default_choice(
    graph: Graph,
    assignment: Mapping[str, str],
    profile: Profile,
    *,
    arithmetic: Computing | None = None,
    threads: int = 1,
    progress: Progress = lambda _: None,
    pinned: bool = False,
) -> Choice:
    """The untuned default of a model under a plan, looked up or climbed for now.

    Args:
        graph: The float graph, simplified.
        assignment: Unit per node.
        profile: Statistics of that graph, with the samples.
        arithmetic: Of the NPUs; by default one of the usual kind.
        threads: Threads of onnxruntime.
        progress: Told of each rung.
        pinned: Whether somebody decided the plan: then nothing leaves its unit.

    Raises:
        InputError: The profile does not fit the graph.
    """
    profile.check_model(graph)
    # Which core of a unit runs a node makes no difference here.
    assignment = _on_units(assignment, arithmetic)
    known = known_choice(graph, assignment, profile, arithmetic=arithmetic, pinned=pinned)
    if known is not None:
        return known
    path = _path(graph, assignment, profile, arithmetic, pinned)
    found = climb(
        graph,
        assignment,
        profile,
        arithmetic=arithmetic,
        reconstruction=lambda scheme: stored_reconstruction(profile, scheme),
        threads=threads,
        progress=progress,
        pinned=pinned,
    )
    if profile.inputs is not None:
        with suppress(OSError):
            _write(path, found)
    return found


def _key(
    graph: Graph,
    assignment: Mapping[str, str],
    profile: Profile,
    arithmetic: Computing | None,
    pinned: bool,
) -> str:
    parts = (
        _SCHEMA,
        source_digest(),
        version("onnxruntime"),
        graph_digest(graph),
        json.dumps(sorted(assignment.items())),
        repr(arithmetic or usual_arithmetic()),
        profile.data_digest,
        str(pinned),
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _read(path: Path) -> Choice | None:
    try:
        document: Any = json.loads(path.read_bytes())
        if document["schema"] != _SCHEMA:
            return None
        return Choice(
            read_scheme(document["scheme"], str(path)),
            from_plain(Quality, document["quality"], "quality") if document["quality"] else None,
            from_plain(Ladder, document["ladder"], "ladder"),
        )
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        OverflowError,
        RecursionError,
        InputError,
    ):
        return None


def _write(path: Path, found: Choice) -> None:
    document = {
        "schema": _SCHEMA,
        "scheme": scheme_document(found.scheme),
        "quality": to_plain(found.quality),
        "ladder": to_plain(found.ladder),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(document))
    temporary.replace(path)
