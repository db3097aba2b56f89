"""Arguments that hold another kind of file than their command takes, and what was meant."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nest_tune.cli.file_kinds import FileKind, kind_of_file

_TAKES: dict[str, FileKind] = {
    "model": FileKind.MODEL,
    "against": FileKind.MODEL,
    "target": FileKind.TARGET,
    "config": FileKind.LOCK,
    "lock": FileKind.LOCK,
    "locks": FileKind.LOCK,
    "plan": FileKind.PLAN,
    "calibration": FileKind.DATA,
    "evaluation": FileKind.DATA,
    "inputs": FileKind.DATA,
    "data": FileKind.DATA,
    "profile": FileKind.PROFILE,
    "profile_file": FileKind.PROFILE,
    "package": FileKind.PACKAGE,
    "program": FileKind.PROGRAM,
    "task": FileKind.TASK,
    "schedule": FileKind.SCHEDULE,
    "scheme": FileKind.SCHEME,
    "cpu_table": FileKind.CPU_TABLE,
    "name": FileKind.STUDY_NAME,
    "names": FileKind.STUDY_NAME,
}
"""What a parameter takes, by its name, in whatever command it stands."""

_ALSO = {
    ("bundle", "model"): (FileKind.PACKAGE,),
    ("study start", "file"): (FileKind.MODEL,),
}
"""Kinds that a parameter takes beside the one that it usually is, by command and name."""

_TAKES_THERE: dict[tuple[str, str], FileKind] = {
    ("study start", "file"): FileKind.STUDY,
    ("record import", "file"): FileKind.RECORDS,
    ("target check", "file"): FileKind.TARGET,
    ("cost-model show", "model"): FileKind.COST_MODEL,
}
"""Where the same name means something else."""

_FREE_NAMES = frozenset({"bundle"})
"""Commands whose ``--name`` is any text."""

_FOR: dict[FileKind, str] = {
    FileKind.MODEL: "compile {} --target vta --calibration calib.npz -o package",
    FileKind.DATA: "compile model.onnx --target vta --calibration {} -o package",
    FileKind.STUDY: "study start {}",
    FileKind.LOCK: "ci check {}",
    FileKind.PLAN: "plan check model.onnx --target vta --plan {}",
    FileKind.TARGET: "target check {}",
    FileKind.SCHEDULE: "task measure TASK --target vta --schedule {}",
    FileKind.SCHEME: "quantize sensitivity model.onnx --target vta --scheme {}",
    FileKind.TASK: "task tune {} --target vta",
    FileKind.PACKAGE: "run {} --inputs x.npz --outputs y.npz",
    FileKind.PROGRAM: "simulate {} --target vta",
    FileKind.PROFILE: "compile model.onnx --target vta --profile {} -o package",
    FileKind.RECORDS: "record import {}",
    FileKind.DATABASE: "study list --storage sqlite:///{}",
    FileKind.COST_MODEL: "cost-model show --model {}",
    FileKind.CPU_TABLE: "plan best model.onnx --target vta --cpu-table {}",
}
"""What takes a file of that kind, where the command at hand does not."""


@dataclass(frozen=True)
class Mistake:
    """An argument that holds another kind of file.

    Attributes:
        message: Which, what it is, what is needed.
        hint: The command that was probably meant.
    """

    message: str
    hint: str


def mistaken(command: Any, words: Sequence[str], arguments: Sequence[str]) -> Mistake | None:
    """The first argument of a command that is a file of another kind than it takes.

    Args:
        command: As the command line built it.
        words: Its name, a word each, without the program's.
        arguments: That follow the name.
    """
    name = " ".join(words)
    try:
        given = command.make_context(name, list(arguments), resilient_parsing=True).params
    except Exception:  # the arguments were refused already, with what is wrong with them
        return None
    wanted = {
        parameter.name: kind
        for parameter in command.params
        if (kind := _TAKES_THERE.get((name, parameter.name)) or _TAKES.get(parameter.name))
        and not (kind is FileKind.STUDY_NAME and name in _FREE_NAMES)
    }
    for parameter in command.params:
        need = wanted.get(parameter.name)
        for path in _paths(given.get(parameter.name)):
            found = None if need is None else kind_of_file(path)
            if need is None or found is None or _fits(found, need):
                continue
            if found in _ALSO.get((name, parameter.name), ()):
                continue
            message = f"{_shown(parameter)} {path}: is {found.value}; {need.value} is needed"
            return Mistake(message, _hint(command, name, wanted, path, found, need))
    return None


def _fits(found: FileKind, need: FileKind) -> bool:
    """Whether the command itself says best what is wrong with such a file."""
    return found is need or (found is FileKind.FOLDER and need is FileKind.PACKAGE)


def _paths(value: Any) -> Iterator[Path]:
    if isinstance(value, Path | str):
        yield Path(value)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _paths(item)


def _shown(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or parameter.name.upper()).strip("[]…")
    return str(max(parameter.opts, key=len))


def _hint(
    command: Any,
    name: str,
    wanted: dict[str, FileKind],
    path: Path,
    found: FileKind,
    need: FileKind,
) -> str:
    if found is FileKind.FOREIGN and need is FileKind.MODEL:
        return "export it to ONNX first: torch.onnx.export, tf2onnx or skl2onnx"
    if found is FileKind.PACKAGE and need is FileKind.LOCK:
        path, found = path / "config.toml", need
    elif found is FileKind.PACKAGE and need is FileKind.MODEL and name == "plan show":
        path, found = path / "model.qdq.onnx", need
    elif found is FileKind.MANIFEST:
        path, found = path.absolute().parent, FileKind.PACKAGE
    takers = [item for item in command.params if wanted.get(item.name) is found]
    if takers:
        taker = takers[0]
        lead = "" if taker.param_type_name == "argument" else f"{_shown(taker)} "
        return f"nest-tune {name} {lead}{path}"
    if found in _FOR:
        return f"nest-tune {_FOR[found].format(path)}"
    return f"nest-tune {name} --help"
