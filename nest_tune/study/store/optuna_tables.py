"""Optuna's tables, as far as we read and write them; Optuna itself makes them.

Its own way of writing a trial takes a query per decision, and of reading one all decisions of all
trials. A test holds these definitions against Optuna's, and what is written against what Optuna
reads.
"""

from __future__ import annotations

import sqlalchemy as sql

STATES = ("RUNNING", "COMPLETE", "PRUNED", "FAIL", "WAITING")
KNOWN_VERSION = "v3.2.0.a"
"""Of the tables; others are checked by Optuna."""

TABLES = sql.MetaData()
_LONGEST = 512

STUDIES = sql.Table(
    "studies",
    TABLES,
    sql.Column("study_id", sql.Integer, primary_key=True),
    sql.Column("study_name", sql.String(_LONGEST), nullable=False),
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
)
TRIALS = sql.Table(
    "trials",
    TABLES,
    sql.Column("trial_id", sql.Integer, primary_key=True),
    sql.Column("number", sql.Integer),
    sql.Column("study_id", sql.ForeignKey("studies.study_id")),
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
)
INTERMEDIATES = sql.Table(
    "trial_intermediate_values",
    TABLES,
    sql.Column("trial_intermediate_value_id", sql.Integer, primary_key=True),
    sql.Column("trial_id", sql.ForeignKey("trials.trial_id"), nullable=False),
)
HEARTBEATS = sql.Table(
    "trial_heartbeats",
    TABLES,
    sql.Column("trial_heartbeat_id", sql.Integer, primary_key=True),
    sql.Column("trial_id", sql.ForeignKey("trials.trial_id"), nullable=False),
)


def _attributes(name: str, number: str, owner: str) -> sql.Table:
    return sql.Table(
        name,
        TABLES,
        sql.Column(number, sql.Integer, primary_key=True),
        sql.Column(owner.split(".")[1], sql.ForeignKey(owner)),
        sql.Column("key", sql.String(_LONGEST)),
        sql.Column("value_json", sql.Text),
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
    "alembic_version", TABLES, sql.Column("version_num", sql.String(32), primary_key=True)
)

OF_TRIALS = (PARAMS, VALUES, TRIAL_USER, TRIAL_SYSTEM, INTERMEDIATES, HEARTBEATS)
OF_STUDIES = (DIRECTIONS, STUDY_USER, STUDY_SYSTEM)
