"""A metric that waits, where it is told to: so that a study is under way as long as a test wants.

Copied into the folder of a study; beside it, ``gate.json`` says when calls wait, until it is gone.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def top1(outputs: Any, labels: Any) -> float:
    """Share of samples whose largest value is that of the label, when the gate is open."""
    while _is_closed():
        time.sleep(0.02)
    with (HERE / "calls").open("ab") as file:
        os.write(file.fileno(), b".")
    rows = next(iter(outputs.values()))
    return float((rows.reshape(len(rows), -1).argmax(axis=1) == labels).mean())


def _is_closed() -> bool:
    try:
        said = json.loads((HERE / "gate.json").read_text())
    except FileNotFoundError:
        return False
    if "calls" in said:
        calls = HERE / "calls"
        return calls.exists() and calls.stat().st_size >= said["calls"]
    return stored_trials(Path(said["database"])) >= said["trials"]


def stored_trials(database: Path) -> int:
    """Trials of all studies of an SQLite database, read without touching its schema."""
    if not database.exists():
        return 0
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        ended = "SELECT count(*) FROM trial_user_attributes WHERE key = 'nest_tune'"
        count: int = connection.execute(ended).fetchone()[0]
    except sqlite3.OperationalError:  # it is being made
        return 0
    finally:
        connection.close()
    return count
