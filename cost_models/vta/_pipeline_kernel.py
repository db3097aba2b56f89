"""The compiled walk of :mod:`cost_models.vta.pipeline`: four actors, tile step by tile step.

What is exact in the timing simulator is coarse here: instructions of one kind in a step are one
piece of work, the port is a single resource in program order, bursts are counted and not placed.
Micro-ops that are loaded on demand wait for the bursts that are under way.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler_core.kernels import njit
from compiler_core.units.vta.lower.slots import MOST_LOADS

OUTPUTS = 16
"""Columns of the result, as named in :class:`cost_models.vta.pipeline.Prediction`."""

STAMPS = 1 << 18


@njit(cache=True, inline="always")
def _bursts(rows: int, row_bytes: int, boundary: int) -> float:
    """Expected bursts of a transfer: rows are cut at multiples of ``boundary`` bytes."""
    return rows * (1.0 + (row_bytes - 1) / boundary) if row_bytes > 16 else float(rows)


@njit(cache=True, inline="always")
def _table_length(a: int, b: int, c: int, d: int, e: int, f: int) -> int:
    """Micro-ops of one instruction: the two longest axes become loops."""
    first = max(a, b, c, d, e, f)
    product = a * b * c * d * e * f
    second = 1
    seen = False
    for axis in (a, b, c, d, e, f):
        if axis == first and not seen:
            seen = True
        elif axis > second:
            second = axis
    return product // (first * second)


@njit(cache=True, inline="always")
def _ahead(length: float, bursts: float, outstanding: float) -> float:
    """How much of a transfer can be before somebody who asks meanwhile: the bursts under way."""
    return length * min(1.0, (outstanding - 0.5) / max(1.0, bursts))


@njit(cache=True, inline="always")
def _rest(
    first: float, second: float, first_ahead: float, second_ahead: float, period: float
) -> float:
    """Expected wait for the one of two transfers, both in each period, that somebody finds on the
    port."""
    both = max(first + second, period)
    if both == 0:
        return 0.0
    rest = first_ahead * (first - 0.5 * first_ahead) + second_ahead * (second - 0.5 * second_ahead)
    return rest / both


@njit(cache=True)
def _assign_slots(
    keys: Any,
    count: int,
    slots: int,
    distinct: int,
    slot_of: Any,
    hit: Any,
    scratch: Any,
    streamed: bool,
) -> int:
    """Replacement as in the lowering, a stream spares its last slot; returns the misses."""
    never = 1 << 60
    if slots >= distinct:
        for key in range(distinct):
            scratch[key] = -1
        used = 0
        for position in range(count):
            key = keys[position]
            hit[position] = scratch[key] >= 0
            if scratch[key] < 0:
                scratch[key] = used
                used += 1
            slot_of[position] = scratch[key]
        return used
    following = scratch
    next_use = np.empty(count, np.int64)
    for key in range(distinct):
        following[key] = never
    for position in range(count - 1, -1, -1):
        next_use[position] = following[keys[position]]
        following[keys[position]] = position
    held = np.full(slots, -1, np.int64)
    held_next = np.full(slots, never, np.int64)
    last = np.full(slots, -1, np.int64)
    misses = 0
    for position in range(count):
        key = keys[position]
        chosen = -1
        for slot in range(slots):
            if held[slot] == key:
                chosen = slot
                break
        hit[position] = chosen >= 0
        if chosen < 0:
            misses += 1
            for slot in range(slots):
                if streamed and slots > 1 and position > 0 and last[slot] == position - 1:
                    continue
                if (
                    chosen < 0
                    or held_next[slot] > held_next[chosen]
                    or (held_next[slot] == held_next[chosen] and last[slot] < last[chosen])
                ):
                    chosen = slot
        held[chosen] = key
        held_next[chosen] = next_use[position]
        last[chosen] = position
        slot_of[position] = chosen
    return misses


@njit(cache=True)
def _assign_weight_slots(
    keys: Any, count: int, slots: int, distinct: int, slot_of: Any, hit: Any, scratch: Any
) -> int:
    """A stream where the lowering's :func:`~compiler_core.units.vta.lower.slots.streams` says so;
    returns the misses."""
    least = _assign_slots(keys, count, slots, distinct, slot_of, hit, scratch, False)
    if slots == 1 or slots >= distinct:
        return least
    streamed_slots, streamed_hits = np.empty_like(slot_of), np.empty_like(hit)
    misses = _assign_slots(
        keys, count, slots, distinct, streamed_slots, streamed_hits, scratch, True
    )
    if misses > MOST_LOADS * least:
        return least
    slot_of[:count] = streamed_slots[:count]
    hit[:count] = streamed_hits[:count]
    return misses


@njit(cache=True)
def walk(rows: Any, w: Any, m: Any, row_axis: Any, column_axis: Any, ranges: Any, out: Any) -> None:
    """Predicts every schedule of one folded workload.

    Args:
        rows: ``int64[n, 13]`` schedules.
        w: ``int64[]`` numbers of the workload, m: ``int64[]`` of the machine, in the order in which
            ``pipeline.py`` packs them.
        row_axis, column_axis: ``int64[tile + 1, tiles, 7]`` per tile size and tile: extent, input
            size, (output, tap) pairs, spans, kind, taps of the largest span, extent of the least.
        ranges: ``int64[out_blocks, 2]`` reduction ranges.
        out: ``float64[n, OUTPUTS]``, the result.
    """
    (
        batch,
        out_height,
        out_width,
        in_height,
        in_width,
        out_blocks,
        reduction,
        taps,
        diagonal,
        uniform,
        bias_extra,
        bias_bits,
        passes,
        residual,
        residual_pass,
    ) = (w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7], w[8], w[9], w[10], w[11], w[12], w[13], w[14])  # noqa: E501  # fmt: skip
    gemm_per, gemm_fixed, reset_per, reset_fixed = m[0], m[1], m[2], m[3]
    alu_per, alu_fixed, tensor_per, tensor_fixed = m[4], m[5], m[6], m[7]
    inp_bytes, wgt_bytes, acc_bytes, uop_bytes = m[8], m[9], m[10], m[11]
    port, boundary = m[12], m[13]
    load_fixed, load_burst, uop_fixed = m[14], m[15], m[16]
    store_element, store_burst = m[17], m[18]
    fetch_batch, fetch_first, uop_depth, max_table = m[19], m[20], m[21], m[22]
    out_bytes, hazard, outstanding = m[23], m[24], m[25]
    kernel_height = w[15]

    stamps = np.zeros(STAMPS, np.int32)
    for number in range(rows.shape[0]):
        th, tw, tob, tib, order = (
            rows[number, 0],
            rows[number, 1],
            rows[number, 2],
            rows[number, 3],
            rows[number, 4],
        )
        input_slots, weight_slots, output_slots = (
            rows[number, 5],
            rows[number, 6],
            rows[number, 7],
        )
        bias, epilogue, micro_ops, merged = (
            rows[number, 8],
            rows[number, 9],
            rows[number, 10],
            rows[number, 12],
        )
        n_rows, n_columns = -(-out_height // th), -(-out_width // tw)
        images, channels = batch * n_rows * n_columns, -(-out_blocks // tob)
        steps = 1 if diagonal else -(-reduction // tib)
        tiles = images * channels
        count = tiles * steps
        in_keys = images * channels if diagonal else images * steps
        extra = bias_extra if bias == 0 else 0

        # Slots of all steps; keys are dense. Grouped convolutions read each range once.
        input_key = np.empty(count, np.int64)
        weight_key = np.empty(count, np.int64)
        tile_steps = np.empty(tiles, np.int64)
        position = 0
        for tile in range(tiles):
            image = tile % images if order == 0 else tile // channels
            channel = tile // images if order == 0 else tile % channels
            block = channel * tob
            low, high = ranges[block, 0], ranges[block, 1]
            own = 1 if diagonal else -(-(high - low) // tib)
            tile_steps[tile] = own
            group = 0
            if not diagonal and (low > 0 or high < ranges[out_blocks - 1, 1]):
                group = channel  # a group of its own, as far as inputs are concerned
            for s in range(own):
                step = own - 1 - s if tile % 2 else s
                if diagonal:
                    input_key[position] = image * channels + channel
                elif group:
                    input_key[position] = image * steps + step + images * steps * group
                else:
                    input_key[position] = image * steps + step
                weight_key[position] = 0 if uniform else channel * steps + step
                position += 1
        count = position
        distinct_inputs = in_keys
        for p in range(count):
            if input_key[p] >= distinct_inputs:
                distinct_inputs = input_key[p] + 1
        distinct_weights = channels * steps
        scratch = np.empty(max(distinct_inputs, distinct_weights) + 1, np.int64)
        input_slot = np.empty(count, np.int64)
        weight_slot = np.empty(count, np.int64)
        input_hit = np.empty(count, np.bool_)
        weight_hit = np.empty(count, np.bool_)
        input_misses = _assign_slots(
            input_key, count, input_slots, distinct_inputs, input_slot, input_hit, scratch, True
        )
        weight_misses = _assign_weight_slots(
            weight_key, count, weight_slots, distinct_weights, weight_slot, weight_hit, scratch
        )

        # Micro-op tables: distinct ones, their words, and instructions of each step.
        table_words = np.zeros(count, np.int64)
        new_table = np.zeros(count, np.bool_)
        gemms = np.empty(count, np.int64)
        words = 2 * output_slots * (1 + passes + (tob - 1) * (epilogue == 1) * passes)
        words += 2 * extra * min(weight_slots, distinct_weights) * output_slots
        # Of biases that the ALU adds, each tile of channels has its own.
        adds = bias == 1 and bias_bits > 0
        added = np.zeros(channels * output_slots, np.bool_)
        words += 2 * channels * output_slots * adds
        instructions = 3.0
        position = 0
        for tile in range(tiles):
            image = tile % images if order == 0 else tile // channels
            r, c = image // n_columns % n_rows, image % n_columns
            tap_rows, tap_columns = row_axis[th, r, 5], column_axis[tw, c, 5]
            row_spans, column_spans = row_axis[th, r, 3], column_axis[tw, c, 3]
            extent_r, extent_c = row_axis[th, r, 0], column_axis[tw, c, 0]
            pairs = row_axis[th, r, 2] * column_axis[tw, c, 2]
            for s in range(tile_steps[tile]):
                inner = 1 if diagonal else min(tib, reduction)
                spans = row_spans * column_spans
                # Each rectangle of spans has its part of the outputs.
                height = -(-extent_r // max(1, row_spans))
                width = -(-extent_c // max(1, column_spans))
                size = _table_length(tap_rows, tap_columns, height, width, inner, tob)
                total = spans * (size + size % 2)
                if merged and spans > 1:
                    # A table in which an output comes back too soon is none.
                    points = row_axis[th, r, 6] * column_axis[tw, c, 6]
                    if pairs <= max_table and points >= hazard:
                        spans, total = 1, pairs + pairs % 2
                    else:
                        least = min(inner, tob, extent_r)
                        length = kernel_height * column_axis[tw, c, 2] * least
                        apart = column_axis[tw, c, 6] >= hazard
                        if column_spans > 1 and length <= max_table and apart:
                            spans = row_spans
                            total = row_spans * (length + length % 2)
                gemms[position] = spans
                table_words[position] = total
                kind = row_axis[th, r, 4] * 7 + column_axis[tw, c, 4]
                key = ((kind * 64 + input_slot[position]) * 64 + weight_slot[position]) * 8
                key = ((key + tile % output_slots) * 2 + (s == 0 and extra > 0)) % STAMPS
                if stamps[key] != number + 1:
                    stamps[key] = number + 1
                    new_table[position] = True
                    words += total
                instructions += spans + (not input_hit[position]) + (not weight_hit[position])
                position += 1
        by_block = tob if epilogue == 1 else 1
        instructions += tiles * (1 + extra + passes * by_block + by_block)
        instructions += tiles * (2 * tob + residual_pass) * residual
        preload = micro_ops == 0 and words <= uop_depth
        overflow = words > uop_depth

        # Time, in program order.
        batch_words = min(float(fetch_batch), instructions) * 16 / port
        first = fetch_first + batch_words
        period = fetch_batch + fetch_first + batch_words + 2
        port_free = first
        load_free = compute_free = store_free = first
        uop_busy = 0.0
        if preload:
            uop_busy = uop_fixed + words * uop_bytes / port + words * uop_bytes / boundary
            compute_free += uop_busy
            port_free += words * uop_bytes / port
        load_busy = compute_busy = store_busy = load_wait = compute_wait = 0.0
        input_beats = weight_beats = 0.0
        issued = 0.0
        input_reader = np.zeros(input_slots)
        weight_reader = np.zeros(weight_slots)
        input_loaded = np.zeros(input_slots)
        weight_loaded = np.zeros(weight_slots)
        residual_reader = np.zeros(2)
        stored = np.zeros(output_slots)
        residual_turn = 0
        fetched = 0
        input_stream = weight_stream = input_ahead = weight_ahead = input_end = 0.0
        small = 1 + uop_fixed
        position = 0
        for tile in range(tiles):
            image = tile % images if order == 0 else tile // channels
            channel = tile // images if order == 0 else tile % channels
            block = channel * tob
            own = min(tob, out_blocks - block)
            r, c = image // n_columns % n_rows, image % n_columns
            extent_r, extent_c = row_axis[th, r, 0], column_axis[tw, c, 0]
            size_r, size_c = row_axis[th, r, 1], column_axis[tw, c, 1]
            points = extent_r * extent_c
            pairs = row_axis[th, r, 2] * column_axis[tw, c, 2]
            low, high = ranges[block, 0], ranges[block, 1]
            slot = tile % output_slots
            batch_number = int(issued) // fetch_batch
            available = first + batch_number * period + issued - batch_number * fetch_batch
            if batch_number > fetched:
                fetched = batch_number
                port_free = max(port_free, available - fetch_batch) + batch_words

            start = max(compute_free, stored[slot], available)
            compute_wait += start - compute_free
            if bias == 2 and bias_bits > 0:
                cost = load_fixed + own * acc_bytes / port + load_burst
            else:
                cost = reset_per * points * own + reset_fixed
            if residual:
                compute_free = start + cost
                compute_busy += cost
                for _ in range(own):
                    turn = residual_turn % 2
                    residual_turn += 1
                    beats = points * inp_bytes / port
                    if extent_c == out_width:
                        bursts = _bursts(1, points * inp_bytes, boundary)
                    else:
                        bursts = _bursts(extent_r, extent_c * inp_bytes, boundary)
                    began = max(load_free, residual_reader[turn], available)
                    load_wait += began - load_free
                    ended = max(began + load_fixed, port_free) + beats + load_burst * bursts
                    port_free = ended - 4
                    load_busy += ended - began
                    load_free = ended
                    begin = max(compute_free, ended)
                    compute_wait += begin - compute_free
                    compute_free = begin + gemm_per * points + gemm_fixed
                    compute_busy += gemm_per * points + gemm_fixed
                    residual_reader[turn] = compute_free
                start = compute_free
                cost = (alu_per * points * own + alu_fixed) * residual_pass
            compute_busy += cost
            compute_free = start + cost
            issued += 1 + (2 * own + residual_pass) * residual
            for s in range(tile_steps[tile]):
                backwards = tile % 2
                step = tile_steps[tile] - 1 - s if backwards else s
                inner = own if diagonal else min(tib, high - low - step * tib)
                a, b = input_slot[position], weight_slot[position]
                if not input_hit[position] and size_r * size_c > 0:
                    beats = inner * size_r * size_c * inp_bytes / port
                    loads = 1
                    if size_c == in_width and (size_r == in_height or inner == 1):
                        bursts = _bursts(1, inner * size_r * size_c * inp_bytes, boundary)
                    elif size_c == in_width:
                        bursts = _bursts(inner, size_r * size_c * inp_bytes, boundary)
                    else:
                        loads = inner
                        bursts = _bursts(inner * size_r, size_c * inp_bytes, boundary)
                    began = max(load_free, input_reader[a], available)
                    load_wait += began - load_free
                    ended = max(began + load_fixed, port_free) + beats + load_burst * bursts
                    ended += (loads - 1) * load_fixed
                    port_free = ended - 4
                    load_busy += ended - began
                    input_stream = (ended - began) / loads
                    input_ahead = _ahead(input_stream, bursts / loads, outstanding)
                    load_free = input_end = ended
                    input_loaded[a] = ended
                    input_beats += beats
                    issued += loads
                if not weight_hit[position]:
                    lead = extra if s == 0 else 0
                    if uniform:
                        beats = (1 + extra) * wgt_bytes / port
                        bursts = 1.0
                    else:
                        length = (1 if diagonal else inner) * taps + lead
                        beats = own * length * wgt_bytes / port
                        if steps == 1:
                            bursts = _bursts(1, own * length * wgt_bytes, boundary)
                        else:
                            bursts = _bursts(own, length * wgt_bytes, boundary)
                    began = max(load_free, weight_reader[b], available)
                    load_wait += began - load_free
                    ended = max(began + load_fixed, port_free) + beats + load_burst * bursts
                    port_free = ended - 4
                    load_busy += ended - began
                    weight_stream = ended - began
                    weight_ahead = _ahead(weight_stream, bursts, outstanding)
                    load_free = ended
                    weight_loaded[b] = ended
                    weight_beats += beats
                    issued += 1
                inside = 1 if diagonal else inner
                gemm = gemm_per * pairs * own * inside + gemm_fixed * gemms[position]
                wait = 0.0
                if compute_free < input_end:
                    wait = min(input_end - compute_free, input_ahead)
                elif compute_free < load_free:
                    wait = min(load_free - compute_free, weight_ahead)
                elif position + 1 < count and (input_slots > 1 or weight_slots > 1):
                    wait = _rest(input_stream, weight_stream, input_ahead, weight_ahead, gemm)
                if s == 0 and adds:
                    if not preload and not added[channel * output_slots + slot]:
                        added[channel * output_slots + slot] = True
                        uop_busy += wait + small
                        compute_free += wait + small
                    compute_free += tensor_per * points * own + tensor_fixed
                    compute_busy += tensor_per * points * own + tensor_fixed
                if not preload and (new_table[position] or overflow):
                    beats = table_words[position] * uop_bytes / port
                    uop_busy += wait + uop_fixed + beats
                    compute_free += wait + uop_fixed + beats
                    port_free += beats
                    load_free += beats
                begin = max(compute_free, max(input_loaded[a], weight_loaded[b]))
                compute_wait += begin - compute_free
                cost = 0.0
                if s == 0:
                    cost += extra * (gemm_per * points * own + gemm_fixed)
                    issued += extra
                cost += gemm
                issued += gemms[position]
                compute_busy += cost
                compute_free = begin + cost
                input_reader[a] = compute_free
                weight_reader[b] = compute_free
                position += 1
            parts = 1
            if epilogue == 1 or (epilogue == 2 and tile == tiles - 1):
                parts = own
            span = points * own // parts
            for _ in range(parts):
                cost = max(1, passes) * (alu_per * span + alu_fixed)
                compute_busy += cost
                compute_free += cost
                lines = own // parts
                if points == out_height * out_width:
                    bursts = _bursts(1, lines * points * out_bytes, boundary)
                elif extent_c == out_width:
                    bursts = _bursts(lines, points * out_bytes, boundary)
                else:
                    bursts = _bursts(lines * extent_r, extent_c * out_bytes, boundary)
                cost = 1 + store_burst * bursts + store_element * span
                store_busy += cost
                store_free = max(store_free, compute_free) + cost
                issued += max(1, passes) + 1
            stored[slot] = store_free
        out[number, 0] = max(compute_free, store_free, load_free) + 2
        out[number, 1] = compute_busy
        out[number, 2] = load_busy
        out[number, 3] = store_busy
        out[number, 4] = compute_wait
        out[number, 5] = load_wait
        out[number, 6] = input_beats
        out[number, 7] = weight_beats
        out[number, 8] = input_misses
        out[number, 9] = weight_misses
        out[number, 10] = instructions
        out[number, 11] = words
        out[number, 12] = uop_busy
        out[number, 13] = store_free - compute_free
        out[number, 14] = tiles
        out[number, 15] = count
