"""The part of a cluster's runner that runs on workers, without a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from compiler_core.errors import NestTuneError
from nest_tune.runners import remote
from nest_tune.runners.runner import Answer, Ending, Needs, Setup, Work


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    here = str(Path(__file__).parent)
    monkeypatch.syspath_prepend(here)
    monkeypatch.setattr(remote.tempfile, "gettempdir", lambda: str(tmp_path))
    yield tmp_path
    remote.forget()


def test_calls_and_answers_survive_the_way() -> None:
    work = Work(3, "m:f", {"a": [1, None]}, 2.5, Needs(2, 1 << 30))
    assert remote.work_from_plain(remote.plain_work(work)) == work
    answer = Answer(3, Ending.TIMEOUT, message="late", wall_s=2.5)
    assert remote.answer_from_plain(remote.plain_answer(answer)) == answer


def test_equal_code_is_accepted_and_other_code_refused_with_the_reason() -> None:
    here = remote.identity()
    assert remote.refusal(here) == ""
    other = {**here, "nest-tune code": "0123456789abcdef", "numba": "0.1"}
    assert remote.refusal(other) == (
        f"nest-tune code is {here['nest-tune code']}, the driver's is 0123456789abcdef; "
        f"numba is {here['numba']}, the driver's is 0.1"
    )


def test_files_are_copied_with_their_companions_and_only_once(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    (source / "weights").mkdir(parents=True)
    (source / "m.onnx").write_bytes(b"model")
    (source / "weights" / "w.bin").write_bytes(b"\0\1")
    paths = (str(source / "m.onnx"), str(source / "weights" / "w.bin"))
    setup = Setup("m:f", {"model": paths[0], "metric": "top1"}, {"model": paths})
    bundle = remote.packed(setup, with_files=True)
    copied = remote.unpacked(bundle, target)
    model = Path(copied.payload["model"])
    assert copied.payload["metric"] == "top1"
    assert model.is_relative_to(target)
    assert (model.name, model.read_bytes()) == ("m.onnx", b"model")
    assert (model.parent / "weights" / "w.bin").read_bytes() == b"\0\1"
    written = model.stat().st_mtime_ns
    assert remote.unpacked(bundle, target) == copied
    assert model.stat().st_mtime_ns == written
    (source / "m.onnx").write_bytes(b"other")
    again = remote.packed(setup, with_files=True)
    assert again["key"] != bundle["key"]
    assert remote.unpacked(again, target).payload["model"] != copied.payload["model"]


def test_where_files_are_shared_nothing_is_copied(tmp_path: Path) -> None:
    setup = Setup("m:f", {"model": str(tmp_path / "missing")}, {"model": (str(tmp_path / "a"),)})
    bundle = remote.packed(setup, with_files=False)
    assert bundle["files"] == {}
    assert remote.unpacked(bundle, tmp_path).payload == setup.payload
    with pytest.raises(NestTuneError, match="a: cannot be read"):
        remote.packed(setup, with_files=True)


def test_a_batch_is_answered_whatever_its_calls_do(own: Path) -> None:
    bundle = remote.packed(Setup("work_functions:prepare", 40), with_files=False)
    works = [
        Work(1, "work_functions:add", 1, 60.0),
        Work(2, "work_functions:die", None, 60.0),
        Work(3, "work_functions:sleep", 600.0, 0.3),
        Work(4, "work_functions:add", 4, 60.0),
    ]
    answers = [remote.answer_from_plain(a) for a in remote.serve(bundle, _plain(works))]
    found = {answer.ticket: answer.ending for answer in answers}
    assert found == {1: Ending.DONE, 2: Ending.LOST, 3: Ending.TIMEOUT, 4: Ending.DONE}
    assert own.is_dir()


def test_processes_are_kept_between_batches(own: Path) -> None:
    bundle = remote.packed(Setup("work_functions:prepare", 1), with_files=False)
    processes = {
        remote.serve(bundle, _plain([Work(n, "work_functions:process", None, 60.0)]))[0]["value"]
        for n in range(3)
    }
    assert len(processes) == 1
    assert os.getpid() not in processes
    assert own.is_dir()


def test_a_folder_of_somebody_else_is_not_trusted(own: Path) -> None:
    (own / "elsewhere").mkdir()
    (own / f"nest-tune-{os.getuid()}").symlink_to(own / "elsewhere")
    with pytest.raises(PermissionError):
        remote.own_folder()


def test_arrays_of_files_are_bytes(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(bytes(range(256)))
    bundle = remote.packed(Setup("m:f", {"x": str(path)}, {"x": (str(path),)}), with_files=True)
    [(name, content)] = bundle["files"]["x"]
    assert name == "x"
    assert np.array_equal(content, np.arange(256, dtype=np.uint8))


def _plain(works: list[Work]) -> list[object]:
    return [remote.plain_work(work) for work in works]
