"""Shows which golden numbers changed; with ``--update`` keeps what was measured.

``python -m tests.golden [--all] [--update] [PART…]`` measures the quick cases, or all whose name
holds one of the parts; ``--all`` all of them. Exits 1 where something differs and is not kept.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from tests.golden.cases import FILES, QUICK, TRAINED, Case, Compiled
from tests.golden.measure import ROOT, measure
from tests.golden.numbers_file import Change, changes, read, table, versions, write


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.golden", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help="parts of names of cases")
    parser.add_argument("--all", action="store_true", help="the slow ones, too")
    parser.add_argument("--update", action="store_true", help="keep what was measured")
    parser.add_argument(
        "--trained",
        type=Path,
        default=ROOT.parent / "data",
        metavar="DIR",
        help="folder of trained models, each prepared as a folder of its name",
    )
    asked = parser.parse_args(arguments)
    found: list[Change] = []
    for name, cases in FILES.items():
        chosen = [case for case in cases if _is_chosen(case, asked.parts, everything=asked.all)]
        kept = read(name)
        known = {case.name for case in cases}
        fresh = {case: numbers for case, numbers in kept.items() if case in known}
        for case in chosen:
            if _is_trained(case) and not (asked.trained / case.model).is_dir():
                print(f"{case.name}: skipped, {asked.trained} holds no such model")
                continue
            with tempfile.TemporaryDirectory() as folder:
                measured = measure(case, Path(folder), asked.trained)
            differences = list(changes(case.name, kept.get(case.name, {}), measured))
            print(f"{case.name}: {len(differences)} changes", file=sys.stderr, flush=True)
            found += differences
            fresh[case.name] = measured
            if asked.update and fresh != {key: kept[key] for key in kept if key != "versions"}:
                write(name, fresh)
        if chosen and not asked.update and kept.get("versions") != versions():
            print(f"{name}: measured with other versions: {kept.get('versions')}")
    print(table(found) or "no golden number changed")
    return 1 if found and not asked.update else 0


def _is_trained(case: Case) -> bool:
    return isinstance(case, Compiled) and case.model in TRAINED


def _is_chosen(case: Case, parts: list[str], *, everything: bool) -> bool:
    if parts:
        return any(part in case.name for part in parts)
    return everything or case in QUICK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
