"""``python -m tests.conformance.onnx_suite``: the whole suite, and a table by cause."""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from fnmatch import fnmatch
from pathlib import Path

from tests.conformance.onnx_suite.cases import KINDS, all_cases
from tests.conformance.onnx_suite.guard import guarded
from tests.conformance.onnx_suite.outcome import Cause, Outcome


def main() -> int:
    """Runs the cases and prints the table.

    Returns:
        1 where a case failed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kind", action="append", choices=KINDS, help="only these (all)")
    parser.add_argument("--name", default="*", help="only tests of this pattern")
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th test")
    parser.add_argument("--first", type=int, default=0, help="begin at this one of each N")
    parser.add_argument(
        "--list", type=Path, metavar="FILE", help="write every outcome as JSON lines"
    )
    given = parser.parse_args()
    cases = [case for case in all_cases(given.kind or KINDS) if fnmatch(case.name, given.name)]
    found = []
    lines = given.list.open("w") if given.list else None
    for number, item in enumerate(guarded(cases[given.first :: given.every]), 1):
        found.append(item)
        if item.failed:
            print(f"{item.cause}: {item.case}: {item.detail}", flush=True)
        if lines is not None:
            row = {"case": item.case, "cause": item.cause, "npu": item.on_npu, "why": item.detail}
            print(json.dumps(row), file=lines, flush=True)
        if number % 100 == 0:
            print(f"{number} done", file=sys.stderr, flush=True)
    print(table(found))
    return any(item.failed for item in found)


def table(found: list[Outcome]) -> str:
    """Counts by kind and cause."""
    counts: dict[str, Counter[Cause]] = defaultdict(Counter)
    for item in found:
        counts[item.case.partition("/")[0]][item.cause] += 1
        counts["all"][item.cause] += 1
    lines = ["kind".ljust(18) + "".join(str(cause).rjust(len(cause) + 2) for cause in Cause)]
    for kind, row in counts.items():
        cells = "".join(str(row[cause]).rjust(len(cause) + 2) for cause in Cause)
        lines.append(kind.ljust(18) + cells)
    lines.append(f"with a part on the NPU: {sum(item.on_npu for item in found)}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
