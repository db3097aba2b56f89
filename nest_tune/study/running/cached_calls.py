"""Calls of pure functions on a runner, with every result kept by the digest of what it depends on.

A lost worker costs a retry; a call that loses several is given up. A result that was computed
before, in this study or another one, is taken from storage and never computed again; one that
another driver computes at this moment is waited for.
"""

from __future__ import annotations

import json
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from compiler_core.tensor.digest import digest
from nest_tune.records.claims import Claims
from nest_tune.runners.runner import ATTEMPTS, Answer, Ending, Needs, Runner, Work
from nest_tune.study.running.patience import Patience
from nest_tune.study.store.results import results_of
from nest_tune.study.store.storage import StudyStorage

Then = Callable[[Answer], None]

_POLL_S = 0.5
_LOOK_S = 0.1


@dataclass
class _Pending:
    work: Work
    key: str
    then: Then
    attempt: int = 0
    kept: bool = True
    is_own: bool = True  # its time says how long others may take


class Calls:
    """What is under way on a runner.

    Args:
        runner: Where.
        storage: Of results.
        context: Digest of everything that results depend on beside function and payload.
        timeout_s: Of each call; ``None``: by what others have taken (:mod:`.patience`).
        poll: Called at least twice a second while waiting; may raise to end it.
        needs: Of calls, by function, where they are not those of any.
    """

    def __init__(
        self,
        runner: Runner,
        storage: StudyStorage,
        context: str,
        timeout_s: float | None,
        poll: Callable[[], None] = lambda: None,
        needs: Mapping[str, Needs] | None = None,
    ) -> None:
        self._runner, self._storage = runner, storage
        self._needs = needs or {}
        self._context, self._patience, self._poll = context, Patience(timeout_s), poll
        self._tickets = 0
        self._pending: dict[int, _Pending] = {}
        self._elsewhere: dict[int, _Pending] = {}
        self._fresh = False
        self._known: deque[tuple[Answer, Then]] = deque()
        self._claims = Claims(storage.connection)
        self.found: Counter[str] = Counter()
        """Calls that storage answered, by function."""

    def start(
        self,
        function: str,
        payload: Any,
        then: Then,
        *,
        key: Any = None,
        kept: bool = True,
        timeout_s: float | None = None,
        context: str | None = None,
    ) -> None:
        """Asks for a call; ``then`` gets its answer in :meth:`step`.

        Args:
            function: ``module:function``.
            payload: Plain.
            then: May start further calls.
            key: What the result depends on, where that is less than the payload.
            kept: Whether its result is looked for and kept in storage.
            timeout_s: Where it is not that of any call, which is none to judge others by.
            context: Where the result depends on the key alone: what sets it apart from others.
        """
        is_own = timeout_s is None
        allowed_s = timeout_s or self._patience.allowed_s(function)
        if not kept:
            self._tickets += 1
            work = Work(self._tickets, function, payload, allowed_s)
            self._submit(_Pending(work, "", then, kept=False, is_own=is_own))
            return
        text = json.dumps([payload if key is None else key], sort_keys=True)
        name = digest((self._context if context is None else context, function, text), 32)
        self._tickets += 1
        needs = self._needs.get(function, Needs())
        work = Work(self._tickets, function, payload, allowed_s, needs)
        pending = _Pending(work, name, then, is_own=is_own)
        self._elsewhere[work.ticket] = pending
        self._fresh = True

    def begin(self) -> None:
        """Begins the calls started since the last time, all with one claim; :meth:`drain` does it
        too."""
        if self._fresh:
            self._look_elsewhere(list(self._elsewhere))

    def _submit(self, pending: _Pending) -> None:
        self._pending[pending.work.ticket] = pending
        self._runner.submit(pending.work)

    def drain(self) -> None:
        """Waits for all calls, and for those that their answers start."""
        while self.busy:
            self.step()

    @property
    def busy(self) -> bool:
        """Whether anything has no answer yet."""
        return bool(self._known or self._pending or self._elsewhere)

    def step(self) -> None:
        """Begins what was started, and hands out the answers that have come; waits for the first
        of them for a while."""
        self.begin()
        if self._known:
            while self._known:
                answer, then = self._known.popleft()
                then(answer)
            if self._fresh:
                return
        elif self._pending:
            for answer in self._runner.wait(_POLL_S):
                self._answered(answer)
        elif self._elsewhere:
            time.sleep(_LOOK_S)
        self._look_elsewhere(list(self._elsewhere))
        self._claims.renew()
        self._poll()

    def _look_elsewhere(self, tickets: Sequence[int]) -> None:
        """Begins what nobody computes, neither this driver nor another one, and takes what has been
        finished since."""
        self._fresh = False
        if not tickets:
            return
        keys = [self._elsewhere[ticket].key for ticket in tickets]
        # Read after the claim: what was finished before it is not computed again.
        ours, stored = self._claims.take_and(keys, lambda found: results_of(found, keys))
        computing = {pending.key for pending in self._pending.values() if pending.kept}
        for ticket in tickets:
            pending = self._elsewhere[ticket]
            if pending.key in stored:
                self.found[pending.work.function] += 1
                answer = Answer(ticket, Ending.DONE, stored[pending.key])
                self._known.append((answer, pending.then))
            elif pending.key in ours and pending.key not in computing:
                computing.add(pending.key)
                self._submit(pending)
            else:
                continue
            del self._elsewhere[ticket]
        self._claims.drop(ours & set(stored))

    def close(self) -> None:
        """Lets other drivers compute what this one has begun."""
        self._claims.drop()

    def _answered(self, answer: Answer) -> None:
        pending = self._pending.pop(answer.ticket, None)
        if pending is None:
            return
        if answer.ending is Ending.LOST and pending.attempt < ATTEMPTS - 1:
            self._tickets += 1
            again = replace(pending.work, ticket=self._tickets)
            self._pending[again.ticket] = replace(pending, work=again, attempt=pending.attempt + 1)
            self._runner.submit(again)
            return
        if answer.ending is Ending.LOST:
            message = f"{answer.message}; {ATTEMPTS} workers died of it"
            answer = replace(answer, message=message)
        if pending.is_own and answer.ending in (Ending.DONE, Ending.ERROR):
            self._patience.ended(pending.work.function, answer.wall_s)
        if pending.kept:
            if answer.ending is Ending.DONE:
                self._storage.add_result(pending.key, answer.value, self._claims)
            else:
                self._claims.drop([pending.key])
        pending.then(answer)
