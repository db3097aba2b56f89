"""Configurations: scheme, plan and schedules, everything that the final compile needs.

On disk a configuration is ``config.toml``, the lock file: one key per line in a stable order, so
that a change is one line of a diff. Unknown keys are errors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from compiler_core.configuration.launches import LaunchSettings, launches_table, read_launches
from compiler_core.configuration.lock import Lock, read_lock
from compiler_core.configuration.runtime import Runtime, read_runtime, runtime_table
from compiler_core.configuration.slicing import read_slicings, slicing_tables
from compiler_core.errors import InputError
from compiler_core.files.brief import brief
from compiler_core.files.counts import require_counts
from compiler_core.files.plain import from_plain, refuse_unknown, to_plain
from compiler_core.files.toml_file import parse_toml, read_toml, toml_text
from compiler_core.quantize.fitting import EXPONENT_LIMIT
from compiler_core.quantize.ladder_record import Ladder, Quality
from compiler_core.quantize.scheme import QuantizationScheme, read_scheme, scheme_document
from compiler_core.units.names import is_place
from compiler_core.units.registry import kind_of_id

CONFIGURATION_SCHEMA = "nest-tune/config/1"
ORDER = "order"
"""Key of the order of nodes."""

_AGAIN = "calibrate again"

_TABLES = (
    *("model", "target", "scheme", "plan", "schedule", "slicing", "launches", "runtime"),
    *("measured", "lock", ORDER),
)


@dataclass(frozen=True)
class Scheme:
    """The quantization decisions.

    Attributes:
        exponents: ``real = integer * 2**-exponent`` per int8 tensor; empty where calibration still
            has to find them.
        decisions: What a quantization scheme decides otherwise than the default, as text by name:
            it takes the calibration data again. Empty where the exponents say everything.
        quality: What was measured of it on calibration data; left out where nothing was.
        ladder: How it was found, where it is the untuned default.
    """

    exponents: Mapping[str, int] = field(default_factory=dict)
    decisions: Mapping[str, str] = field(default_factory=dict)
    quality: Quality | None = None
    ladder: Ladder | None = None

    @property
    def is_open(self) -> bool:
        """Whether nothing is decided, so that the untuned default has to be found."""
        return not self.exponents and not self.decisions and self.ladder is None

    @classmethod
    def of(cls, exponents: Mapping[str, int], scheme: QuantizationScheme) -> Scheme:
        """Exponents that ``scheme`` led to, beside what it decides."""
        default = scheme_document(QuantizationScheme())
        decisions = {
            name: value if isinstance(value, str) else json.dumps(value)
            for name, value in scheme_document(scheme).items()
            if value != default[name]
        }
        return cls(exponents, decisions)

    def quantization(self) -> QuantizationScheme:
        """The scheme that :attr:`decisions` are of.

        Raises:
            InputError: A name or value is unknown.
        """
        default = scheme_document(QuantizationScheme())
        document: dict[str, Any] = {}
        for name, text in self.decisions.items():
            plain = isinstance(default.get(name, ""), str) and not text.isdigit()
            try:
                document[name] = text if plain else json.loads(text)
            except (ValueError, RecursionError):
                raise InputError(f"scheme: {name} is {text!r}; JSON is needed") from None
        return read_scheme(document, "scheme")


@dataclass(frozen=True)
class Subject:
    """What a configuration was made for: a model or a target; no digest fits every one."""

    name: str = ""
    digest: str = ""


@dataclass(frozen=True)
class Configuration:
    """One point of the search.

    Attributes:
        scheme: How tensors become integers.
        plan: Unit per graph node; empty for everything that the NPU supports.
        schedules: Schedule per task id; a task without one gets the untuned default.
        slicing: How operators that the plan cuts across cores are cut, by task id; one without gets
            the untuned default.
        launches: Which layers follow one another in one program.
        model, target: What it was made for.
        measured: Metrics when it was compiled, by name.
        lock: What a check compares a new compile with; only in lock files.
        runtime: How onnxruntime runs it, where the target is this machine.
        order: Names of nodes, those of highest priority first, where several wait for a unit; empty
            for the longest remaining way first.
    """

    scheme: Scheme = field(default_factory=Scheme)
    plan: Mapping[str, str] = field(default_factory=dict)
    schedules: Mapping[str, Any] = field(default_factory=dict)
    model: Subject = field(default_factory=Subject)
    target: Subject = field(default_factory=Subject)
    measured: Mapping[str, float] = field(default_factory=dict)
    lock: Lock | None = None
    slicing: Mapping[str, Any] = field(default_factory=dict)
    launches: LaunchSettings = field(default_factory=LaunchSettings)
    runtime: Runtime = field(default_factory=Runtime)
    order: tuple[str, ...] = ()

    @property
    def is_compiled(self) -> bool:
        """Whether it is what a compile found."""
        return bool(self.measured) or self.lock is not None


def configuration_document(configuration: Configuration) -> dict[str, Any]:
    """A configuration as plain values; the tables of the TOML file."""
    launches = launches_table(configuration.launches, is_compiled=configuration.is_compiled)
    runtime = runtime_table(configuration.runtime)
    document = {
        "schema": CONFIGURATION_SCHEMA,
        **({ORDER: list(configuration.order)} if configuration.order else {}),
        "model": to_plain(configuration.model),
        "target": to_plain(configuration.target),
        "scheme": _scheme_document(configuration.scheme),
        "plan": to_plain(configuration.plan),
        "schedule": to_plain(dict(sorted(configuration.schedules.items()))),
        **({"slicing": slicing_tables(configuration.slicing)} if configuration.slicing else {}),
        **({"launches": launches} if launches else {}),
        **({"runtime": runtime} if runtime else {}),
        "measured": to_plain(configuration.measured),
    }
    if configuration.lock is not None:
        document["lock"] = to_plain(configuration.lock)
    return document


def _scheme_document(scheme: Scheme) -> dict[str, Any]:
    document: dict[str, Any] = {"exponents": to_plain(scheme.exponents)}
    if scheme.decisions:
        document["decisions"] = to_plain(scheme.decisions)
    record = {"quality": to_plain(scheme.quality), "ladder": to_plain(scheme.ladder)}
    found: dict[str, Any] = _without_missing(document | record)
    return found


def scheme_record(scheme: Scheme) -> dict[str, Any]:
    """What was measured and taken down about a scheme, as reports hold it; ``None`` for nothing."""
    return {"quality": to_plain(scheme.quality), "scheme_ladder": _ladder_document(scheme)}


def _ladder_document(scheme: Scheme) -> dict[str, Any] | None:
    """The ladder with its rungs in a list and the decisions that it led to."""
    ladder = scheme.ladder
    if ladder is None:
        return None
    return {
        "taken": ladder.taken,
        "good_enough": ladder.good_enough,
        "decisions": dict(scheme.decisions),
        "latency_ms": ladder.latency_ms,
        "first_latency_ms": ladder.first_latency_ms,
        "rungs": [{"name": name, **to_plain(rung)} for name, rung in ladder.rungs.items()],
    }


def _read_scheme(value: Any, where: str) -> Scheme:
    scheme = from_plain(Scheme, value, where)
    for tensor, exponent in scheme.exponents.items():
        if abs(exponent) > EXPONENT_LIMIT:
            raise InputError(
                f"{where}.exponents.{tensor}: {brief(exponent)}; scales reach from "
                f"2**-{EXPONENT_LIMIT} to 2**{EXPONENT_LIMIT}",
                hint=_AGAIN,
            )
    _require_counts_of(scheme, where)
    return scheme


def _require_counts_of(scheme: Scheme, where: str) -> None:
    """Of what was measured, all but the noise in dB is 0 or more."""
    ladder = scheme.ladder or Ladder("", good_enough=False)
    qualities = {
        f"ladder.rungs.{name}.quality": rung.quality for name, rung in ladder.rungs.items()
    }
    for place, quality in {"quality": scheme.quality, **qualities}.items():
        if quality is not None:
            require_counts(replace(quality, sqnr_db=0.0), f"{where}.{place}", hint=_AGAIN)
    require_counts(replace(ladder, rungs={}), f"{where}.ladder", hint=_AGAIN)


def _without_missing(value: Any) -> Any:
    """TOML has no null."""
    if not isinstance(value, dict):
        return value
    return {name: _without_missing(item) for name, item in value.items() if item is not None}


def read_configuration_document(document: Any, where: str) -> Configuration:
    """The inverse of :func:`configuration_document`.

    Raises:
        InputError: A key is unknown, missing or of the wrong type.
    """
    if not isinstance(document, dict):
        raise InputError(f"{where}: no table of keys")
    refuse_unknown(document, ["schema", *_TABLES], where)
    schema = document.get("schema")
    if schema != CONFIGURATION_SCHEMA:
        raise InputError(f"{where}: schema {schema!r}; {CONFIGURATION_SCHEMA!r} is needed")
    schedules = document.get("schedule", {})
    if not isinstance(schedules, dict):
        raise InputError(f"{where}: schedule is no table")
    plan = from_plain(dict[str, str], document.get("plan", {}), f"{where}: plan")
    for node, unit in plan.items():
        if not is_place(unit):
            raise InputError(
                f"{where}: plan.{node}: {unit[:80]!r} is no name of a place: those of a target are "
                "called after its units (small letters, digits and dashes)",
                hint="nest-tune target show TARGET names its units",
            )
    return Configuration(
        _read_scheme(document.get("scheme", {}), f"{where}: scheme"),
        plan,
        {
            name: read_schedule(name, value, f"{where}: schedule.{name}")
            for name, value in schedules.items()
        },
        from_plain(Subject, document.get("model", {}), f"{where}: model"),
        from_plain(Subject, document.get("target", {}), f"{where}: target"),
        from_plain(dict[str, float], document.get("measured", {}), f"{where}: measured"),
        read_lock(document["lock"], f"{where}: lock") if "lock" in document else None,
        read_slicings(document.get("slicing", {}), where),
        read_launches(
            document.get("launches"),
            where,
            is_compiled=bool(document.get("measured")) or "lock" in document,
        ),
        read_runtime(document.get("runtime"), f"{where}: runtime"),
        from_plain(tuple[str, ...], document.get(ORDER, []), f"{where}: order"),
    )


def read_schedule(task: str, value: Any, where: str) -> Any:
    """A schedule from plain values.

    Args:
        task: Id of the task that it is for, which names the kind of unit.
        value: Plain.
        where: What errors call its place.

    Raises:
        InputError: The kind is not known; a key is unknown, missing or of the wrong type.
    """
    try:
        documents = kind_of_id(task).documents
    except InputError as error:
        raise InputError(f"{where}: {error}", hint=error.hint) from error
    return documents.schedule(value, where)


def configuration_text(configuration: Configuration) -> str:
    """A configuration as TOML."""
    return toml_text(configuration_document(configuration))


def read_configuration(path: Path) -> Configuration:
    """Reads ``config.toml``.

    Raises:
        InputError: The file cannot be read or is not a configuration.
    """
    return read_configuration_document(read_toml(path), str(path))


def parse_configuration(content: bytes, where: str) -> Configuration:
    """Parses TOML that has been read already.

    Raises:
        InputError: It is not a configuration.
    """
    return read_configuration_document(parse_toml(content, where), where)
