"""Tasks found again by id, and files that are not believed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from compiler_core.errors import InputError
from compiler_core.tensor.task import Task
from compiler_core.tensor.workload import ConvWorkload, Epilogue, MaxPoolWorkload, Window
from nest_tune.stores.task_store import find, remember, task_text

CONV = Task(
    "vta",
    ConvWorkload(
        1, 16, 8, 8, 32, Window((3, 3), (1, 1), (1, 1, 1, 1)), 1, Epilogue(17, True, True, True)
    ),
)
POOL = Task("vta", MaxPoolWorkload(1, 16, 8, 8, Window((2, 2), (2, 2))))


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEST_TUNE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tasks"


def test_tasks_are_found_by_id_beginning_and_file(cache: Path, tmp_path: Path) -> None:
    remember([CONV, POOL])
    remember([CONV])
    for task in (CONV, POOL):
        assert find(task.id) == task
        assert find(task.id[:-3]) == task
        path = tmp_path / "task.json"
        path.write_text(task_text(task))
        assert find(str(path)) == task
    assert len(list(cache.iterdir())) == 2


def test_unknown_ambiguous_and_strange_ids_are_refused(cache: Path) -> None:
    with pytest.raises(InputError, match="no task of that id"):
        find(CONV.id)
    remember([CONV])
    (cache / f"{CONV.id}0.json").write_text(task_text(CONV))
    assert find(CONV.id) == CONV
    with pytest.raises(InputError, match="2 tasks begin so"):
        find("conv2d")
    for name in ("", "*", "../x", "conv2d-*", "a b"):
        with pytest.raises(InputError, match="not an id"):
            find(name)


def test_a_changed_file_is_not_believed(cache: Path) -> None:
    remember([CONV])
    path = cache / f"{CONV.id}.json"
    path.write_text(path.read_text().replace('"out_channels": 32', '"out_channels": 64'))
    with pytest.raises(InputError, match="its file was changed"):
        find(CONV.id)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("groups", 0, "not within 1 to 65536"),
        ("groups", 3, "3 groups do not divide"),
        ("in_height", 10**9, "not within 1 to 65536"),
        ("batch", "1", "an integer is needed"),
        ("extra", 1, "unknown key 'extra'"),
    ],
)
def test_workloads_out_of_range_are_refused(
    tmp_path: Path, key: str, value: object, words: str
) -> None:
    document = json.loads(task_text(CONV))
    document["workload"][key] = value
    path = tmp_path / "task.json"
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=words):
        find(str(path))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(["window", "epilogue", "in_width", "batch", "uniform"]), st.data())
def test_any_value_is_read_or_refused(tmp_path: Path, key: str, data: st.DataObject) -> None:
    document: dict[str, Any] = json.loads(task_text(CONV))
    document["workload"][key] = data.draw(
        st.none() | st.integers() | st.text() | st.lists(st.integers(), max_size=3)
    )
    path = tmp_path / "task.json"
    path.write_text(json.dumps(document))
    message = "task"
    try:
        find(str(path))
    except InputError as error:
        message = error.message
    assert message.startswith("task")
