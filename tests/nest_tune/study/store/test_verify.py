"""Damage: found, named, harming its own study alone, and let go of."""

from __future__ import annotations

import json
import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from compiler_core.errors import InputError
from compiler_core.files.plain import to_plain
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.store.verify import verify_studies
from nest_tune.study.trial import Outcome, OuterTrial, Proposal
from nest_tune.study.tuning.seam import TunedTask

Run = Callable[..., tuple[int, str, str]]
DOCUMENT = {
    "parameters": [["bits", [4, 8]], ["unit", ["cpu", "vta"]]],
    "digests": {"model": "00"},
    "settings": {
        "name": "s",
        "model": "m.onnx",
        "target": "vta",
        "shapes": {},
        "objectives": [["latency_ms", "minimize"]],
        "limits": [["latency_ms", "<= 2"]],
        "storage": "sqlite:///n.db",
        "trials": 9,
        "seed": 0,
    },
}


def fill(url: str) -> None:
    storage = StudyStorage(url)
    for name in ("first", "second"):
        study = storage.create(name, DOCUMENT)
        for number in range(3):
            metrics = {"latency_ms": 1.0 + number}
            point = (number % 2, 1)
            storage.finish(study, OuterTrial(number, point, True, Outcome.COMPLETE, metrics))
        storage.propose(study, Proposal(3, (0, 0), True))
        storage.add_tasks(study, {"task": to_plain(TunedTask({}, 3, 3, 3, 0))})
    storage.add_result("key", [1])
    storage.close()


@pytest.fixture(params=["n.db", "n.log"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / str(request.param)
    fill(url_of(path))
    return path


def url_of(path: Path) -> str:
    return f"{'sqlite' if path.suffix == '.db' else 'journal'}:///{path}"


def damage_trial(path: Path) -> None:
    """Changes the second trial of the second study."""
    if path.suffix == ".db":
        with sqlite3.connect(path) as database:
            database.execute(
                "UPDATE trial_user_attributes SET value_json = replace(value_json, '2.0', '0.5')"
                " WHERE trial_id = 6"
            )
        database.close()
        return
    lines = path.read_bytes().splitlines(keepends=True)
    index = [n for n, line in enumerate(lines) if b'"latency_ms":2.0' in line][1]
    lines[index] = lines[index].replace(b":2.0", b":0.5")
    path.write_bytes(b"".join(lines))


def test_a_damaged_trial_is_named_and_runs_again(path: Path, nest_tune: Run) -> None:
    code, out, _ = nest_tune("study", "verify", "--storage", url_of(path))
    assert (code, out.count("sound")) == (0, 2)
    damage_trial(path)
    code, out, err = nest_tune("study", "verify", "--storage", url_of(path))
    assert code == 4
    assert "study second: 1 of 3 trials are damaged" in out
    assert "--repair" in err
    storage = StudyStorage(url_of(path))
    assert len(storage.trials(storage.find("first"))) == 3
    with pytest.raises(InputError, match="study 'second': a stored trial is damaged") as caught:
        storage.trials(storage.find("second"))
    assert "nest-tune study verify second --repair" in (caught.value.hint or "")
    storage.close()
    code, out, _ = nest_tune("study", "verify", "second", "--repair", "--storage", url_of(path))
    assert code == 0
    storage = StudyStorage(url_of(path))
    study = storage.find("second")
    assert [trial.number for trial in storage.trials(study)] == [0, 2]
    again = OuterTrial(1, (1, 1), True, Outcome.COMPLETE, {"latency_ms": 2.0})
    storage.propose(study, Proposal(1, (1, 1), True))
    storage.finish(study, again)
    assert storage.trials(study)[1] == again
    assert not verify_studies(storage, repair=False).damage
    storage.close()


_SECOND = "(SELECT trial_id FROM trials WHERE study_id = 2 AND number = 1)"


@pytest.mark.parametrize(
    "change",
    [
        f"UPDATE trial_values SET value = 0.5 WHERE trial_id = {_SECOND}",
        f"DELETE FROM trial_values WHERE trial_id = {_SECOND}",
        f"UPDATE trial_params SET param_value = 0 WHERE trial_id = {_SECOND}",
        f"DELETE FROM trial_params WHERE param_name = 'unit' AND trial_id = {_SECOND}",
        f"UPDATE trials SET state = 'FAIL' WHERE trial_id = {_SECOND}",
        f"DELETE FROM trial_user_attributes WHERE trial_id = {_SECOND}",
        f"UPDATE trial_system_attributes SET value_json = '-9' WHERE key LIKE 'const%'"
        f" AND trial_id = {_SECOND}",
    ],
)
def test_what_optuna_shows_otherwise_is_named_and_runs_again(
    tmp_path: Path, nest_tune: Run, change: str
) -> None:
    url = f"sqlite:///{tmp_path}/n.db"
    fill(url)
    with sqlite3.connect(tmp_path / "n.db") as database:
        assert database.execute(change).rowcount
    database.close()
    code, out, _ = nest_tune("study", "verify", "--storage", url)
    assert code == 4
    assert "study second: Optuna shows what was never written of trials 1" in out
    assert "study first: 3 trials, sound" in out
    assert nest_tune("study", "verify", "--repair", "--storage", url)[0] == 0
    assert nest_tune("study", "verify", "--storage", url)[0] == 0
    storage = StudyStorage(url)
    assert [trial.number for trial in storage.trials(storage.find("second"))] == [0, 2]
    assert len(storage.trials(storage.find("first"))) == 3
    storage.close()


def test_a_study_that_optuna_cannot_read_is_named(tmp_path: Path, nest_tune: Run) -> None:
    url = f"sqlite:///{tmp_path}/n.db"
    fill(url)
    with sqlite3.connect(tmp_path / "n.db") as database:
        database.execute(
            f"UPDATE trial_params SET distribution_json = '{{' WHERE trial_id = {_SECOND}"
        )
    database.close()
    code, out, _ = nest_tune("study", "verify", "--storage", url)
    assert code == 4
    assert "study second: Optuna cannot read its trials" in out
    assert "study first: 3 trials, sound" in out
    assert nest_tune("study", "show", "second", "--storage", url)[0] == 0


def test_a_page_that_was_lost_harms_its_studies_alone(tmp_path: Path, nest_tune: Run) -> None:
    path = tmp_path / "n.db"
    fill(url_of(path))
    with sqlite3.connect(path) as database:
        (page,) = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'nest_tune_study_task'"
        ).fetchone()
        (size,) = database.execute("PRAGMA page_size").fetchone()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    whole = path.read_bytes()
    at = (page - 1) * size
    path.write_bytes(whole[:at] + bytes(size) + whole[at + size :])
    code, out, err = nest_tune("study", "verify", "--storage", url_of(path))
    assert code == 4, err
    assert "study first: storage" in out
    assert "study second: storage" in out
    code, _, _ = nest_tune("study", "verify", "--repair", "--storage", url_of(path))
    assert code == 4  # no repair makes a page


def test_a_journal_whose_values_were_changed_is_told(tmp_path: Path, nest_tune: Run) -> None:
    path = tmp_path / "n.log"
    fill(url_of(path))
    lines = path.read_bytes().splitlines(keepends=True)
    at = [n for n, line in enumerate(lines) if b'"values":[2.0]' in line][1]
    lines[at] = lines[at].replace(b"[2.0]", b"[0.5]")
    path.write_bytes(b"".join(lines))
    code, out, _ = nest_tune("study", "verify", "--storage", url_of(path))
    assert code == 4
    assert "study second: Optuna shows what was never written of trials 1" in out
    assert nest_tune("study", "verify", "--repair", "--storage", url_of(path))[0] == 0
    assert nest_tune("study", "verify", "--storage", url_of(path))[0] == 0


def test_a_damaged_study_is_listed_as_such_and_can_be_deleted(
    tmp_path: Path, nest_tune: Run
) -> None:
    url = f"sqlite:///{tmp_path}/n.db"
    fill(url)
    with sqlite3.connect(tmp_path / "n.db") as database:
        database.execute("UPDATE nest_tune_study SET document = '{}' WHERE id = 1")
    database.close()
    code, out, err = nest_tune("study", "list", "--storage", url, "--json")
    assert code == 0
    assert [row["study"] for row in json.loads(out)["studies"]] == ["second"]
    assert "study 'first' is damaged" in err
    code, _, err = nest_tune("study", "show", "first", "--storage", url)
    assert code == 2
    assert "study delete" in err
    assert nest_tune("study", "verify", "first", "--storage", url)[0] == 4
    assert nest_tune("study", "delete", "first", "--yes", "--storage", url)[0] == 0
    assert nest_tune("study", "verify", "--storage", url)[0] == 0


def test_a_line_of_optunas_journal_that_is_none_is_dropped(tmp_path: Path, nest_tune: Run) -> None:
    path = tmp_path / "n.log"
    fill(url_of(path))
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-1], b"torn" + lines[-1]]))
    assert nest_tune("study", "verify", "--storage", url_of(path))[0] == 4
    assert nest_tune("study", "verify", "--repair", "--storage", url_of(path))[0] == 0
    assert nest_tune("study", "verify", "--storage", url_of(path))[0] == 0
    assert path.read_bytes().count(b"\n") == len(lines) - 1


