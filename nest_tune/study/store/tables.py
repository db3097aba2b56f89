"""Our tables beside Optuna's: what a study is beside its trials, tuned tasks, results by key.

Each row that holds a document holds a digest of it, so that what was damaged is not believed.
"""

from __future__ import annotations

from hashlib import sha256

import sqlalchemy as sql

from nest_tune.records.journal_rows import keep_in_journals

SCHEMA_VERSION = 2
"""1: with trials in a table of our own, see :mod:`nest_tune.study.store.old_tables`."""

TABLES = sql.MetaData()
VERSION = sql.Table(
    "nest_tune_study_schema", TABLES, sql.Column("version", sql.Integer, primary_key=True)
)
STUDIES = sql.Table(
    "nest_tune_study",
    TABLES,
    sql.Column("id", sql.Integer, primary_key=True),
    sql.Column("mark", sql.String(32), unique=True, nullable=False),
    sql.Column("number", sql.Integer, nullable=False),
    sql.Column("created_s", sql.Float(53), nullable=False),
    sql.Column("document", sql.Text, nullable=False),
    sql.Column("digest", sql.String(16), nullable=False),
)
RUNS = sql.Table(
    "nest_tune_study_run",
    TABLES,
    sql.Column("study", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("status", sql.String(20), nullable=False),
    sql.Column("request", sql.String(20), nullable=False),
    sql.Column("token", sql.String(32), nullable=False),
    sql.Column("epoch", sql.Integer, nullable=False),
    sql.Column("process", sql.String(400), nullable=False),
    sql.Column("beat_s", sql.Float(53), nullable=False),
)
"""Who runs a study: apart from what is long and never changes."""

TASKS = sql.Table(
    "nest_tune_study_task",
    TABLES,
    sql.Column("study", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("task", sql.String(100), primary_key=True),
    sql.Column("document", sql.Text, nullable=False),
    sql.Column("digest", sql.String(16), nullable=False),
)
RESULTS = sql.Table(
    "nest_tune_result",
    TABLES,
    sql.Column("key", sql.String(64), primary_key=True),
    sql.Column("document", sql.Text, nullable=False),
    sql.Column("digest", sql.String(16), nullable=False),
)
keep_in_journals(TABLES)


def digest_of(*parts: object) -> str:
    """Digest of a row's content."""
    return sha256("\n".join(map(str, parts)).encode(errors="replace")).hexdigest()[:16]
