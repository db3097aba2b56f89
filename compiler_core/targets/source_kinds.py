"""Who generates sources for a target: the kind of unit that it comes with, or that its file names.

Several kinds may write sources, each for targets of its own.
"""

from __future__ import annotations

from pathlib import Path

from compiler_core.errors import InputError
from compiler_core.targets.cpu_kinds import cpu_kind
from compiler_core.targets.lineage import raw_lineage
from compiler_core.targets.schema import RUNTIME_CPU, TARGET_SCHEMA
from compiler_core.units.facets.bundles import bundle_kinds, bundle_targets
from compiler_core.units.facets.candidates import Candidates
from compiler_core.units.facets.source_tasks import SourceTasks
from compiler_core.units.unit import UnitKind


def source_kind(target: str | Path) -> UnitKind | None:
    """The kind that writes whole models as sources for a target; ``None`` where none does.

    Args:
        target: Name, or path of a ``.toml`` file.

    Raises:
        InputError: A file names a kind of CPU that there is not, or another than what it inherits.
    """
    text = str(target)
    if not (isinstance(target, Path) or text.endswith(".toml")):
        return next((kind for kind, own in bundle_kinds() if text in own.targets()), None)
    files = raw_lineage(Path(target))
    schema = files[0].table.get("schema") if files else None
    if schema not in (None, TARGET_SCHEMA):
        return next((kind for kind, own in bundle_kinds() if schema in own.schemas), None)
    named = cpu_kind(Path(target))
    if named == RUNTIME_CPU:
        return None
    return next(kind for kind, own in bundle_kinds() if own.cpu_kind == named)


def generates_sources(target: str | Path) -> bool:
    """Whether whole models are written as sources for a target; raises as :func:`source_kind`."""
    return source_kind(target) is not None


def require_source_kind(target: str | Path) -> UnitKind:
    """The kind that writes sources for a target.

    Raises:
        InputError: None does, or as :func:`source_kind`.
    """
    found = source_kind(target)
    if found is None:
        raise InputError(
            f"no sources are written for target {str(target)!r}; known are "
            f"{', '.join(bundle_targets())}",
            hint="nest-tune target list",
        )
    return found


def candidates_for(target: str | Path) -> Candidates:
    """Who searches sources for a target.

    Raises:
        InputError: The kind does not, or as :func:`require_source_kind`.
    """
    found: Candidates = require_source_kind(target).facet("candidates", Candidates)
    return found


def source_tasks_for(target: str | Path) -> SourceTasks:
    """Who has kernels to tune for a target.

    Raises:
        InputError: The kind has none, or as :func:`require_source_kind`.
    """
    found: SourceTasks = require_source_kind(target).facet("source_tasks", SourceTasks)
    return found
