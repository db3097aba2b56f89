"""Measured CPU costs: a CSV table of operators, from this machine or from a user's own board.

Columns, in this order, with a header line:

| column | meaning |
|---|---|
| ``operator`` | ONNX operator type |
| ``signature`` | shapes and attributes, as :func:`operator_signature` writes them: the key |
| ``count`` | nodes of the profiled model with that signature |
| ``median_us`` | median time of one execution in microseconds |
| ``low_us``, ``high_us`` | quartiles of the repeats |
| ``repeats`` | executions measured |
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from dataclasses import astuple, fields
from difflib import get_close_matches
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np

from compiler_core.errors import InputError
from compiler_core.files.small_file import read_small_file
from compiler_core.graph.ir import Graph, Node
from compiler_core.graph.macs import element_operations, float_macs
from compiler_core.quantize.ir import HostGroup
from compiler_core.targets.target import Cpu, CpuRow, CpuTable, Target
from compiler_core.units.cpu.cost import conversion_cost, node_cost
from compiler_core.units.facets.host import Cost, NodeCosts

_BYTES_MAX = 16 << 20
_SECONDS_MAX = 1e4
_PROBLEMS_SHOWN = 3


COLUMNS = tuple(field.name for field in fields(CpuRow))


def operator_signature(graph: Graph, node: Node) -> str:
    """Key of a node's cost: operator, shapes, attributes, and whether a clamp is fused.

    Example: ``Conv 1x3x8x8,16x3x3x3,16 -> 1x16x8x8 kernel_shape=3x3 pads=1x1x1x1 strides=1x1``.
    """
    text = f"{node.op} {_shapes(graph, node.inputs)} -> {_shapes(graph, node.outputs)}"
    for key, value in sorted(node.attributes.items()):
        text += f" {key}={_attribute(value)}"
    return text + (" clip" if node.clip is not None else "")


def group_signature(graph: Graph, group: HostGroup) -> str:
    """Key of the cost of operators that are one loop on integers: ``int8`` and each of theirs.

    Example: ``int8 HardSwish 1x16x8x8 -> 1x16x8x8``.
    """
    members = graph.named(group.nodes)
    return "int8 " + "; ".join(operator_signature(graph, node) for node in members)


def _shapes(graph: Graph, tensors: Sequence[str]) -> str:
    found = []
    for tensor in tensors:
        known = graph.types.get(tensor)
        shape = known.shape if known is not None else None
        sizes = "?" if shape is None else "x".join(str(size or 1) for size in shape) or "scalar"
        width = "" if known is None or known.dtype == "float32" else f":{known.dtype}"
        found.append(f"{sizes if tensor else '-'}{width}")
    return ",".join(found)


def _attribute(value: Any) -> str:
    if isinstance(value, tuple | list):
        return "x".join(_attribute(member) for member in value)
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, np.ndarray):
        return hashlib.sha256(np.ascontiguousarray(value).tobytes()).hexdigest()[:8]
    return "".join(c if c.isprintable() else "?" for c in str(value))


def write_cpu_table(rows: Iterable[CpuRow]) -> bytes:
    """The table as CSV, sorted by signature."""
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in sorted(rows, key=lambda item: item.signature):
        writer.writerow(
            f"{value:.3f}" if isinstance(value, float) else value for value in astuple(row)
        )
    return stream.getvalue().encode()


def read_cpu_table(path: Path) -> CpuTable:
    """Reads a table.

    Raises:
        InputError: The file cannot be read, a column or value is wrong, or a signature is there
            twice.
    """
    return parse_cpu_table(read_small_file(path, _BYTES_MAX), path.name)


def parse_cpu_table(content: bytes, where: str) -> CpuTable:
    """Parses the bytes of a table; see :func:`read_cpu_table`."""
    try:
        lines = list(csv.reader(io.StringIO(content.decode("utf-8"), newline=""), strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{where}: not a CSV file: {error}") from error
    if not lines or tuple(lines[0]) != COLUMNS:
        seen = ",".join(lines[0])[:100] if lines else "nothing"
        raise InputError(f"{where}: line 1: columns {seen}; needed are {','.join(COLUMNS)}")
    rows: dict[str, CpuRow] = {}
    for number, line in enumerate(lines[1:], 2):
        if not line:
            continue
        row = _row(line, f"{where}: line {number}")
        if row.signature in rows:
            raise InputError(f"{where}: line {number}: signature {row.signature!r} is there twice")
        rows[row.signature] = row
    return CpuTable(where, rows, hashlib.sha256(content).hexdigest())


def _row(line: list[str], where: str) -> CpuRow:
    if len(line) != len(COLUMNS):
        raise InputError(f"{where}: {len(line)} values; {len(COLUMNS)} are needed")
    values: dict[str, Any] = dict(zip(COLUMNS, line, strict=True))
    for column in ("operator", "signature"):
        if not values[column]:
            raise InputError(f"{where}: {column} is empty")
    for column in ("count", "repeats"):
        if not values[column].isascii() or not values[column].isdigit():
            raise InputError(f"{where}: {column} = {values[column]!r}; a count is needed")
        values[column] = int(values[column][:9])
    for column in ("median_us", "low_us", "high_us"):
        text = values[column]
        try:
            values[column] = float(text)
        except ValueError:
            values[column] = -1.0
        if not isfinite(values[column]) or not 0 <= values[column] <= _SECONDS_MAX * 1e6:
            raise InputError(
                f"{where}: {column} = {text!r}; a time in microseconds, not negative, is needed"
            )
    if not values["low_us"] <= values["median_us"] <= values["high_us"]:
        raise InputError(
            f"{where}: low_us, median_us, high_us = {line[4]}, {line[3]}, {line[5]}; "
            "the median has to lie between the quartiles"
        )
    return CpuRow(**values)


def analytic_costs(cpu: Cpu) -> NodeCosts:
    """Costs by the target's rates."""
    return partial(node_cost, cpu)


