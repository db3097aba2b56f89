"""Models and arrays in memory as files, for what is kept longer than a call.

A study can be resumed, exported and repeated, also by other processes, so what it is made from lies
in files. A file is named by its content: the same arrays are written once.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from compiler_core.errors import InputError, NestTuneError
from compiler_core.files.brief import brief
from compiler_core.files.npz import write_npz
from compiler_core.files.whole_file import write_atomically

DATA_FOLDER = "nest-tune-data"
"""Where they are kept, in the working folder."""


def as_file(name: str, given: Any) -> Any:
    """A path in place of a model or arrays in memory; everything else as it is.

    Args:
        name: What it is, such as ``calibration``.
        given: An ``onnx.ModelProto``; arrays by input name, with ``y`` for labels; or one array,
            the only input's.

    Raises:
        InputError: Something among the arrays is none, they have no names, or the folder cannot be
            written.
    """
    if name == "model":
        return _model_file(given) if hasattr(given, "SerializeToString") else given
    if isinstance(given, np.ndarray):
        given = {"x": given}
    if isinstance(given, list | tuple):
        raise InputError(
            f"{name}: {brief(given)} is neither a path, nor an array, nor arrays by name",
            hint="{'input': array}, with 'y' for labels, or one array for the only input",
        )
    if not isinstance(given, Mapping):
        return given
    arrays = {}
    for key, array in given.items():
        arrays[str(key)] = np.asarray(array)
        if arrays[str(key)].dtype.hasobject:
            raise InputError(
                f"{name}: {key!r} is a {type(array).__name__} that is no array of numbers or text"
            )
    return _arrays_file(name, arrays)


@contextmanager
def told_as_given(given: Mapping[str, Any], kept: Mapping[str, Any]) -> Iterator[None]:
    """Errors inside name what was given in memory by its argument, not by the file that keeps it.

    Args:
        given: What somebody gave, by argument.
        kept: The same behind :func:`as_file`.
    """
    try:
        yield
    except NestTuneError as error:
        for name, path in kept.items():
            if path is not given[name]:
                for text in (str(path.absolute()), str(path), path.name):
                    error.message = error.message.replace(text, name)
        error.args = (error.message,)
        raise


def _model_file(model: Any) -> Path:
    try:
        content = model.SerializeToString(deterministic=True)
    except ValueError as error:  # more than 2 GiB
        raise InputError(
            f"model: it cannot be written in one piece: {error}",
            hint="save it with external data and give its path",
        ) from error
    path = _folder() / f"model-{hashlib.sha256(content).hexdigest()[:16]}.onnx"
    if not path.exists():
        write_atomically(path, lambda stream: stream.write(content))
    return path


def _arrays_file(name: str, arrays: Mapping[str, Any]) -> Path:
    folder = _folder()
    with tempfile.TemporaryDirectory(dir=folder) as inside:
        fresh = Path(inside) / "arrays.npz"
        write_npz(fresh, arrays)
        path = folder / f"{name}-{hashlib.sha256(fresh.read_bytes()).hexdigest()[:16]}.npz"
        if not path.exists():
            fresh.replace(path)
    return path


def _folder() -> Path:
    folder = Path(DATA_FOLDER)
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"folder {folder}: it cannot be made: {error.strerror}") from error
    return folder
