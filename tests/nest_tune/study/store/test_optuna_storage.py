"""Studies as Optuna reads them: what is written is what Optuna itself would have written."""

from __future__ import annotations

import gc
import os
import warnings
from pathlib import Path
from typing import Any

import optuna
import pytest
import sqlalchemy as sql
from alembic.runtime.migration import MigrationContext
from hypothesis import given, settings
from hypothesis import strategies as st
from optuna.storages._rdb import models
from optuna.trial import TrialState
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from compiler_core.errors import StorageLostError
from nest_tune.study.domain import Domain, choices
from nest_tune.study.store import optuna_tables, optuna_versions
from nest_tune.study.store.optuna_study import optuna_storage, optuna_study
from nest_tune.study.store.storage import StudyStorage
from nest_tune.study.trial import Outcome, OuterTrial, Proposal

PARAMETERS = [["partition.conv1", ["cpu", "vta"]], ["bits", [4, 8, 16]], ["float", [True, False]]]
DOCUMENT = {"parameters": PARAMETERS}
KINDS = ("sqlite", "journal")


@pytest.fixture(params=KINDS)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    opened = StudyStorage(url_of(request.param, tmp_path))
    yield opened
    opened.close()


def url_of(kind: str, folder: Path) -> str:
    return f"{kind}:///{folder / ('n.db' if kind == 'sqlite' else 'n.log')}"


def trial(number: int, value: float = 1.5, outcome: Outcome = Outcome.COMPLETE) -> OuterTrial:
    metrics = {"latency_ms": value, "npu_cycles": 7.0} if outcome.is_measured else {}
    return OuterTrial(number, (1, number % 3, 0), True, outcome, metrics, message="<why>")


