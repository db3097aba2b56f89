"""Plans: which unit runs which nodes, as people write them and as TOML.

```toml
schema = "nest-tune/plan/1"
default = "free"                  # for whatever is not named: free (the default), cpu, vta
order = ["conv1", "conv2"]        # optional: priority where several wait for a unit

[units]                           # a node, or a fused group by one of its nodes
conv1 = "vta"
softmax = "cpu"
conv3 = "vta1"                    # a core of its own, where there are several

[[segment]]                       # optional: nodes that run as a whole, between two cuts
unit = "vta"
nodes = ["conv4", "conv5"]
```
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from compiler_core.configuration.configuration import Subject
from compiler_core.errors import InputError
from compiler_core.files.plain import from_plain
from compiler_core.files.toml_file import read_toml, toml_key, toml_string
from compiler_core.tensor.digest import digest

PLAN_SCHEMA = "nest-tune/plan/1"
FREE = "free"
"""Unit of a node that may run anywhere."""


@dataclass(frozen=True)
class PlanSegment:
    """Nodes that run as a whole: all of them after what they read, before what reads them."""

    unit: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """A plan, complete or not.

    Attributes:
        units: Unit per node name.
        default: Unit of the nodes that are not named.
        order: Names of nodes, those of highest priority first; empty for the default order.
        segments: Nodes between two cuts.
        model, target: What it was made for; no digest fits every one.
    """

    units: Mapping[str, str] = field(default_factory=dict)
    default: str = FREE
    order: tuple[str, ...] = ()
    segments: tuple[PlanSegment, ...] = ()
    model: Subject = field(default_factory=Subject)
    target: Subject = field(default_factory=Subject)

    @property
    def digest(self) -> str:
        """Of the decisions: equal for plans that say the same."""
        segments = [(part.unit, tuple(part.nodes)) for part in self.segments]
        return digest((dict(sorted(self.units.items())), self.default, self.order, segments))


@dataclass(frozen=True)
class _Document:
    schema: str
    digest: str = ""
    default: str = FREE
    order: tuple[str, ...] = ()
    units: Mapping[str, str] = field(default_factory=dict)
    segment: tuple[PlanSegment, ...] = ()
    model: Subject = field(default_factory=Subject)
    target: Subject = field(default_factory=Subject)


def read_plan(path: Path) -> Plan:
    """Reads a plan; names are checked when it is resolved against a model.

    Raises:
        InputError: The file cannot be read or is not a plan, or its digest does not fit.
    """
    return read_plan_document(read_toml(path), str(path))


def read_plan_document(document: Any, where: str) -> Plan:
    """A plan from plain values; see :func:`read_plan`."""
    schema = document.get("schema") if isinstance(document, dict) else None
    if schema != PLAN_SCHEMA:
        raise InputError(f"{where}: schema {schema!r}; {PLAN_SCHEMA!r} is needed")
    found = from_plain(_Document, document, where)
    plan = Plan(found.units, found.default, found.order, found.segment, found.model, found.target)
    if found.digest and found.digest != plan.digest:
        raise InputError(
            f"{where}: digest {found.digest!r}; the plan below it has {plan.digest!r}",
            hint="remove the line if the plan was changed on purpose",
        )
    return plan


def plan_text(plan: Plan) -> str:
    """A plan as TOML."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    yield f"schema = {toml_string(PLAN_SCHEMA)}"
    yield f"digest = {toml_string(plan.digest)}"
    yield f"default = {toml_string(plan.default)}"
    if plan.order:
        yield "order = ["
        for name in plan.order:
            yield f"    {toml_string(name)},"
        yield "]"
    for title, subject in (("model", plan.model), ("target", plan.target)):
        if subject.name or subject.digest:
            yield ""
            yield f"[{title}]"
            yield f"name = {toml_string(subject.name)}"
            yield f"digest = {toml_string(subject.digest)}"
    yield ""
    yield "[units]"
    for name, unit in plan.units.items():
        yield f"{toml_key(name)} = {toml_string(unit)}"
    for part in plan.segments:
        yield ""
        yield "[[segment]]"
        yield f"unit = {toml_string(part.unit)}"
        yield f"nodes = [{', '.join(map(toml_string, part.nodes))}]"