def target_costs(target: Target, graph: Graph) -> NodeCosts:
    """Costs by the table that the target names, else by its rates.

    Raises:
        InputError: An operator of ``graph`` is missing in the table.
    """
    if target.cpu_table is None:
        return analytic_costs(target.cpu)
    return table_costs(target.cpu, target.cpu_table, graph)


def table_costs(cpu: Cpu, table: CpuTable, graph: Graph) -> NodeCosts:
    """Measured times with the target's energies.

    What ``graph`` does not have, because a quantization wrote an operator in another way, is costed
    by the rates.

    Raises:
        InputError: An operator of ``graph`` is missing in the table.
    """
    missing = {
        signature: node
        for node in graph.nodes
        if (signature := operator_signature(graph, node)) not in table.rows
    }
    if missing:
        signature = next(iter(missing))
        near = get_close_matches(signature, list(table.rows), 1)
        named = ", ".join(repr(node.name) for node in list(missing.values())[:_PROBLEMS_SHOWN])
        raise InputError(
            f"{table.name}: {len(missing)} operators of the model are missing (nodes {named}"
            f"{', …' if len(missing) > _PROBLEMS_SHOWN else ''}); the first is {signature!r}"
            + (f"; the nearest row is {near[0]!r}" if near else ""),
            hint="nest-tune profile-cpu MODEL -o cpu.csv measures every operator of a model",
        )

    def cost(within: Graph, node: Node) -> Cost:
        row = table.rows.get(operator_signature(within, node))
        if row is None:
            return node_cost(cpu, within, node)
        macs = float_macs(within, node)
        operations = macs + element_operations(within, node)
        energy = operations * cpu.operation_overhead_pj + macs * cpu.float_multiply_add_pj
        return Cost(row.median_us * 1e-6, energy)

    return cost


class CpuCosts:
    """See :class:`~compiler_core.units.facets.host.HostCosts`."""

    def of_target(self, target: Target, graph: Graph) -> NodeCosts:
        return target_costs(target, graph)

    def conversion(self, cpu: Cpu, values: int, bytes_moved: int) -> Cost:
        return conversion_cost(cpu, values, bytes_moved)

    def read_table(self, path: Path) -> CpuTable:
        return read_cpu_table(path)

    def write_table(self, rows: Iterable[CpuRow]) -> bytes:
        return write_cpu_table(rows)


COSTS = CpuCosts()
