"""The system's timeline one picosecond after another: what the event simulation has to equal."""

from __future__ import annotations

from collections.abc import Sequence

from compiler_core.system.jobs import ALL_CORES, ANY_CORE, NOWHERE, ON_HOST, Job, Machinery


def reference_ends(
    jobs: Sequence[Job], priorities: Sequence[int], machinery: Machinery
) -> list[int]:
    """Ends of all jobs, one picosecond after another, for jobs that demand nothing of memories."""
    order = sorted(range(len(jobs)), key=lambda t: (-priorities[t], t))
    ends: dict[int, int] = {}
    launch_left = {t: job.overhead_ps for t, job in enumerate(jobs)}
    left = {t: job.run_ps for t, job in enumerate(jobs)}
    held: list[list[int | None]] = [[None] * cores for cores in machinery.cores]
    on_cpu: int | None = None
    launching: int | None = None
    now = 0

    def holding() -> list[int]:
        return [t for unit in held for t in unit if t is not None]

    def may_begin(t: int) -> bool:
        users = holding() + ([] if on_cpu is None else [on_cpu])
        others = [u for u in users if jobs[u].unit != jobs[t].unit]
        meeting = [u for u in others if jobs[u].memories & jobs[t].memories]
        alone = [
            u for u in (*meeting, t) if jobs[u].unit >= 0 and machinery.exclusive[jobs[u].unit]
        ]
        return not meeting or not alone

    while len(ends) < len(jobs):
        changed = True
        while changed:  # whatever takes no time at this moment
            changed = False
            ready = [t for t in order if t not in ends and all(b in ends for b in jobs[t].after)]
            for t in ready:
                if jobs[t].unit == NOWHERE:
                    ends[t], changed = now, True
            if changed:
                continue
            for t in ready:
                if jobs[t].unit >= 0 and t not in holding() and may_begin(t):
                    own, wanted = held[jobs[t].unit], jobs[t].core
                    if wanted == ALL_CORES:
                        chosen = list(range(len(own))) if own == [None] * len(own) else []
                    elif wanted == ANY_CORE:
                        chosen = [own.index(None)] if None in own else []
                    else:
                        chosen = [wanted] if own[wanted] is None else []
                    for core in chosen:
                        own[core] = t
            if launching is None:
                waiting = [t for t in order if t in holding() and launch_left[t] >= 0]
                launching = waiting[0] if waiting else None
            if launching is None and on_cpu is None:
                waiting = [t for t in ready if jobs[t].unit == ON_HOST and may_begin(t)]
                on_cpu = waiting[0] if waiting else None
            if launching is not None and launch_left[launching] == 0:
                launch_left[launching] = -1
                launching, changed = None, True
            elif launching is None and on_cpu is not None and left[on_cpu] == 0:
                ends[on_cpu], on_cpu, changed = now, None, True
            finished = {t for t in holding() if launch_left[t] < 0 and left[t] == 0}
            for t in finished:
                ends[t], changed = now, True
                held = [[None if h == t else h for h in unit] for unit in held]
        for t in {t for t in holding() if launch_left[t] < 0}:
            left[t] -= 1
        if launching is not None:
            launch_left[launching] -= 1
        elif on_cpu is not None:
            left[on_cpu] -= 1
        now += 1
    return [ends[t] for t in range(len(jobs))]
