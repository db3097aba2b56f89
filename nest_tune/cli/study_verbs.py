"""All verbs of ``nest-tune study``: each module adds its own to the one application."""

from __future__ import annotations

from nest_tune.cli import (
    study,
    study_compare,
    study_control,
    study_enqueue,
    study_explain,
    study_keeping,
    study_report,
    study_views,
)
from nest_tune.cli.study_app import app

__all__ = [
    "app",
    "study",
    "study_compare",
    "study_control",
    "study_enqueue",
    "study_explain",
    "study_keeping",
    "study_report",
    "study_views",
]
