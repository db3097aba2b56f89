"""The part of a cluster's runner that runs on its workers; knows nothing of the cluster's library.

A worker is asked for batches of calls. It makes them in a process of its own, so that a hang or a
crash is the matter of one call, known exactly, and costs the cluster nothing. That process keeps
its state between batches; a call's result never depends on which batches came before.
"""

from __future__ import annotations

import hashlib
import os
import platform
import sys
import tempfile
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from compiler_core.errors import NestTuneError
from nest_tune.runners.local import LocalRunner
from nest_tune.runners.runner import Answer, Ending, Needs, Plain, Setup, Work

_PACKAGES = ("compiler_core", "cost_models", "nest_tune", "search_spaces")
_NUMERIC = ("numpy", "numba", "onnxruntime")
"""Distributions that results depend on."""

_KEPT_STATES = 2
_WAIT_S = 60.0
_BELIEVED_S = 30.0
"""Reading all sources takes 20 ms, more than many a call."""

_runners: OrderedDict[str, LocalRunner] = OrderedDict()
_known: tuple[float, dict[str, str]] | None = None
"""When this process last looked at what it runs, and what it saw."""


def identity() -> dict[str, str]:
    """What has to be equal on driver and workers, by name."""
    found = {
        "nest-tune code": _code_digest(),
        "python": ".".join(platform.python_version_tuple()[:2]),
    }
    for name in _NUMERIC:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "missing"
    return found


def refusal(expected: Mapping[str, str]) -> str:
    """Why this worker must not be used; empty where it may.

    Args:
        expected: The driver's :func:`identity`.
    """
    global _known
    if _known is None or time.monotonic() - _known[0] > _BELIEVED_S:
        _known = time.monotonic(), identity()
    here = _known[1]
    return "; ".join(
        f"{name} is {here.get(name, 'missing')}, the driver's is {wanted}"
        for name, wanted in expected.items()
        if here.get(name) != wanted
    )


def _code_digest() -> str:
    """First 16 hex digits of the SHA-256 of all sources and tables of the project."""
    found = hashlib.sha256()
    for package in _PACKAGES:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            continue
        folder = Path(spec.origin).parent
        for path in sorted(folder.rglob("*")):
            if path.suffix in (".py", ".toml", ".j2"):
                name = f"{package}/{path.relative_to(folder).as_posix()}"
                found.update(name.encode() + b"\0" + path.read_bytes())
    return found.hexdigest()[:16]


def packed(setup: Setup, *, with_files: bool) -> dict[str, Any]:
    """A setup as one value that is sent once.

    Args:
        setup: Of the driver.
        with_files: Whether workers need copies of its files.

    Returns:
        ``{"key", "function", "payload", "files": {entry: [(relative path, bytes)]},
        "environment"}`` with the bytes as ``uint8`` arrays, which workers read without copying.

    Raises:
        NestTuneError: A file cannot be read.
    """
    files: dict[str, list[tuple[str, Any]]] = {}
    found = hashlib.sha256(repr((setup.function, setup.payload)).encode())
    found.update(repr(sorted(setup.environment.items())).encode())
    for entry, paths in sorted(setup.files.items()) if with_files else ():
        folder = Path(paths[0]).parent
        files[entry] = []
        for path in paths:
            try:
                content = np.fromfile(path, np.uint8)
            except OSError as error:
                raise NestTuneError(f"{path}: cannot be read: {error.strerror or error}") from error
            files[entry].append((Path(path).relative_to(folder).as_posix(), content))
            found.update(content.tobytes())
    return {
        "key": found.hexdigest(),
        "function": setup.function,
        "payload": setup.payload,
        "files": files,
        "environment": dict(setup.environment),
    }


def unpacked(bundle: Mapping[str, Any], folder: Path) -> Setup:
    """Inverse of :func:`packed`: writes the files below ``folder``, where they are not yet."""
    payload = bundle["payload"]
    if bundle["files"]:
        payload = dict(payload)
    for entry, files in bundle["files"].items():
        content = hashlib.sha256()
        for name, data in files:
            content.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
        home = folder / content.hexdigest()[:32]
        for name, data in files:
            _write(home / name, data)
        payload[entry] = str(home / files[0][0])
    return Setup(bundle["function"], payload, environment=bundle["environment"])


def _write(path: Path, data: Any) -> None:
    """Writes a file at once, so that other workers of this machine never see half of it."""
    if path.is_file() and path.stat().st_size == len(data):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as stream:
        stream.write(data)
    Path(stream.name).replace(path)


def own_folder() -> Path:
    """Folder of this user for copies of files; nobody else can write there.

    Raises:
        PermissionError: Somebody else made it.
    """
    folder = Path(tempfile.gettempdir()) / f"nest-tune-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user")
    return folder


def plain_work(work: Work) -> dict[str, Any]:
    """A call as plain values; inverse of :func:`work_from_plain`."""
    return asdict(work)


def work_from_plain(value: Mapping[str, Any]) -> Work:
    """A call from :func:`plain_work`."""
    return Work(**{**value, "needs": Needs(**value["needs"])})


def plain_answer(answer: Answer) -> dict[str, Any]:
    """An answer as plain values; inverse of :func:`answer_from_plain`."""
    return {**vars(answer), "ending": answer.ending.value}


def answer_from_plain(value: Mapping[str, Any]) -> Answer:
    """An answer from :func:`plain_answer`."""
    return Answer(**{**value, "ending": Ending(value["ending"])})


def serve(bundle: Mapping[str, Any], works: Sequence[Plain]) -> list[Plain]:
    """Makes a batch of calls one after the other.

    Args:
        bundle: From :func:`packed`.
        works: From :func:`plain_work`.

    Returns:
        Plain answers, one per call, in the order in which they ended.
    """
    runner = _runner(bundle)
    for work in works:
        runner.submit(work_from_plain(work))
    answers: list[Answer] = []
    while len(answers) < len(works):
        answers += runner.wait(_WAIT_S)
    return [plain_answer(answer) for answer in answers]


def _runner(bundle: Mapping[str, Any]) -> LocalRunner:
    key = bundle["key"]
    if key not in _runners:
        # A fresh interpreter would run the main script of the cluster's worker again, which imports
        # the cluster's library: half a second and 60 MB for nothing.
        vars(sys.modules["__main__"]).pop("__file__", None)
        setup = unpacked(bundle, own_folder())
        _runners[key] = LocalRunner(setup, 1)
    _runners.move_to_end(key)
    while len(_runners) > _KEPT_STATES:
        _runners.popitem(last=False)[1].close()
    return _runners[key]


def forget() -> None:
    """Ends all processes that were started here."""
    while _runners:
        _runners.popitem()[1].close()
