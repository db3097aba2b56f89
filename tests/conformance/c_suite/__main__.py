"""``python -m tests.conformance.c_suite``: the whole suite, and what cannot be written."""

from __future__ import annotations

import argparse
from collections import Counter, defaultdict

from tests.conformance.c_suite.written import Written, written
from tests.conformance.onnx_suite.cases import all_cases


def main() -> int:
    """Prints counts, faults, and refusals by operator.

    Returns:
        1 where a case failed.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each N-th test")
    every = parser.parse_args().every
    counts: Counter[Written] = Counter()
    refused: dict[str, list[str]] = defaultdict(list)
    kinds = ("node", "simple", "pytorch-converted", "pytorch-operator")
    for number, case in enumerate(all_cases(kinds)):
        if number % every:
            continue
        found = written(case)
        counts[found.ending] += 1
        if found.ending in (Written.CRASH, Written.MISMATCH):
            print(f"{found.ending}: {found.case}: {found.detail}")
        if found.ending is Written.REFUSED:
            ops = " ".join(sorted({node.op_type for node in case.model.graph.node}))
            refused[ops].append(found.detail)
    for ops, details in sorted(refused.items(), key=lambda item: -len(item[1])):
        print(f"{len(details):4} {ops[:60]}: {details[0][:160]}")
    print(", ".join(f"{count} {ending}" for ending, count in counts.most_common()))
    return int(bool(counts[Written.CRASH] or counts[Written.MISMATCH]))


if __name__ == "__main__":
    raise SystemExit(main())
