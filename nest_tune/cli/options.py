"""Options and arguments that several commands take, each declared once."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from compiler_core.errors import InputError
from nest_tune.cli.completion import target_names
from nest_tune.study.request.settings import DEFAULT_STORAGE

if TYPE_CHECKING:
    from nest_tune.named import Named

EXAMPLE_TARGET = "vta"
"""Bundled target that commands take where none is given."""

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
ModelFile = Annotated[Path, typer.Argument(metavar="MODEL", help="ONNX file.")]
TargetName = Annotated[
    str,
    typer.Option(
        "--target",
        metavar="T",
        autocompletion=target_names,
        help="Name of a target, or path of a .toml file.",
    ),
]
UnitName = Annotated[
    str | None,
    typer.Option(
        "--unit", metavar="NAME", help="Unit of the target, where it has several; the first."
    ),
]
Shapes = Annotated[
    list[str] | None,
    typer.Option(
        "--shape",
        metavar="NAME=1,3,…",
        help="Shape of an input, of dynamic axes or instead of what the file says.",
    ),
]
FixedInputs = Annotated[
    list[str] | None,
    typer.Option(
        "--fix-input",
        metavar="NAME=VALUE",
        help="Input that holds a value (numbers by comma, text): a constant of the model.",
    ),
]


def _use_library(folder: Path | None) -> Path | None:
    """Kernels of a folder, for this process and what it starts."""
    if folder is not None:
        from compiler_core.units.facets.kernel_library import kernel_library

        kernel_library().use(folder)
    return folder


CmsisNn = Annotated[
    Path | None,
    typer.Option(
        "--cmsis-nn",
        metavar="DIR",
        callback=_use_library,
        help="Cortex-M: sources of CMSIS-NN, whose kernels are taken where they are faster; else "
        "NEST_TUNE_CMSIS_NN.",
    ),
]
"""Taken by its callback: commands need not read it."""

CalibrationSizes = Annotated[
    Path | None,
    typer.Option(
        "--calibration",
        metavar="calib.npz",
        help="Samples: sizes that the model leaves open and --shape does not give.",
    ),
]
States = Annotated[
    list[str] | None,
    typer.Option(
        "--state",
        metavar="OUT=IN",
        help="Output that is fed back to an input from sample to sample; again for each state.",
    ),
]
OrtThreads = Annotated[int, typer.Option(min=1, metavar="N", help="Threads of onnxruntime.")]
RecordStorage = Annotated[
    str,
    typer.Option(
        "--storage",
        metavar="URL",
        envvar="NEST_TUNE_STORAGE",
        show_envvar=False,
        help=f"Measurement database; {DEFAULT_STORAGE} by default.",
    ),
]


def named_source(config: Path | None, study: str | None, storage: str | None) -> Named | None:
    """What the lock file or the study of an option names; ``None`` without any.

    Raises:
        InputError: Both are given, or there is no such lock file or study.
    """
    from nest_tune.named import named_by_lock, named_by_study

    if config is not None and study is not None:
        raise InputError("--config and --study are both given", hint="one of them says it all")
    if config is not None:
        return named_by_lock(config)
    if study is None:
        return None
    from nest_tune.cli.study_options import open_storage, split_name
    from nest_tune.study.store.result import load_result

    opened = open_storage(storage)
    return named_by_study(load_result(opened, opened.find(split_name(study, opened)[0])))


def parse_shapes(options: Sequence[str] | None) -> dict[str, tuple[int, ...]]:
    """``NAME=1,3,224,224`` by name.

    Raises:
        InputError: An option reads otherwise.
    """
    shapes = {}
    for option in options or ():
        name, equals, numbers = option.rpartition("=")
        sizes = numbers.split(",")
        if not equals or not name or not all(s.isascii() and s.isdigit() for s in sizes):
            raise InputError(
                f"--shape {option}: NAME=SIZE,SIZE,… is needed", hint="--shape input=1,3,224,224"
            )
        if name in shapes:
            raise InputError(f"--shape {option}: input {name!r} is given twice")
        if any(len(size) > 10 for size in sizes):
            raise InputError(f"--shape {option}: a size has more than 10 digits")
        shapes[name] = tuple(int(size) for size in sizes)
    return shapes


_GIVEN: dict[str, str] = {}
"""Files that stand in the place of those that were given, by their own names."""


def fixed_model(model: Path, options: Sequence[str] | None) -> Path:
    """The model, or one of its own in the folder of data whose inputs hold values.

    Raises:
        InputError: An option reads otherwise, or the model has no such input.
    """
    values = parse_fixed_inputs(options)
    if not values:
        return model
    from nest_tune.api.fixing import fix_inputs
    from nest_tune.api.values import model_file

    written = model_file(fix_inputs(model, values))
    _GIVEN[str(written)] = str(model)
    return written


def as_given(text: str) -> str:
    """A message about files as they were given, not as they were written for the command."""
    for written, given in _GIVEN.items():
        text = text.replace(written, given)
    return text


def parse_fixed_inputs(options: Sequence[str] | None) -> dict[str, Any]:
    """``NAME=VALUE`` or ``NAME=VALUE,VALUE`` by name: numbers, true and false, else text.

    Raises:
        InputError: An option reads otherwise.
    """
    values: dict[str, Any] = {}
    for option in options or ():
        name, equals, text = option.rpartition("=")
        if not equals or not name or not text:
            raise InputError(
                f"--fix-input {option}: NAME=VALUE is needed", hint="--fix-input sr=16000"
            )
        if name in values:
            raise InputError(f"--fix-input {option}: input {name!r} is given twice")
        try:
            found = [json.loads(part) for part in text.split(",")]
        except ValueError:
            found = [text]
        if any(isinstance(value, list | dict) or value is None for value in found):
            found = [text]
        values[name] = found if len(found) > 1 else found[0]
    return values


def parse_states(options: Sequence[str] | None) -> dict[str, str]:
    """``OUT=IN`` by output.

    Raises:
        InputError: An option reads otherwise.
    """
    states: dict[str, str] = {}
    for option in options or ():
        output, equals, name = option.partition("=")
        if not equals or not output or not name:
            raise InputError(f"--state {option}: OUTPUT=INPUT is needed", hint="--state hn=h0")
        if output in states or name in states.values():
            raise InputError(f"--state {option}: {output if output in states else name!r} is twice")
        states[output] = name
    return states