COMMANDS = (
    ("study", "list"),
    ("study", "show", "second"),
    ("study", "show", "second:1"),
    ("study", "best", "second"),
    ("study", "trials", "second"),
    ("study", "verify"),
    ("study", "verify", "--repair"),
    ("record", "list"),
    ("study", "delete", "second", "--yes"),
)


@pytest.mark.parametrize("seed", range(12))
def test_no_damage_is_an_internal_error(path: Path, seed: int, nest_tune: Run) -> None:
    check_damage(path, seed, nest_tune)


@pytest.mark.slow
def test_no_damage_of_many_is_an_internal_error(tmp_path: Path, nest_tune: Run) -> None:
    for name, count in (("n.db", 680), ("n.log", 200)):
        for seed in range(count):
            folder = tmp_path / f"{name}-{seed}"
            folder.mkdir()
            fill(url_of(folder / name))
            check_damage(folder / name, 1000 + seed, nest_tune)


def check_damage(path: Path, seed: int, nest_tune: Run) -> None:
    """Changes some bytes, lines or the end of the files, and asks for everything."""
    chance = random.Random(seed)
    for file in path.parent.iterdir():
        content = bytearray(file.read_bytes())
        if not content or (chance.random() < 0.3 and file != path):
            continue
        way = chance.randrange(4)
        if way == 0:
            del content[chance.randrange(len(content)) :]
        elif way == 1:
            for _ in range(chance.randrange(1, 40)):
                content[chance.randrange(len(content))] = chance.randrange(256)
        elif way == 2:
            lines = bytes(content).splitlines(keepends=True)
            chance.shuffle(lines)
            content = bytearray(b"".join(lines[: chance.randrange(len(lines)) + 1]))
        else:
            start = chance.randrange(len(content))
            content[start : start + 300] = bytes(300)
        file.write_bytes(bytes(content))
    for command in COMMANDS:
        code, out, err = nest_tune(*command, "--storage", url_of(path))
        assert code != 70, (seed, command, out, err)
