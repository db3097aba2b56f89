"""The document of a trial: all of it that is ours, in one attribute of the Optuna trial.

A document is sealed: it holds a digest of everything else in it, so that what was changed or
damaged in the storage is never believed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from compiler_core.files.plain import to_plain
from nest_tune.study.store.stored_document import damaged, read_json
from nest_tune.study.trial import Outcome, OuterTrial, Proposal

KEY = "nest_tune"
"""Attribute that holds what is ours: of a study, of a proposal (a system attribute), of a trial."""

_SEAL = "digest"


def seal(document: Mapping[str, Any]) -> str:
    """A document with its digest, as text."""
    text = json.dumps(document)
    mark = sha256(text.encode()).hexdigest()[:16]
    return f"{text[:-1]}{', ' if document else ''}{json.dumps(_SEAL)}: {json.dumps(mark)}}}"


def read_sealed(stored: str | Mapping[str, Any], where: str) -> dict[str, Any]:
    """Inverse of :func:`seal`, from the text or what JSON makes of it.

    Raises:
        InputError: It is damaged.
    """
    document = read_json(stored, where) if isinstance(stored, str) else stored
    if not isinstance(document, dict):
        raise damaged(where)
    document = dict(document)
    mark = document.pop(_SEAL, None)
    if mark != sha256(json.dumps(document).encode()).hexdigest()[:16]:
        raise damaged(where)
    return document


def proposal_text(proposal: Proposal) -> str:
    """What is stored of a trial when it is proposed."""
    return seal(to_plain(proposal))


def read_proposal(stored: str | Mapping[str, Any], where: str) -> Proposal:
    """Inverse of :func:`proposal_text`.

    Raises:
        InputError: It is damaged.
    """
    values = read_sealed(stored, where)
    try:
        proposal = Proposal(**{**values, "point": tuple(values["point"])})
    except (KeyError, TypeError) as error:
        raise damaged(where) from error
    if not all(type(index) is int for index in (proposal.number, *proposal.point)):
        raise damaged(where)
    return proposal


def trial_text(trial: OuterTrial) -> str:
    """What is stored of a trial when it has ended."""
    return seal(to_plain(trial))


def read_trial(stored: str | Mapping[str, Any], where: str) -> OuterTrial:
    """Inverse of :func:`trial_text`.

    Raises:
        InputError: It is damaged.
    """
    return trial_of_values(read_sealed(stored, where), where)


def trial_of_values(values: dict[str, Any], where: str) -> OuterTrial:
    """A trial from its fields, each of the type that it has.

    Raises:
        InputError: One has another.
    """
    try:
        values["point"] = tuple(values["point"])
        values["outcome"] = Outcome(values["outcome"])
        values["doubts"] = tuple(values.get("doubts", ()))
        trial = OuterTrial(**values)
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(where) from error
    if not isinstance(trial.metrics, dict):
        raise damaged(where)
    numbers = (trial.number, *trial.point, trial.accuracy_samples, trial.bound_ms, trial.wall_s)
    texts = (trial.hits, trial.message, trial.schedules, trial.scheme, trial.log)
    if (
        not all(isinstance(number, int | float) for number in (*numbers, *trial.metrics.values()))
        or not all(isinstance(part, str) for part in texts)
        or not all(type(index) is int for index in (trial.number, *trial.point))
        or not isinstance(trial.subset_accuracy, int | float | None)
        or not isinstance(trial.attributes, dict)
    ):
        raise damaged(where)
    return trial
