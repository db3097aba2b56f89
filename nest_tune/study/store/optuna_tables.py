"""Optuna's tables, as Optuna makes them.

Its own way of writing a trial takes a query per decision, and of reading one all decisions of all
trials; what makes its tables loads SQLAlchemy's mapping of objects, 10 MB that nothing else here
needs. Tests hold these definitions against Optuna's, statement by statement and for every kind of
database, and what is written against what Optuna reads.
"""

from __future__ import annotations

import sqlalchemy as sql

STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")
KNOWN_VERSION = "v3.2.0.a"
"""Of the tables; others are checked by Optuna."""
SCHEMA_VERSION = 12
"""What Optuna calls the same beside it."""

TABLES = sql.MetaData()
_LONGEST = 512

STUDIES = sql.Table(
    "studies",
    TABLES,
    sql.Column("study_id", sql.Integer, primary_key=True),
    sql.Column("study_name", sql.String(_LONGEST), nullable=False, index=True, unique=True),
)
INFO = sql.Table(
    "version_info",
    TABLES,
    sql.Column("version_info_id", sql.Integer, primary_key=True, autoincrement=False),
    sql.Column("schema_version", sql.Integer),
    sql.Column("library_version", sql.String(256)),
    sql.CheckConstraint("version_info_id=1"),
)
DIRECTIONS = sql.Table(
    "study_directions",
    TABLES,
    sql.Column("study_direction_id", sql.Integer, primary_key=True),
    sql.Column(
        "direction",
        sql.Enum("NOT_SET", "MINIMIZE", "MAXIMIZE", name="studydirection"),
        nullable=False,
    ),
    sql.Column("study_id", sql.ForeignKey("studies.study_id"), nullable=False),
    sql.Column("objective", sql.Integer, nullable=False),
    sql.UniqueConstraint("study_id", "objective"),
)
TRIALS = sql.Table(
    "trials",
    TABLES,
    sql.Column("trial_id", sql.Integer, primary_key=True),
    sql.Column("number", sql.Integer),
    sql.Column("study_id", sql.ForeignKey("studies.study_id"), index=True),
    sql.Column("state", sql.Enum(*STATES, name="trialstate"), nullable=False),
    sql.Column("datetime_start", sql.DateTime),
    sql.Column("datetime_complete", sql.DateTime),
)
PARAMS = sql.Table(
    "trial_params",
    TABLES,
    sql.Column("param_id", sql.Integer, primary_key=True),
    sql.Column("trial_id", sql.ForeignKey("trials.trial_id")),
    sql.Column("param_name", sql.String(_LONGEST)),
    sql.Column("param_value", sql.Float(53)),
    sql.Column("distribution_json", sql.Text),
    sql.UniqueConstraint("trial_id", "param_name"),
)
VALUES = sql.Table(
    "trial_values",
    TABLES,
    sql.Column("trial_value_id", sql.Integer, primary_key=True),
    sql.Column("trial_id", sql.ForeignKey("trials.trial_id"), nullable=False),
    sql.Column("objective", sql.Integer, nullable=False),
    sql.Column("value", sql.Float(53)),
    sql.Column(
        "value_type",
        sql.Enum("FINITE", "INF_POS", "INF_NEG", name="trialvaluetype"),
        nullable=False,
    ),
    sql.UniqueConstraint("trial_id", "objective"),
)
INTERMEDIATES = sql.Table(
    "trial_intermediate_values",
    TABLES,
    sql.Column("trial_intermediate_value_id", sql.Integer, primary_key=True),
    sql.Column("trial_id", sql.ForeignKey("trials.trial_id"), nullable=False),
    sql.Column("step", sql.Integer, nullable=False),
    sql.Column("intermediate_value", sql.Float(53)),
    sql.Column(
        "intermediate_value_type",
        sql.Enum("FINITE", "INF_POS", "INF_NEG", "NAN", name="trialintermediatevaluetype"),
        nullable=False,
    ),
    sql.UniqueConstraint("trial_id", "step"),
)
HEARTBEATS = sql.Table(
    "trial_heartbeats",
    TABLES,
    sql.Column("trial_heartbeat_id", sql.Integer, primary_key=True),
    sql.Column("trial_id", sql.ForeignKey("trials.trial_id"), nullable=False),
    sql.Column("heartbeat", sql.DateTime, nullable=False),
    sql.UniqueConstraint("trial_id"),
)


def _attributes(name: str, number: str, owner: str) -> sql.Table:
    return sql.Table(
        name,
        TABLES,
        sql.Column(number, sql.Integer, primary_key=True),
        sql.Column(owner.split(".")[1], sql.ForeignKey(owner)),
        sql.Column("key", sql.String(_LONGEST)),
        sql.Column("value_json", sql.Text),
        sql.UniqueConstraint(owner.split(".")[1], "key"),
    )


STUDY_USER = _attributes("study_user_attributes", "study_user_attribute_id", "studies.study_id")
STUDY_SYSTEM = _attributes(
    "study_system_attributes", "study_system_attribute_id", "studies.study_id"
)
TRIAL_USER = _attributes("trial_user_attributes", "trial_user_attribute_id", "trials.trial_id")
TRIAL_SYSTEM = _attributes(
    "trial_system_attributes", "trial_system_attribute_id", "trials.trial_id"
)
VERSION = sql.Table(
    "alembic_version",
    TABLES,
    sql.Column("version_num", sql.String(32), nullable=False),
    sql.PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

OF_TRIALS = (PARAMS, VALUES, TRIAL_USER, TRIAL_SYSTEM, INTERMEDIATES, HEARTBEATS)
OF_STUDIES = (DIRECTIONS, STUDY_USER, STUDY_SYSTEM)
