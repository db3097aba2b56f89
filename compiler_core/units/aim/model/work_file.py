"""Operators of a segment as plain values, and back; what is read is not trusted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import Any, Final

from compiler_core.errors import InputError
from compiler_core.files.plain import from_plain
from compiler_core.units.aim.model.segment import Placed
from compiler_core.units.aim.model.work import (
    CacheWork,
    CellWork,
    DenseWork,
    ElementWork,
    ViewWork,
    Work,
)
from compiler_core.units.aim.operators.caches import misfit
from compiler_core.units.aim.operators.recurrent import CELLS, MOST_STEPS, part_workloads
from compiler_core.units.aim.schedule.workload import ElementProduct, MatrixVector
from compiler_core.units.facets.parts import SegmentEntry

_KINDS: Final[dict[str, type[Work]]] = {
    "dense": DenseWork,
    "cell": CellWork,
    "cache": CacheWork,
    "elements": ElementWork,
    "view": ViewWork,
}
_MOST_LAUNCHES: Final = 1 << 16


def kind_of(work: Work) -> str:
    """Its name in files."""
    return next(name for name, kind in _KINDS.items() if isinstance(work, kind))


def read_work(
    told: Any, products: Sequence[Placed], entry: SegmentEntry, where: str
) -> tuple[Work, ...]:
    """Operators that use all products, each once, and compute what leaves the segment.

    Raises:
        InputError: They do not.
    """
    most = len(products) + len(entry.outputs)
    if not isinstance(told, list) or len(told) > most:
        raise InputError(f"{where}: work is no list of at most {most} operators")
    found, known, launches = [], set(entry.inputs), 0
    sizes: dict[str, int] = {}
    for number, item in enumerate(told):
        at = f"{where}: work[{number}]"
        work = _work(item, at)
        _require_fit(work, products, at)
        for name in work.inputs:
            if name not in known:
                raise InputError(f"{at}: reads {name!r}, which nobody computes")
        if isinstance(work, ViewWork) and prod(work.shape) != sizes.get(work.input):
            raise InputError(f"{at}: shape {work.shape} of {work.input!r}, which has another size")
        known |= {*work.outputs}
        sizes |= {name: prod(shape) for name, shape in work.shapes.items()}
        launches += sum(1 for _ in work.launched())
        if launches > _MOST_LAUNCHES:
            raise InputError(f"{at}: more than {_MOST_LAUNCHES} launches")
        found.append(work)
    if [number for work in found for number in work.products] != list(range(len(products))):
        raise InputError(f"{where}: work does not use each of {len(products)} products once")
    missing = [name for name in entry.outputs if name not in known]
    if missing:
        raise InputError(f"{where}: nobody computes {missing[0]!r}")
    return tuple(found)


def _work(item: Any, where: str) -> Work:
    kind = _KINDS.get(str(item.get("kind"))) if isinstance(item, dict) else None
    if kind is None:
        raise InputError(f"{where}: kind is none of {', '.join(_KINDS)}")
    return from_plain(kind, {k: v for k, v in item.items() if k != "kind"}, where)


def _require_fit(work: Work, products: Sequence[Placed], where: str) -> None:
    if any(not 0 <= number < len(products) for number in work.products):
        raise InputError(f"{where}: products {work.products}; {len(products)} are there")
    if isinstance(work, ViewWork):
        return
    every = [products[number].layout.workload for number in work.products]
    if isinstance(work, ElementWork):
        if every != [ElementProduct(prod(work.shape), crosses=True)]:
            raise InputError(f"{where}: {every[0].shape} elements for tensors of {work.shape}")
        return
    own = [workload for workload in every if isinstance(workload, MatrixVector)]
    if len(own) != len(every):
        raise InputError(f"{where}: a product of elements, which it does not take")
    if isinstance(work, CacheWork):
        shapes = work.vectors_shape, work.cache_shape, work.new_shape, work.places_shape
        reason = misfit(work.update, work.axis, work.order, *shapes)
        if reason is None and bool(work.places) != bool(work.places_shape):
            reason = "where new rows go is not told whole"
        if reason is None and work.workload != own[0]:
            reason = f"a product {own[0].shape} for a cache that takes {work.workload.shape}"
        if reason is not None:
            raise InputError(f"{where}: {reason}")
        return
    if isinstance(work, DenseWork):
        w = own[0]
        if not w.adds == bool(work.added) == bool(work.sum):
            raise InputError(f"{where}: what is added to its results is not told whole")
        sizes = (work.input_shape, w.inputs), (work.output_shape, w.outputs)
        for shape, features in sizes:
            fits = bool(shape) and min(shape) >= 1 and shape[-1] == features
            if not fits or prod(shape) != w.vectors * features:
                raise InputError(f"{where}: tensors of shape {shape} for {w.shape}")
        return
    for reason in _misfits(work):
        raise InputError(f"{where}: {reason}")
    wanted = [*part_workloads(work.shape)] * len(work.shape.backward)
    if len(own) != len(wanted):
        raise InputError(f"{where}: {len(own)} products; {len(wanted)} are needed")
    for w, extents in zip(own, wanted, strict=True):
        if (w.outputs, w.inputs, w.vectors) != (*extents, work.shape.batch):
            raise InputError(f"{where}: a product {w.shape} for a part of {extents}")


def _misfits(work: CellWork) -> Iterator[str]:
    s = work.shape
    if s.operator not in CELLS:
        yield f"operator {s.operator!r}; {', '.join(CELLS)} are there"
    elif min(s.steps, s.batch, s.inputs, s.size) < 1 or s.steps > MOST_STEPS:
        yield f"{s.steps} steps of {s.batch} times {s.inputs} to {s.size}; at most {MOST_STEPS}"
    elif not 1 <= len(s.backward) <= 2:
        yield f"{len(s.backward)} directions; 1 or 2 are there"
    elif s.after_reset and not CELLS[s.operator].resets_after:
        yield f"{s.operator} has no reset gate"
    elif (work.cell or work.last_cell) and not CELLS[s.operator].keeps_cell:
        yield f"{s.operator} has no cell beside its state"