def test_optuna_only_reads_a_file_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else SQLite makes files beside it, and where it cannot, the study seemed to be damaged."""
    url = url_of("sqlite", tmp_path)
    opened = StudyStorage(url)
    opened.create("s", DOCUMENT)
    opened.close()
    access = os.access  # root may write everywhere
    monkeypatch.setattr(
        os, "access", lambda path, mode: str(tmp_path) not in str(path) and access(path, mode)
    )
    opened = StudyStorage(url, create=False)
    found = optuna_storage(opened)
    assert isinstance(found, optuna.storages.RDBStorage)
    assert found.engine.url.query["mode"] == "ro"
    assert [study.study_name for study in found.get_all_studies()] == ["s"]
    assert [path.name for path in tmp_path.iterdir()] == ["n.db"]
    found.engine.dispose()
    opened.close()


@pytest.mark.parametrize("dialect", [sqlite, postgresql, mysql])
def test_definitions_of_tables_are_optunas(dialect: Any) -> None:
    def statements(table: sql.Table) -> list[str]:
        made = dialect.dialect()
        enums = {c.type for c in table.c if isinstance(c.type, sql.Enum)}
        texts = [str(CreateTable(table).compile(dialect=made))]
        texts += [f"{enum.name}: {sorted(enum.enums)}" for enum in enums]
        texts += [str(CreateIndex(index).compile(dialect=made)) for index in table.indexes]
        return sorted(texts)

    assert optuna_versions.installed_version() == optuna_tables.KNOWN_VERSION
    assert models.SCHEMA_VERSION == optuna_tables.SCHEMA_VERSION
    theirs = dict(models.BaseModel.metadata.tables)
    ours = dict(optuna_tables.TABLES.tables)
    version = ours.pop(optuna_tables.VERSION.name)
    assert set(ours) == set(theirs)
    for name, table in theirs.items():
        assert statements(ours[name]) == statements(table)
        for column in table.c:
            other = ours[name].c[column.name]
            assert (column.autoincrement, type(column.type)) == (
                other.autoincrement,
                type(other.type),
            )
    assert statements(version) == statements(their_version_table())
    assert [TrialState(n).name for n in range(5)] == list(optuna_tables.STATES)


def their_version_table() -> sql.Table:
    """As Alembic makes it for Optuna."""
    engine = sql.create_engine("sqlite://")
    with engine.connect() as connection:
        table = MigrationContext.configure(connection)._version
    return table.to_metadata(sql.MetaData())


def test_optuna_opens_tables_that_were_made_here(tmp_path: Path) -> None:
    url = url_of("sqlite", tmp_path)
    StudyStorage(url).close()
    made = sql.inspect(sql.create_engine(url))
    optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'theirs.db'}")
    theirs = sql.inspect(sql.create_engine(f"sqlite:///{tmp_path / 'theirs.db'}"))
    for name in theirs.get_table_names():
        columns = [(c["name"], str(c["type"]), c["nullable"]) for c in theirs.get_columns(name)]
        assert columns == [
            (c["name"], str(c["type"]), c["nullable"]) for c in made.get_columns(name)
        ]
    study = optuna.create_study(study_name="plain", storage=url)
    study.optimize(lambda t: t.suggest_float("x", 0, 1), n_trials=2)
    assert len(optuna.load_study(study_name="plain", storage=url).trials) == 2


def test_a_trial_runs_from_its_proposal_on(storage: StudyStorage) -> None:
    study = storage.create("s", DOCUMENT)
    first = Proposal(0, (0, 1, 1), False, {"seen": [3]})
    storage.propose(study, first, Proposal(1, (1, 2, 0), True))
    storage.propose(study, first)
    (zero, one) = optuna_study(storage, "s").trials
    assert (zero.state, one.state) == (TrialState.RUNNING, TrialState.RUNNING)
    assert zero.params == {"partition.conv1": "cpu", "bits": 8, "float": False}
    assert storage.proposals(study)[0] == first
    storage.finish(study, trial(1, 2.5))
    (zero, one) = optuna_study(storage, "s").trials
    assert (one.state, one.values, one.number) == (TrialState.COMPLETE, [2.5], 1)
    assert one.user_attrs["nest_tune"]["metrics"]["npu_cycles"] == 7
    assert one.datetime_complete >= one.datetime_start
    assert [p.number for p in storage.proposals(study)] == [0]
    storage.finish(study, trial(0, outcome=Outcome.COMPILE))
    assert optuna_study(storage, "s").trials[0].state is TrialState.FAIL
    assert [t.number for t in storage.trials(study)] == [0, 1]


def test_another_proposal_of_a_number_takes_its_place(storage: StudyStorage) -> None:
    study = storage.create("s", DOCUMENT)
    storage.propose(study, Proposal(0, (0, 0, 0), True))
    storage.propose(study, Proposal(0, (1, 0, 0), True))
    assert [p.point for p in storage.proposals(study)] == [(1, 0, 0)]
    storage.finish(study, trial(0))
    assert [t.state for t in optuna_study(storage, "s").trials] == [
        TrialState.FAIL,
        TrialState.COMPLETE,
    ]


def test_trials_of_others_are_counted_and_do_not_steer(storage: StudyStorage) -> None:
    study = storage.create("s", DOCUMENT)
    storage.propose(study, Proposal(0, (0, 0, 0), False))
    theirs = optuna_study(storage, "s")
    theirs.enqueue_trial({"bits": 4})
    theirs.add_trial(optuna.trial.create_trial(value=0.1))
    storage.propose(study, Proposal(1, (1, 1, 0), True))
    storage.finish(study, trial(0))
    storage.finish(study, trial(1))
    assert [t.number for t in storage.trials(study)] == [0, 1]
    assert storage.foreign(study) == 2
    assert [t.state.name for t in theirs.trials] == ["COMPLETE", "WAITING", "COMPLETE", "COMPLETE"]


def test_what_others_end_is_ended_with_our_results(storage: StudyStorage) -> None:
    study = storage.create("s", DOCUMENT)
    storage.propose(study, Proposal(0, (0, 0, 0), False))
    optuna_study(storage, "s").tell(0, state=TrialState.FAIL)
    storage.finish(study, trial(0))
    assert storage.trials(study) == (trial(0),)


def test_a_study_that_is_deleted_while_it_runs_is_missed(storage: StudyStorage) -> None:
    study = storage.create("s", DOCUMENT)
    storage.take(study)
    storage.propose(study, Proposal(0, (0, 0, 0), False))
    optuna.delete_study(study_name="s", storage=optuna_storage(storage))
    for attempt in (
        lambda: storage.beat(study),
        lambda: storage.finish(study, trial(0)),
        lambda: storage.add_tasks(study, {"t": {}}),
    ):
        with pytest.raises(StorageLostError, match=r"was deleted from .* while it ran"):
            attempt()
    assert storage.studies() == ()
    again = storage.create("s", DOCUMENT)
    assert storage.trials(again) == ()


@pytest.mark.parametrize("torn", [1, 40, 200])
def test_a_trial_that_was_ended_in_part_is_ended(tmp_path: Path, torn: int) -> None:
    """A process is killed while it adds the lines of an end to Optuna's journal."""
    storage = StudyStorage(url_of("journal", tmp_path))
    study = storage.create("s", DOCUMENT)
    storage.propose(study, Proposal(0, (1, 0, 0), True))
    before = (tmp_path / "n.log").stat().st_size
    storage.finish(study, trial(0))
    path = tmp_path / "n.log"
    assert path.stat().st_size - torn > before
    path.write_bytes(path.read_bytes()[:-torn])
    other = StudyStorage(url_of("journal", tmp_path))
    other.take(other.find("s"))
    (seen,) = optuna_study(other, "s").trials
    kept = len(other.trials(study)) == 1
    assert kept is (torn < 200)
    assert seen.state is (TrialState.COMPLETE if kept else TrialState.RUNNING)
    assert len(other.proposals(study)) == (not kept)
    other.finish(study, trial(0))
    assert optuna_study(other, "s").trials[0].values == [1.5]
    other.close()
    storage.close()


