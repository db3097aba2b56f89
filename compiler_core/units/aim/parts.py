"""Segments as files of a package, and back: the facet
:class:`~compiler_core.units.facets.parts.Parts`.

``aim.json`` says what is computed and how; ``banks.bin`` holds matrices and biases one after
another; ``product-000.bin`` and so on the programs of a product as records of the file form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from compiler_core.errors import InfeasibleError, InputError
from compiler_core.files.json_file import json_bytes, parse_json
from compiler_core.files.plain import from_plain, to_plain
from compiler_core.tensor.task import Task
from compiler_core.units.aim.documents import DOCUMENTS
from compiler_core.units.aim.lower.elements import ElementLaunch
from compiler_core.units.aim.lower.programs import located, programs_of
from compiler_core.units.aim.machine.machine import AimMachine
from compiler_core.units.aim.model.layers import operators_of
from compiler_core.units.aim.model.segment import (
    AimLaunch,
    AimSegment,
    Placed,
    PlacedElements,
    PlacedProduct,
)
from compiler_core.units.aim.model.work_file import kind_of, read_work
from compiler_core.units.aim.program.text import format_text
from compiler_core.units.facets.parts import SegmentEntry

_SCHEMA = "nest-tune/aim-segment/2"
_DOCUMENT, _BANKS = "aim.json", "banks.bin"
_MOST_PRODUCTS = 1 << 14


@dataclass(frozen=True)
class _Product:
    """A product in ``aim.json``."""

    name: str
    first_row: int
    core: int


class AimParts:
    """See :class:`~compiler_core.units.facets.parts.Parts`."""

    def files(self, segment: AimSegment) -> dict[str, bytes]:
        of_layout = {launch.layout: launch for launch in segment.launches}
        told, programs = [], {}
        for number, product in enumerate(segment.products):
            launch = of_layout[product.layout]
            programs[_program_file(number)] = launch.code
            told.append(
                {
                    **to_plain(_Product(product.name, product.layout.first_row, launch.core)),
                    "workload": to_plain(product.layout.workload),
                    "schedule": to_plain(product.layout.schedule),
                }
            )
        work = [{"kind": kind_of(own), **to_plain(own)} for own in segment.work]
        return {
            _DOCUMENT: json_bytes(_SCHEMA, {"products": told, "work": work}),
            _BANKS: segment.constants,
            **programs,
        }

    def read(self, entry: SegmentEntry, files: Mapping[str, bytes], where: str) -> AimSegment:
        machine = entry.units.machine
        place = f"{where}/{_DOCUMENT}"
        document = parse_json(files[_DOCUMENT], _SCHEMA, place)
        told = document.get("products")
        if not isinstance(told, list) or not 0 < len(told) <= _MOST_PRODUCTS:
            raise InputError(f"{place}: products is no list of 1 to {_MOST_PRODUCTS}")
        banks, offset, row = files[_BANKS], 0, 0
        products, made = [], []
        for number, item in enumerate(told):
            at = f"{place}: products[{number}]"
            product, core, offset = _product(item, machine, banks, offset, at)
            if not 0 <= core < entry.units.count:
                raise InputError(f"{at}: core {core}; {entry.units.count} are there")
            made.append(_launch(number, product, core, machine, files, at))
            if product.layout.first_row < row:
                raise InputError(f"{at}: rows from {product.layout.first_row}; {row} are taken")
            row = product.layout.first_row + product.layout.rows
            products.append(product)
        if offset != len(banks):
            raise InputError(f"{where}/{_BANKS}: {len(banks)} bytes; {offset} belong to products")
        work = read_work(document.get("work"), products, entry, place)
        found: list[AimLaunch] = []
        for own in work:
            for operator, number in zip(operators_of(own), own.launched(), strict=True):
                found.append(
                    replace(
                        made[number],
                        name=f"launch-{len(found):03d}",
                        layer=operator.name,
                        sources=operator.sources,
                    )
                )
        return AimSegment(
            entry.name, entry.inputs, entry.outputs, tuple(products), work, tuple(found)
        )

    def tensors(self, segment: AimSegment) -> Iterator[str]:
        for product in segment.products:
            layout = product.layout
            rows = f"rows {layout.first_row} to {layout.first_row + layout.rows - 1}"
            if isinstance(layout, ElementLaunch):
                yield f"elements {product.name}: {rows} of {layout.schedule.channels} channels"
            else:
                yield f"matrix {product.name}: {rows} of {layout.mapping.used} channels"

    def commands(self, segment: AimSegment, launch: AimLaunch) -> Iterator[str]:
        for number, program in enumerate(launch.programs):
            part = f" part {number}" if len(launch.programs) > 1 else ""
            yield f"# {segment.name} {launch.name} {launch.layer}{part}"
            yield from format_text(program.records)


PARTS = AimParts()


def _product(
    item: Any, machine: AimMachine, banks: bytes, offset: int, where: str
) -> tuple[Placed, int, int]:
    """A product, the core that it runs on, and where its numbers end in the file."""
    if not isinstance(item, dict):
        raise InputError(f"{where}: no table of keys")
    plain = {key: value for key, value in item.items() if key not in ("workload", "schedule")}
    found = from_plain(_Product, plain, where)
    workload = DOCUMENTS.workload(item.get("workload"), f"{where}.workload", bounded=True)
    schedule = DOCUMENTS.schedule(item.get("schedule"), f"{where}.schedule")
    if not 0 <= found.first_row < machine.rows:
        raise InputError(f"{where}: first_row {found.first_row}; {machine.rows} rows are there")
    try:
        layout = located(workload, schedule, found.first_row)
    except TypeError as error:
        raise InputError(f"{where}: {error}") from error
    if isinstance(layout, ElementLaunch):
        return PlacedElements(found.name, layout), found.core, offset
    work = layout.workload
    if work.heads != 1 and not work.is_written:
        raise InputError(f"{where}: {work.heads} matrices; those that are stored are single")
    if work.is_written:
        zero, shape = np.zeros(1, np.uint16), (work.heads, work.outputs)
        matrix = np.broadcast_to(zero, (*shape, work.inputs))
        product = PlacedProduct(found.name, layout, matrix, np.zeros(shape, np.uint16))
        return product, found.core, offset
    count = work.outputs * work.inputs
    end = offset + 2 * (count + work.outputs)
    if end > len(banks):
        raise InputError(f"{where}: banks.bin ends at {len(banks)}; numbers up to {end} are needed")
    numbers = np.frombuffer(banks[offset:end], "<u2")
    product = PlacedProduct(
        found.name,
        layout,
        numbers[:count].reshape(1, work.outputs, work.inputs),
        numbers[count:].reshape(1, work.outputs),
    )
    return product, found.core, end


def _launch(
    number: int,
    product: Placed,
    core: int,
    machine: AimMachine,
    files: Mapping[str, bytes],
    where: str,
) -> AimLaunch:
    """The programs of a product, which have to be those of its schedule."""
    name, layout = _program_file(number), product.layout
    try:
        programs = programs_of(layout, machine)
    except InfeasibleError as error:
        raise InputError(f"{where}: {error.message}") from error
    if layout.first_row + layout.rows > machine.rows:
        raise InputError(f"{where}: its rows end behind the last of {machine.rows}")
    task = Task(machine.kind, layout.workload).id
    launch = AimLaunch("", product.name, (product.name,), task, layout, programs, core)
    if files[name] != launch.code:
        raise InputError(
            f"{where}: {name} is not the program of its schedule",
            hint="compile the package again with this version",
        )
    return launch


def _program_file(number: int) -> str:
    """Of a product, by its number in the segment."""
    return f"product-{number:03d}.bin"
