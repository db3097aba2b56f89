"""Reference pages from the code: commands, targets, schemes, errors, study files, file formats.

``python docs/generate.py`` writes them to ``docs/generated``; so does every build of the pages.
"""

from __future__ import annotations

import inspect
import os
import re
import typing
from collections.abc import Iterator
from dataclasses import MISSING, fields
from enum import Enum
from pathlib import Path
from typing import Any

Lines = Iterator[str]

EXPLANATIONS = (
    "method", "how-it-searches", "lowering", "programs", "quantization", "accuracy", "partition",
    "multicore", "targets", "duo", "aim", "report", "cluster",
    "how-it-compares", "speed", "limits", "platforms", "house",
)  # fmt: skip
"""Pages about how it works, in this order; others follow."""


def write_pages(folder: Path) -> None:
    """Writes every generated page; files that would not change are left alone."""
    pages = {
        "commands": commands(),
        "targets": targets(),
        "schemes": schemes(),
        "errors": errors(),
        "study-file": study_file(),
        "formats": formats(),
        "explanation": explanation(folder),
    }
    place = folder / "generated"
    place.mkdir(exist_ok=True)
    for name, lines in pages.items():
        text = "\n".join(lines).rstrip() + "\n"
        path = place / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def commands() -> Lines:
    """Every command with its help."""
    import typer.main

    from nest_tune.cli.app import app

    os.environ["COLUMNS"] = os.environ["TERMINAL_WIDTH"] = "96"
    yield "# Commands\n"
    yield "Exit codes are listed with the [errors](errors.md). `--debug` is allowed anywhere.\n"
    yield from _command(typer.main.get_command(app), None, "nest-tune")


def _command(command: Any, parent: Any, name: str) -> Lines:
    context = command.context_class(command, info_name=name.rpartition(" ")[2], parent=parent)
    yield f"{'#' * min(name.count(' ') + 2, 4)} {name}\n"
    yield "```text"
    yield from (line.rstrip() for line in command.get_help(context).strip().splitlines())
    yield "```\n"
    for verb in sorted(getattr(command, "commands", {})):
        yield from _command(command.commands[verb], context, f"{name} {verb}")


def targets() -> Lines:
    """Every bundled target, resolved."""
    from compiler_core.targets.load import bundled_targets, load_description

    yield "# Targets\n"
    yield "What the keys mean, and how to write your own: [](../targets.md).\n"
    for name in bundled_targets():
        description = load_description(name)
        target = description.target
        yield f"## {name}\n"
        yield f"{target.description}. Resolved from {' ← '.join(description.lineage)}; CPU "
        yield f"{target.cpu.name}; digest `{target.digest}`.\n"
        yield "| key | value | unit | origin | source |"
        yield "|---|---|---|---|---|"
        for quantity in description.quantities:
            origin = quantity.origin
            cells = (quantity.value, quantity.unit, origin.kind.value, origin.source)
            yield f"| `{quantity.key}` | " + " | ".join(map(_cell, cells)) + " |"
        yield ""


def schemes() -> Lines:
    """The decisions of a quantization scheme and their values."""
    from compiler_core.quantize.scheme import QuantizationScheme

    yield "# Quantization schemes\n"
    yield "Decisions of `[scheme]` in configurations; what they do: [](../quantization.md).\n"
    yield from _fields(QuantizationScheme)
    hints = typing.get_type_hints(QuantizationScheme)
    kinds = [k for hint in hints.values() for k in (hint, *typing.get_args(hint))]
    for kind in dict.fromkeys(k for k in kinds if inspect.isclass(k) and issubclass(k, Enum)):
        yield f"## {kind.__name__}\n"
        yield f"{_first(kind)}\n"
        meanings = _member_texts(kind)
        if not meanings:
            yield ", ".join(f"`{member.value}`" for member in kind) + "\n"
            continue
        yield "| value | meaning |"
        yield "|---|---|"
        for member in kind:
            yield f"| `{member.value}` | {_cell(meanings.get(member.name, ''))} |"
        yield ""


def errors() -> Lines:
    """Every class of error with its exit code."""
    from compiler_core import errors as module
    from nest_tune.cli.output import ExitCode

    yield "# Errors and exit codes\n"
    yield "Each error is one message: what is wrong, where, the value seen, what is allowed; and a "
    yield "hint. In Python all are subclasses of `nest_tune.NestTuneError`, with `message` and "
    yield "`hint`.\n"
    yield "| exit code | error | meaning |"
    yield "|---|---|---|"
    kinds = [
        kind
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if kind.__module__ == module.__name__
    ]
    for kind in sorted(kinds, key=lambda k: k.exit_code):
        yield f"| {kind.exit_code} | `{kind.__name__}` | {_cell(_first(kind))} |"
    yield ""
    yield "Others:\n"
    yield "| exit code | meaning |"
    yield "|---|---|"
    for code in ExitCode:
        yield f"| {code.value} | {code.name.lower()} |"