def test_visualization_works_while_a_study_runs(storage: StudyStorage) -> None:
    study = storage.create("s", DOCUMENT)
    for number in range(6):
        storage.finish(study, trial(number, 1.0 + number))
    storage.propose(study, Proposal(6, (0, 0, 0), True))
    seen = optuna_study(storage, "s")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert set(optuna.importance.get_param_importances(seen)) == {n for n, _ in PARAMETERS}
    assert seen.best_value == 1.0


def test_connections_of_a_view_are_closed_with_it(tmp_path: Path) -> None:
    opened = StudyStorage(url_of("sqlite", tmp_path))
    opened.create("s", DOCUMENT)
    view: Any = optuna_storage(opened)
    engine = view.engine
    pool = engine.pool
    del view
    gc.collect()
    assert engine.pool is not pool  # a disposed engine begins with an empty one
    opened.close()


_value = st.one_of(
    st.text(max_size=3), st.integers(-3, 3), st.booleans(), st.floats(-2, 2), st.none(),
    st.lists(st.integers(0, 2), max_size=2),
)  # fmt: skip


@given(st.lists(_value, min_size=1, max_size=8))
def test_choices_differ_and_optuna_takes_them(values: list[Any]) -> None:
    unique = [value for i, value in enumerate(values) if value not in values[:i]]
    found = choices(unique)
    assert len(set(found)) == len(unique)
    domain = Domain([("p", unique)])
    spread = domain.distributions()["p"]
    assert optuna.distributions.distribution_to_json(spread) == domain.texts[0]
    for index in range(len(unique)):
        params = domain.params((index,))
        assert domain.point(params) == (index,)
        assert spread.to_internal_repr(params["p"]) == index


@settings(max_examples=15, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 4), st.booleans(), st.floats(0.5, 9)), max_size=12),
    kind=st.sampled_from(KINDS),
)
def test_any_order_of_writes_reads_the_same_everywhere(
    steps: list[tuple[int, bool, float]], kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Proposals and ends in any order: this process, another one and Optuna see the same."""
    url = url_of(kind, tmp_path_factory.mktemp("s"))
    one = StudyStorage(url)
    study = one.create("s", DOCUMENT)
    ended: dict[int, OuterTrial] = {}
    for number, ends, value in steps:
        if number in ended:
            continue
        if ends:
            ended[number] = trial(number, value)
            one.finish(study, ended[number])
        else:
            one.propose(study, Proposal(number, (1, number % 3, 0), True))
    other = StudyStorage(url)
    expected = tuple(ended[number] for number in sorted(ended))
    assert one.trials(study) == other.trials(other.find("s")) == expected
    assert one.proposals(study) == other.proposals(study)
    seen = [t for t in optuna_study(other, "s").trials if t.state is TrialState.COMPLETE]
    assert sorted(t.values[0] for t in seen) == sorted(t.metrics["latency_ms"] for t in expected)
    one.close()
    other.close()
