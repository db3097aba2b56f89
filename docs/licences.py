"""Writes ``licences.md``: the licence of every distribution that requirements-all.lock names.

Licences are what the installed distributions say of themselves, by the expression of their core
metadata, else by their classifiers, else by their licence field. ``make licences`` runs it where
the lock is installed.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "licences.md"
_PIN = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s;\\]+)(?:\s*;\s*([^\\\n]*))?", re.MULTILINE)

ELSEWHERE = {
    "appnope": "BSD-2-Clause",
    "cffi": "MIT-0",
    "colorama": "BSD",
    "pycparser": "BSD-3-Clause",
    "xgboost": "Apache-2.0",
}
"""Licences of what is only installed on other systems or interpreters than CPython on Linux."""

_SHORT = (
    (r"apache (software )?licen[cs]e|^apache 2\.0$", "Apache-2.0"),
    (r"^mit licen[cs]e$", "MIT"),
    (r"^(new |the )?bsd licen[cs]e$|^bsd$", "BSD"),
    (r"bsd 3-clause|3-clause bsd", "BSD-3-Clause"),
    (r"^isc licen[cs]e", "ISC"),
    (r"python software foundation", "PSF-2.0"),
    (r"^mozilla public licen[cs]e 2.0.*", "MPL-2.0"),
)


def pins(lock: str) -> dict[str, tuple[str, str]]:
    """Version and marker of every distribution of a lock, by its normalized name."""
    return {
        re.sub(r"[-_.]+", "-", name).lower(): (version, (marker or "").strip())
        for name, version, marker in _PIN.findall(lock)
    }


def licence_of(name: str) -> str | None:
    """What an installed distribution says of itself; ``None`` where it is not installed."""
    try:
        found = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return ELSEWHERE.get(name)
    if expression := found.get("License-Expression"):
        return expression
    classifiers = found.get_all("Classifier") or []
    named = [c.rpartition(" :: ")[2] for c in classifiers if c.startswith("License :: ")]
    named = [c for c in named if c != "OSI Approved"] or [(found.get("License") or "").strip()]
    return " or ".join(short(text.partition("\n")[0]) for text in named if text) or None


def short(text: str) -> str:
    """The SPDX name of a licence, where it is a common one."""
    for pattern, name in _SHORT:
        if re.search(pattern, text, re.IGNORECASE):
            return name
    return text


def page(base: str, whole: str) -> str:
    """The page.

    Args:
        base: Text of requirements.lock.
        whole: Text of requirements-all.lock.
    """
    always, rows = pins(base), []
    for name, (version, marker) in sorted(pins(whole).items()):
        licence = licence_of(name)
        if licence is None:
            sys.exit(f"error: the licence of {name} {version} is not known: install the lock")
        where = f"`{marker}`" if marker else ""
        mark = "yes" if name in always else ""
        rows.append(f"| {name} | {version} | {licence} | {mark} | {where} |")
    return "\n".join(
        [
            "# Licences of dependencies",
            "",
            "nest-tune itself is under Apache-2.0. It contains no other project's code; what it is"
            " installed with, by",
            "`requirements-all.lock`, is under these licences, as the distributions say of"
            " themselves. *Always* marks what",
            "every installation has (`requirements.lock`), the build backend included; the rest"
            " belongs to extras and to",
            "development. The page is written by `make licences`.",
            "",
            "| distribution | version | licence | always | only where |",
            "|---|---|---|---|---|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    locks = [(ROOT / name).read_text() for name in ("requirements.lock", "requirements-all.lock")]
    PAGE.write_text(page(*locks))
    print(f"{PAGE.relative_to(ROOT)}: {len(pins(locks[1]))} distributions")
