"""How far the tuning of the tasks that are under way is: measured, at most to come, time left."""

from __future__ import annotations

from collections.abc import Collection

from compiler_core.targets.unit_tasks import task_id
from compiler_core.units.registry import kind_of_machine
from nest_tune.figures import duration
from nest_tune.tuning.task_search import TaskSearch


class TuningState:
    """Counts tasks that are being tuned, from when the first began until none is left.

    Args:
        now_s: When the first began.
    """

    def __init__(self, now_s: float) -> None:
        self._began_s = now_s
        self._tasks = self._limited = self._limit = 0
        self._searches: dict[int, TaskSearch] = {}
        self._of_done = 0
        self._first_round: tuple[float, int] | None = None
        self._is_first_round = True
        self._latest = ""
        self.quality: tuple[float, float] | None = None

    @property
    def tasks(self) -> int:
        """That are not tuned yet."""
        return self._tasks

    def add(self, tasks: int, limit: int) -> None:
        """Others begin.

        Args:
            tasks: How many.
            limit: Schedules that are looked at for them at most; 0 where nothing says.
        """
        self._tasks += tasks
        self._limited += tasks if limit else 0
        self._limit += limit

    def take(self, search: TaskSearch, now_s: float) -> None:
        """A batch of a search has been measured."""
        self._is_first_round &= id(search) not in self._searches
        self._searches[id(search)] = search
        if self._is_first_round:
            self._first_round = now_s, self._measured()
        work = search.task.workload
        self._latest = (
            f"{work.operator} {work.shape}: best {search.best_cycles:,} "
            f"{kind_of_machine(search.machine).counted}, "
            f"lower bound {search.bound_cycles:,}"
        )
        self.quality = search.quality or self.quality

    def end(self, names: Collection[str]) -> None:
        """These are tuned. Those that no search was told of have no limit, while such are left."""
        ids = {task_id(name) for name in names}
        done = min(len(names), self._tasks)
        searched = sum(search.task.id in ids for search in self._searches.values())
        limited = max(min(searched, self._limited), done - (self._tasks - self._limited))
        if limited:
            self._limit -= self._limit * limited // self._limited
        self._limited -= limited
        self._tasks -= done
        for key, search in list(self._searches.items()):
            if search.task.id in ids:
                self._of_done += self._searches.pop(key).measurements

    def text(self, now_s: float) -> str:
        """What is tuned, what that took by now, and what it takes at most."""
        text = f"tuning {self._tasks} new task{'s' if self._tasks > 1 else ''}"
        if not self._searches:
            return text
        begun = min(self._tasks, len(self._searches))
        measured = sum(search.measurements for search in self._searches.values())
        parts = [f"{begun} begun", f"{measured:,} measurements", duration(now_s - self._began_s)]
        left = self.seconds_left(now_s)
        if left is not None:
            parts.append(f"at most about {duration(left)} left")
        return f"{text} ({', '.join(parts)}), {self._latest}"

    def seconds_left(self, now_s: float) -> float | None:
        """Until all are tuned, by the speed behind each task's first batch, which pays for the
        start; ``None`` where that is not known. A search may find earlier that it is at its end."""
        if self._first_round is None or not self._limit:
            return None
        since_s, before = self._first_round
        fresh = self._measured() - before
        if fresh <= 0 or now_s <= since_s:
            return None
        looked_at = sum(search.spent for search in self._searches.values())
        if looked_at >= self._limit:
            return None
        return (self._limit - looked_at) * (now_s - since_s) / fresh

    def _measured(self) -> int:
        """By all, those that ended among them."""
        return self._of_done + sum(search.measurements for search in self._searches.values())