def study_file() -> Lines:
    """Every key of a study file."""
    from compiler_core.accuracy.metric import METRICS
    from nest_tune.study.request.study_file import StudyFile

    yield "# Study file\n"
    yield "All keys are also flags of `nest-tune study start`. A flag goes before the environment"
    yield "(`NEST_TUNE_STORAGE`, `NEST_TUNE_TRIAL_TIMEOUT`, `RAY_ADDRESS`), that before the file,"
    yield "that before the default."
    yield "Paths are relative to the file; unknown keys are errors that name the nearest known"
    yield "one.\n"
    for section, known in StudyFile.model_fields.items():
        yield f"## [{section}]\n"
        model: Any = known.annotation
        if not hasattr(model, "model_fields"):
            yield from _free_section(section)
            continue
        yield "| key | type | default |"
        yield "|---|---|---|"
        for key, entry in model.model_fields.items():
            default = "" if entry.default is None else f"`{entry.default}`"
            yield f"| `{key}` | {_cell(_type(entry.annotation))} | {default} |"
        yield ""
        if section == "data":
            names = ", ".join(f"`{name}`" for name in METRICS.names())
            yield f"Metrics of accuracy: {names}, or `module:function`.\n"


def _free_section(section: str) -> Lines:
    from nest_tune.study.request.goals import TrialMetric

    names = ", ".join(f"`{metric.value}`" for metric in TrialMetric)
    example = 'latency_ms = "minimize"' if section == "objectives" else 'accuracy_drop = "<= 1%"'
    yield f"A metric and a text, such as `{example}`. Metrics: {names}.\n"


def formats() -> Lines:
    """Records, configurations and locks."""
    from compiler_core.configuration.configuration import Configuration
    from compiler_core.configuration.lock import Lock, LockedLayer
    from nest_tune.records.record import MeasurementOutcome, Record
    from nest_tune.study.trial import OuterTrial

    yield "# Records, configurations, lock files\n"
    yield "Quantities carry their unit in the name. Files of another schema are refused.\n"
    for title, kind in (
        ("Record", Record),
        ("Configuration", Configuration),
        ("[lock]", Lock),
        ("[lock.layers.NAME]", LockedLayer),
        ("Trial", OuterTrial),
    ):
        yield f"## {title}\n"
        yield f"{_first(kind)}\n"
        yield from _fields(kind)
    yield "## Outcomes of records\n"
    yield ", ".join(f"`{outcome.value}`" for outcome in MeasurementOutcome)


def explanation(folder: Path) -> Lines:
    """The pages that explain how it works."""
    there = {path.stem for path in folder.glob("*.md")} - {"index", "tutorial"}
    names = [name for name in EXPLANATIONS if name in there]
    names += sorted(there - set(EXPLANATIONS))
    yield "# How it works\n"
    yield "```{toctree}\n:maxdepth: 1\n"
    yield from (f"../{name}" for name in names)
    yield "```"


def _fields(kind: Any) -> Lines:
    """A table of a dataclass's fields with what its docstring says of each."""
    texts = attribute_texts(kind)
    yield "| name | type | default | meaning |"
    yield "|---|---|---|---|"
    for field in fields(kind):
        default = ""
        if field.default is not MISSING:
            value = field.default.value if isinstance(field.default, Enum) else field.default
            default = f"`{value!r}`"
        words = (f"`{field.name}`", _cell(f"`{field.type}`"), _cell(default))
        yield f"| {' | '.join(words)} | {_cell(texts.get(field.name, ''))} |"
    yield ""


def attribute_texts(kind: Any) -> dict[str, str]:
    """What the ``Attributes:`` of a class say, by name."""
    section = (inspect.getdoc(kind) or "").partition("Attributes:\n")[2]
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        match = re.match(r"    (\w+(?:, \w+)*): (.*)", line)
        if match:
            names = match[1].split(", ")
            found |= dict.fromkeys(names, match[2])
        elif line.startswith("        "):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        elif line.strip():
            break
    return {name: _plain(text) for name, text in found.items()}


def _member_texts(kind: type[Enum]) -> dict[str, str]:
    """The strings below the members of an enum, by member."""
    pairs = re.findall(r'^    (\w+) = .*\n    """((?:.|\n)*?)"""', inspect.getsource(kind), re.M)
    return {name: _plain(" ".join(text.split())) for name, text in pairs}


def _first(kind: Any) -> str:
    return _plain(" ".join((inspect.getdoc(kind) or "").partition("\n\n")[0].split()))


def _plain(text: str) -> str:
    """Markdown of what a docstring says."""
    text = re.sub(r":\w+:`~?(?:[\w.]*\.)?(\w+)`", r"`\1`", text)
    return text.replace("``", "`")


def _cell(value: Any) -> str:
    return str(value).replace("|", "\\|")


def _type(hint: Any) -> str:
    args = typing.get_args(hint)
    if typing.get_origin(hint) is typing.Literal:
        return ", ".join(f"`{value}`" for value in args)
    if args and type(None) in args:
        return ", ".join(_type(arg) for arg in args if arg is not type(None))
    return f"`{getattr(hint, '__name__', None) if not args else hint}`"


if __name__ == "__main__":
    write_pages(Path(__file__).resolve().parent)
