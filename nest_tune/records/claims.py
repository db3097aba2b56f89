"""Claims: who computes what at this moment, so that several drivers do not do the same work.

A claim is a lease. Its holder renews it while it works; the claim of a driver that died runs out,
and whoever wants the result next takes it over. Nobody waits while holding claims for something
that is not done yet, so that two drivers never wait for each other.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sql

from nest_tune.records.connection import Connection
from nest_tune.records.dialects import create_tables
from nest_tune.records.journal_rows import keep_in_journals
from nest_tune.records.owner import read_owner, this_process

LEASE_S = 30.0
RENEWAL_S = 10.0

_TABLES = sql.MetaData()
_CLAIMS = sql.Table(
    "nest_tune_claim",
    _TABLES,
    sql.Column("key", sql.String(200), primary_key=True),
    sql.Column("owner", sql.String(200), nullable=False),
    sql.Column("until_s", sql.Float(53), nullable=False),
)
keep_in_journals(_TABLES)


class Claims:
    """Claims in one database.

    Args:
        connection: To it; the table is made where it is missing.
        lease_s: Time until a claim that is not renewed is void.
    """

    def __init__(self, connection: Connection, lease_s: float = LEASE_S) -> None:
        self._connection, self._lease_s = connection, lease_s
        self.owner = f"{uuid.uuid4().hex[:8]}:{this_process().text}"
        self._held: set[str] = set()
        self._renewed = time.monotonic()
        connection.make_tables(lambda made: create_tables(made, _TABLES))

    def take(self, keys: Iterable[str]) -> set[str]:
        """Claims what nobody else has claimed.

        Args:
            keys: Of at most 200 characters each.

        Returns:
            Those that are this driver's now.
        """
        wanted = sorted(set(keys))  # one order for all, so that drivers do not lock crosswise
        if not wanted:
            return set()

        def work(connection: sql.Connection) -> set[str]:
            now = self._now()
            ours = _CLAIMS.c.key.in_(wanted)
            void = _CLAIMS.c.until_s < now
            if dead := self._dead(connection.execute(sql.select(_CLAIMS.c.owner).where(ours))):
                void = sql.or_(void, _CLAIMS.c.owner.in_(dead))
            connection.execute(_CLAIMS.delete().where(ours, void))
            rows = [{"key": key, "owner": self.owner} for key in wanted]
            values = {"until_s": now + self._lease_s}
            insert = self._connection.rules.insert(_CLAIMS, ["key"])
            connection.execute(insert.values([{**row, **values} for row in rows]))
            found = connection.execute(
                sql.select(_CLAIMS.c.key).where(ours, _CLAIMS.c.owner == self.owner)
            )
            return set(found.scalars())

        taken = self._connection.run(work)
        self._held |= taken
        return taken

    def _dead(self, owners: sql.CursorResult[Any]) -> list[str]:
        """Owners that were processes of this machine and are no more."""
        found = []
        for text in set(owners.scalars()):
            owner = read_owner(text.partition(":")[2])
            if owner is not None and owner.has_ended():
                found.append(text)
        return found

    def renew(self) -> None:
        """Keeps all claims of this driver for another lease; does nothing where that is early."""
        if self._held and time.monotonic() - self._renewed > min(RENEWAL_S, self._lease_s / 3):
            self._renewed = time.monotonic()
            ours = _CLAIMS.c.owner == self.owner
            until = {"until_s": self._now() + self._lease_s}
            self._connection.run(lambda c: c.execute(_CLAIMS.update().where(ours).values(until)))

    def drop(self, keys: Iterable[str] | None = None) -> None:
        """Gives claims back, when their results are stored or will not come; all by default."""
        given = sorted(self._held if keys is None else self._held.intersection(keys))
        if given:
            ours = sql.and_(_CLAIMS.c.key.in_(given), _CLAIMS.c.owner == self.owner)
            self._connection.run(lambda c: c.execute(_CLAIMS.delete().where(ours)))
            self._held -= set(given)

    def _now(self) -> Any:
        return self._connection.rules.now_s()
