"""Measuring once what several drivers want: known records are read, the others claimed.

A record of another driver stands for a measurement; it changes what is spent, never what is found.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from nest_tune.records.claims import Claims
from nest_tune.records.database import Key, RecordDatabase
from nest_tune.records.record import MeasurementOutcome, Record

BELIEVED = (MeasurementOutcome.CORRECT, MeasurementOutcome.COMPILE)
"""What is the same wherever it is measured; a late or lost measurement is made again."""

_FIRST_PAUSE_S = 0.02
_LONGEST_PAUSE_S = 0.5


class SharedRecords:
    """The records of a database for a driver that measures.

    Args:
        database: Of all drivers.
        claims: Of this driver, in the same database.
        poll: Called while another driver is waited for; may raise to end it.

    Attributes:
        found: Measurements that others had made.
    """

    def __init__(
        self,
        database: RecordDatabase,
        claims: Claims | None = None,
        poll: Callable[[], None] = lambda: None,
    ) -> None:
        self._database, self._poll = database, poll
        self._claims = claims or Claims(database.connection)
        self.found = 0

    def obtain(
        self, keys: Sequence[Key], measure: Callable[[Sequence[Key]], Sequence[Record]]
    ) -> dict[Key, Record]:
        """A record for each key.

        Args:
            keys: Of measurements.
            measure: Makes the records of some of them; called with no claim of another driver
                outstanding, and its records are stored before anything is waited for.
        """
        have: dict[Key, Record] = {}
        pause_s = _FIRST_PAUSE_S
        while missing := [key for key in dict.fromkeys(keys) if key not in have]:
            self._look(missing, have)
            missing = [key for key in missing if key not in have]
            ours = self._claims.take(map(claim_of, missing))
            try:
                mine = [key for key in missing if claim_of(key) in ours]
                self._look(mine, have)  # made between the look and the claim
                if fresh := [key for key in mine if key not in have]:
                    made = measure(fresh)
                    self._database.add(made)
                    have |= {record.key: record for record in made}
            finally:
                self._claims.drop(ours)
            if len(ours) < len(missing):
                self._poll()
                time.sleep(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return have

    def renew(self) -> None:
        """Keeps the claims while a measurement takes its time; to be called every some seconds."""
        self._claims.renew()

    def _look(self, keys: Sequence[Key], have: dict[Key, Record]) -> None:
        for key, record in self._database.find(keys).items() if keys else ():
            if record.outcome in BELIEVED:
                have[key] = record
                self.found += 1


def claim_of(key: Key) -> str:
    """Key of the claim on a measurement."""
    return ":".join(map(str, key))
