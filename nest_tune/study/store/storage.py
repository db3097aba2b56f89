"""Storage of studies: Optuna's own, with what is ours beside it.

A trial is made when it is proposed, so that its number is that of the proposal, and ends with one
document, the values of the objectives and the constraints, all in one transaction. The database is
also that of the measurements. SQLite is used in WAL mode, so that a killed process loses at most
what it had not committed; other databases go through SQLAlchemy as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import TypeVar

import sqlalchemy as sql

from compiler_core.accuracy.metric import shown_name
from compiler_core.errors import InputError
from nest_tune.study.domain import Domain
from nest_tune.study.request.goals import Limit, scale_of
from nest_tune.study.request.settings import StudySettings, read_settings_document
from nest_tune.study.store.optuna_side import (
    EndedTrial,
    NewTrial,
    Stored,
    StudyKey,
    UnknownTrialError,
)
from nest_tune.study.store.replacing import ReplacingRows
from nest_tune.study.store.stored_document import check_point, damaged_part
from nest_tune.study.store.stored_study import StoredStudy
from nest_tune.study.store.study_rows import study_key
from nest_tune.study.store.trial_document import (
    proposal_text,
    read_proposal,
    read_trial,
    trial_text,
)
from nest_tune.study.trial import OuterTrial, Proposal

_Read = TypeVar("_Read", OuterTrial, Proposal)


@dataclass
class _Known:
    """What writing trials of a study needs again and again."""

    domain: Domain
    objectives: tuple[str, ...]
    limits: tuple[Limit, ...]
    metric: str
    default: Mapping[str, float] | None = None


class StudyStorage(ReplacingRows):
    """Studies in one database, or in a journal.

    Args:
        url: As SQLAlchemy reads it; secrets are never shown.
        create: Whether a database file may be made.

    Raises:
        InputError: The URL cannot be read, there is no such file, or what is there is of a newer
            version or no database.
        MissingDependencyError: Its driver is not installed, or it does not answer.
        ResourceError: Its disk is full.
    """

    def __init__(self, url: str, *, create: bool = True) -> None:
        super().__init__(url, create=create)
        self._known: dict[int, _Known] = {}

    def take(self, study: StoredStudy) -> None:
        """Marks a study as run by this process, whose writes go on from now on.

        Raises:
            InputError: Another live process runs it, or it is damaged.
        """
        super().take(study)
        where = f"study {study.name!r}: a stored trial"
        for document in self.run(lambda c: self.optuna.half_ended(c, study_key(study))):
            self.finish(study, read_trial(document, where))

    def propose(self, study: StoredStudy, *proposals: Proposal) -> None:
        """Stores trials that begin to run; one that is stored so already stays as it is.

        Raises:
            LostStudyError: Another process has taken the study.
            StorageLostError: It has been deleted.
        """
        rows = [self._new(study, proposal) for proposal in proposals]
        if rows:
            self.write(study, lambda c: self.optuna.propose(c, study_key(study), rows))

    def _new(self, study: StoredStudy, proposal: Proposal) -> NewTrial:
        domain = self._of(study).domain
        rows = zip(domain.names, proposal.point, domain.texts, strict=False)
        params = {name: (index, text) for name, index, text in rows}
        return NewTrial(proposal.number, params, proposal_text(proposal))

    def finish(self, study: StoredStudy, trial: OuterTrial) -> None:
        """Stores what a trial has ended with; one that was not proposed is, too. A study that
        replaces another one does so with the first trial that is no error.

        Raises:
            LostStudyError: Another process has taken the study.
            StorageLostError: It has been deleted.
        """
        ended, key = self.ended(study, trial), study_key(study)
        proposal = Proposal(trial.number, trial.point, trial.tuned, trial.attributes)

        def work(connection: sql.Connection) -> None:
            try:
                self.optuna.finish(connection, key, ended)
            except UnknownTrialError:
                self.optuna.propose(connection, key, [self._new(study, proposal)])
                self.optuna.finish(connection, key, ended)

        self.write(study, work)
        if not trial.outcome.is_error:
            self.settle(study)

    def ended(self, study: StoredStudy, trial: OuterTrial) -> EndedTrial:
        """What Optuna is told of a trial that has ended."""
        known, default = self._of(study), self._default(study, trial)
        values = [trial.metrics[name] for name in known.objectives if name in trial.metrics]
        measured = trial.outcome.is_measured and len(values) == len(known.objectives)
        return EndedTrial(
            trial.number,
            values if measured and not any(map(isnan, values)) else None,
            {
                f"{shown_name(limit.metric.value, known.metric)} {limit.text}": limit.slack(
                    trial.judged[limit.metric.value], scale_of(limit, default)
                )
                for limit in known.limits
                if measured and limit.metric.value in trial.judged
            },
            trial_text(trial),
        )

    def trials(self, study: StoredStudy) -> tuple[OuterTrial, ...]:
        """All finished trials by number.

        Raises:
            InputError: One is damaged.
        """
        return self._stored(study, "trial", self.optuna.finished, read_trial)

    def proposals(self, study: StoredStudy) -> tuple[Proposal, ...]:
        """Trials that were proposed and have not ended, by number: a resume takes them up.

        Raises:
            InputError: One is damaged.
        """
        return self._stored(study, "proposal", self.optuna.running, read_proposal)

    def _stored(
        self,
        study: StoredStudy,
        what: str,
        find: Callable[[sql.Connection, StudyKey], Sequence[Stored]],
        read: Callable[[Stored, str], _Read],
    ) -> tuple[_Read, ...]:
        """What is stored of trials, in the order of their numbers."""
        where = f"study {study.name!r}: a stored {what}"
        found = {}
        for document in self.run(lambda c: find(c, study_key(study))):
            try:
                value = read(document, where)
                check_point(value.point, study.document, where)
            except InputError as error:
                raise damaged_part(where, study.name) from error
            found[value.number] = value
        return tuple(found[number] for number in sorted(found))

    def foreign(self, study: StoredStudy) -> int:
        """How many trials of a study others have added: they are shown by Optuna, and never
        steer."""
        return self.run(lambda c: self.optuna.foreign(c, study_key(study)))

    def _of(self, study: StoredStudy) -> _Known:
        if study.key not in self._known:
            settings = _settings(study)
            self._known[study.key] = _Known(
                Domain(study.document.get("parameters", [])),
                tuple(goal.metric.value for goal in settings.objectives)
                if settings
                else ("latency_ms",),
                settings.limits if settings else (),
                settings.metric if settings else "",
            )
        return self._known[study.key]

    def _default(self, study: StoredStudy, trial: OuterTrial) -> Mapping[str, float]:
        """Metrics of trial 0, which scale limits."""
        known = self._of(study)
        if trial.number == 0:
            known.default = trial.metrics
        elif known.default is None:
            first = next((t for t in self.trials(study) if t.number == 0), None)
            known.default = {} if first is None else first.metrics
        return known.default


def _settings(study: StoredStudy) -> StudySettings | None:
    document = study.document.get("settings")
    return read_settings_document(document) if document else None
