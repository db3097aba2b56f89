"""Claims: who computes what at this moment, so that several drivers do not do the same work.

A claim is a lease. Its holder renews it while it works; the claim of a driver that died runs out,
and whoever wants the result next takes it over. Nobody waits while holding claims for something
that is not done yet, so that two drivers never wait for each other.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import sqlalchemy as sql

from nest_tune.records.connection import Connection
from nest_tune.records.dialects import create_tables
from nest_tune.records.journal_rows import keep_in_journals
from nest_tune.records.owner import read_owner, this_process

T = TypeVar("T")

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
        wanted = set(keys)
        return self.take_and(wanted, lambda _connection: None)[0] if wanted else set()

    def take_and(
        self, keys: Iterable[str], then: Callable[[sql.Connection], T]
    ) -> tuple[set[str], T]:
        """As :meth:`take`, with what is read behind it in the same transaction.

        Args:
            keys: As there.
            then: Called behind the claim; also where there are no keys.
        """
        wanted = sorted(set(keys))  # one order for all, so that drivers do not lock crosswise

        def work(connection: sql.Connection) -> tuple[set[str], T]:
            return self._taken(connection, wanted) if wanted else set(), then(connection)

        taken, read = self._connection.run(work)
        self._held |= taken
        return taken, read

    def _taken(self, connection: sql.Connection, wanted: list[str]) -> set[str]:
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
            self._connection.run(lambda connection: self.give(connection, given))
            self._held -= set(given)

    def give(self, connection: sql.Connection, keys: Iterable[str]) -> None:
        """Gives claims back in a transaction of somebody else's; :meth:`forget` follows once that
        is committed."""
        ours = sql.and_(_CLAIMS.c.key.in_(list(keys)), _CLAIMS.c.owner == self.owner)
        connection.execute(_CLAIMS.delete().where(ours))

    def forget(self, keys: Iterable[str]) -> None:
        """Takes note that claims have been given back."""
        self._held -= set(keys)

    def _now(self) -> Any:
        return self._connection.rules.now_s()
