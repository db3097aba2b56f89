"""When a quantized model is good enough to be taken without asking.

| what is measured | needed |
|---|---|
| noise below what differs from sample to sample | :data:`LEAST_VARYING_DB` |
| SQNR, where the top class agrees at less than :data:`LEAST_AGREEMENT` of the positions | \
:data:`LEAST_DB` |
| agreement of the top class, at any SQNR | :data:`LEAST_AGREEMENT_ALWAYS` |
| equal integers, of outputs that hold integers | :data:`LEAST_AGREEMENT` |

Classes of which the float model is not sure change places under little noise, and cost nothing: so
a high SQNR makes up for some agreement, and agreement for some SQNR. Agreement counts from
:data:`LEAST_POSITIONS` positions on. An output behind a selection is good enough where what the
selection reads is. ``docs/quantization.md`` says which networks the numbers were
chosen on and how others fare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from compiler_core.quantize.ladder_record import Quality
from compiler_core.quantize.quality import OutputQuality

LEAST_VARYING_DB = 15.0
LEAST_DB = 20.0
LEAST_AGREEMENT = 0.95
LEAST_AGREEMENT_ALWAYS = 0.8
LEAST_POSITIONS = 20
_RUIN = 10.0
_MOST_STEADY_DB = 20 * math.log10(256)
_ROUNDING = 1e-9


def shortfall(found: OutputQuality) -> float:
    """How far an output is from good enough, in dB and percent of agreement; 0 for enough."""
    judged = judged_by(found)
    if judged is not found:
        return shortfall(judged)
    agreement = _counted_agreement(found)
    lacking = _percent(LEAST_AGREEMENT, agreement)
    if found.exact:
        return lacking
    noisy = max(0.0, LEAST_DB - found.sqnr_db)
    total = noisy if agreement is None else min(lacking, noisy)
    total += _percent(LEAST_AGREEMENT_ALWAYS, agreement)
    if found.varying_db is not None:
        total += max(0.0, LEAST_VARYING_DB - found.varying_db)
    return total


def judged_by(found: OutputQuality) -> OutputQuality:
    """What an output is judged by: of one behind a selection the worst tensor that the selection
    reads, unless the output itself falls short by less."""
    if not found.before:
        return found
    alone, before = replace(found, before=()), max(found.before, key=shortfall)
    return before if shortfall(before) < shortfall(alone) else alone


def excess(found: OutputQuality) -> float:
    """Noise of an output over what is allowed, whatever agrees; 1 for just enough. It adds up over
    the operators that make it, as long as it is small."""
    if found.before:
        return min(excess(replace(found, before=())), max(map(excess, found.before)))
    if found.exact:
        return (1 - (1.0 if found.agreement is None else found.agreement)) / (1 - LEAST_AGREEMENT)
    margin = found.sqnr_db - LEAST_DB
    if found.varying_db is not None:
        margin = min(margin, found.varying_db - LEAST_VARYING_DB)
    return float(10 ** (-margin / 10))


def is_ruin(outputs: Sequence[OutputQuality]) -> bool:
    """Whether a network says nothing any more: more than ten times the noise that is allowed, and
    more than 10 short of good enough.

    What differs between samples by less than a 256th of an output does not count: 8 bits cannot
    tell it apart, whatever stays in float before them.
    """
    seen = [_resolved(item) for item in outputs]
    noise, short = (max(map(by, seen), default=0.0) for by in (excess, shortfall))
    return short > _RUIN and noise > _RUIN


def _resolved(found: OutputQuality) -> OutputQuality:
    before = tuple(map(_resolved, found.before))
    if found.varying_db is not None and found.sqnr_db - found.varying_db > _MOST_STEADY_DB:
        return replace(found, varying_db=None, before=before)
    return replace(found, before=before)


def _counted_agreement(found: OutputQuality) -> float | None:
    """Agreement, where there are enough positions to believe it; integers are equal or not."""
    counts = found.exact or found.positions >= LEAST_POSITIONS
    return found.agreement if counts else None


def _percent(needed: float, agreement: float | None) -> float:
    return 0.0 if agreement is None else 100 * max(0.0, needed - _ROUNDING - agreement)


def worst(outputs: Sequence[OutputQuality]) -> Quality | None:
    """The output furthest from good enough, of equal ones the noisiest; ``None`` for none."""
    if not outputs:
        return None
    judged = [judged_by(item) for item in outputs]
    found = min(judged, key=lambda item: (-shortfall(item), item.sqnr_db))
    agreement = None if found.agreement is None else round(found.agreement, 4)
    return Quality(found.output, round(found.sqnr_db, 2), found.samples, agreement)


def reason_against(outputs: Sequence[OutputQuality]) -> str:
    """Why the worst output is not good enough; empty where all are."""
    found = max(map(judged_by, outputs), key=shortfall, default=None)
    if found is None or shortfall(found) == 0:
        return ""
    parts = []
    if not found.exact:
        parts.append(f"SQNR {found.sqnr_db:.1f} dB")
        if found.varying_db is not None:
            parts.append(f"{found.varying_db:.1f} dB of what differs between samples")
    if found.agreement is not None:
        what = "equal values" if found.exact else "agreement"
        parts.append(f"{what} {found.agreement:.3f}")
    return f"output {found.output!r} has {', '.join(parts)}"
