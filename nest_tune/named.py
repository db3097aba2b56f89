"""What a lock file or a study names: model, target and data, found again where they were."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from compiler_core.configuration.configuration import Configuration, read_configuration
from compiler_core.configuration.lock import Lock
from compiler_core.errors import InputError
from compiler_core.files.file_digest import file_digest
from nest_tune.study_command import study_command

if TYPE_CHECKING:
    from nest_tune.study.store.result import StudyResult


@dataclass(frozen=True)
class NamedFile:
    """A file that a lock file or a study names.

    Attributes:
        where: Who names it.
        what: Of which kind it is, for people.
        path: Where it was.
        digest: SHA-256 of its bytes then; empty where they are held to something else.
        option: Of the command line, that says where it is now.
    """

    where: str
    what: str
    path: Path
    digest: str
    option: str

    def found(self) -> Path:
        """Where the file is, as it was.

        Raises:
            InputError: It has moved or changed.
        """
        if not self.path.is_file():
            raise InputError(
                f"{self.where} names the {self.what} {self.path}: there is no such file",
                hint=f"say where it is now: {self.option} FILE",
            )
        if self.digest and (now := file_digest(self.path)) != self.digest:
            raise InputError(
                f"{self.where} names the {self.what} {self.path} with digest "
                f"{self.digest[:16]}…; the file has {now[:16]}…",
                hint=f"give the unchanged file: {self.option} FILE",
            )
        return self.path


@dataclass(frozen=True)
class Named:
    """What a lock file or a study names.

    Attributes:
        where: The lock file, or the study.
        model: Its digest is that of the imported graph, which a compile compares.
        target: Name, or path of a ``.toml`` file.
        shapes: Of inputs with dynamic axes.
        calibration, evaluation: Data; ``None`` where there were none, or their place was not
            written down.
        metric: Of accuracy; empty for none.
    """

    where: str
    model: NamedFile
    target: str
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    calibration: NamedFile | None = None
    evaluation: NamedFile | None = None
    metric: str = ""


def named_by_lock(path: Path, configuration: Configuration | None = None) -> Named:
    """What a lock file names.

    Args:
        path: The lock file; paths in it are relative to its folder.
        configuration: What it holds, where it has been read already.

    Raises:
        InputError: It cannot be read, is a configuration alone, or a path in it is none.
    """
    found = (configuration or read_configuration(path)).lock
    if found is None:
        raise InputError(
            f"{path}: a configuration without [lock]: it names no model, target and data",
            hint="nest-tune study export NAME -o best.toml writes one",
        )
    return named_by(path, found)


def named_by(path: Path, found: Lock) -> Named:
    """What a lock names.

    Args:
        path: Its file; paths in it are relative to its folder.
        found: What it says.

    Raises:
        InputError: A path in it is none.
    """
    for name in ("model", "target", "calibration", "evaluation_file"):
        if "\0" in getattr(found, name):
            raise InputError(f"{path}: lock.{name}: {getattr(found, name)!r} is no path")
    folder, where = path.absolute().parent, str(path)
    named = [
        NamedFile(where, what, folder / name, digest, option) if name else None
        for what, name, digest, option in (
            ("calibration data", found.calibration, found.calibration_digest, "--calibration"),
            ("evaluation data", found.evaluation_file, found.evaluation, "--data"),
        )
    ]
    return Named(
        where,
        NamedFile(where, "model", folder / found.model, "", "--model"),
        str(folder / found.target) if found.target.endswith(".toml") else found.target,
        {name: tuple(shape) for name, shape in found.shapes.items()},
        named[0],
        named[1],
        found.metric,
    )


def named_by_study(result: StudyResult) -> Named:
    """What a study names."""
    settings, digests = result.settings, result.study.document.get("digests", {})
    where = f"study {result.study.name!r}"

    def data(kind: str, path: str | None, option: str) -> NamedFile | None:
        if path is None:
            return None
        return NamedFile(where, f"{kind} data", Path(path), digests.get(kind, ""), option)

    return Named(
        where,
        NamedFile(where, "model", Path(settings.model), "", "--model"),
        settings.target,
        settings.shapes,
        data("calibration", settings.calibration, "--calibration"),
        data("evaluation", settings.evaluation, "--data"),
        settings.metric if settings.evaluation is not None else "",
    )


def require_files(result: StudyResult) -> None:
    """Refuses to go on where a file of a study has moved or changed.

    Raises:
        InputError: Says which one, and how to give it.
    """
    named = named_by_study(result)
    for option, file in (
        ("--model", named.model),
        ("--calibration", named.calibration),
        ("--evaluation", named.evaluation),
    ):
        if file is not None:
            command = study_command("resume", result.study.name, option)
            replace(file, option=command).found()
