"""Optuna's side of a storage: studies and trials where Optuna itself finds them.

Every method runs within a transaction of the storage, after the right to write was checked in it,
and stands being done twice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import sqlalchemy as sql

from nest_tune.study.store.trial_document import KEY

METRIC_NAMES = "study:metric_names"
Stored = str | Mapping[str, Any]
"""A document as a storage gives it: its text, or what JSON makes of it."""


@dataclass(frozen=True)
class NewStudy:
    """A study to make.

    Attributes:
        name: Unique.
        mark: What tells it from others, see
            :attr:`~nest_tune.study.store.stored_study.StoredStudy.mark`.
        directions: ``minimize`` or ``maximize`` of each objective.
        metrics: Name of each.
        facts: What a viewer shows of it.
    """

    name: str
    mark: str
    directions: Sequence[str]
    metrics: Sequence[str]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def system(self) -> Mapping[str, Any]:
        """Its system attributes."""
        return {METRIC_NAMES: list(self.metrics), KEY: self.mark}

    @property
    def user(self) -> Mapping[str, Any]:
        """Its user attributes."""
        return {**self.facts, KEY: self.mark}


@dataclass(frozen=True)
class NewTrial:
    """A trial that was proposed.

    Attributes:
        number: Of the proposal.
        params: Index of the value of each decision by name, and its distribution as text.
        document: What is ours of it, sealed.
    """

    number: int
    params: Mapping[str, tuple[int, str]]
    document: str


@dataclass(frozen=True)
class EndedTrial:
    """What a trial ended with.

    Attributes:
        number: Of the proposal.
        values: Of the objectives; ``None`` where it failed.
        constraints: At most 0 where a limit holds, by name.
        document: All of it, sealed.
    """

    number: int
    values: Sequence[float] | None
    constraints: Mapping[str, float]
    document: str


@dataclass(frozen=True)
class StudyKey:
    """Which study is meant: another one may have its name or number by now."""

    number: int
    mark: str


class OptunaSide(Protocol):
    """See the module. A study is named by Optuna's number of it and its mark."""

    def create(self, connection: sql.Connection, /, study: NewStudy) -> int:
        """Makes a study; returns Optuna's number of it.

        Raises:
            NameTakenError: Another one has its name.
        """
        ...

    def present(self, connection: sql.Connection, /) -> Mapping[StudyKey, str]:
        """Names of the studies that are marked. The mark stands twice: as a system attribute, and
        as a user attribute, which viewers copy along when they rename a study."""
        ...

    def claim(self, connection: sql.Connection, /, key: StudyKey, study: NewStudy) -> None:
        """Gives a study the mark, the names of metrics and the facts of ``study``, where it has
        others or none."""
        ...

    def all_names(self, connection: sql.Connection, /) -> Sequence[str]:
        """Names of all studies, also those that are not ours."""
        ...

    def holds(self, connection: sql.Connection, /, key: StudyKey) -> bool:
        """Whether a study is still there."""
        ...

    def delete(self, connection: sql.Connection, /, key: StudyKey) -> None:
        """Removes a study with its trials, where it is there."""
        ...

    def rename(
        self, connection: sql.Connection, /, key: StudyKey, study: NewStudy, over: StudyKey | None
    ) -> int:
        """Gives a study a name, in the place of the study that has it; returns Optuna's number of
        it from now on.

        Raises:
            NameTakenError: Yet another one has it.
        """
        ...

    def propose(
        self, connection: sql.Connection, /, key: StudyKey, trials: Sequence[NewTrial]
    ) -> None:
        """Makes trials that run; one that is there unchanged stays as it is."""
        ...

    def finish(self, connection: sql.Connection, /, key: StudyKey, trial: EndedTrial) -> None:
        """Ends a trial that was proposed.

        Raises:
            UnknownTrialError: It was not.
        """
        ...

    def finished(self, connection: sql.Connection, /, key: StudyKey) -> Sequence[Stored]:
        """Documents of our trials that have ended."""
        ...

    def half_ended(self, connection: sql.Connection, /, key: StudyKey) -> Sequence[Stored]:
        """Documents of trials that a killed process had ended in part."""
        ...

    def running(self, connection: sql.Connection, /, key: StudyKey) -> Sequence[Stored]:
        """Documents of our proposals that have not ended."""
        ...

    def discard(
        self, connection: sql.Connection, /, key: StudyKey, is_sound: Callable[[Stored], bool]
    ) -> int:
        """Lets go of trials whose documents are not sound, so that they are proposed again; returns
        how many."""
        ...

    def has_trials(self, connection: sql.Connection, /, name: str) -> bool:
        """Whether a study, marked or not, has trials of ours."""
        ...

    def foreign(self, connection: sql.Connection, /, key: StudyKey) -> int:
        """How many trials of the study are not ours."""
        ...


class NameTakenError(Exception):
    """A study has that name."""


class UnknownTrialError(Exception):
    """No trial of that number was proposed."""
