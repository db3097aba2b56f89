"""The compiled walk of :mod:`cost_models.vta.relaxed_walk`: a lower bound of every schedule.

Every number here is at most what the program of the schedule costs: instructions that are not sure
to be there are not counted, waits that are not sure to happen do not happen. Where a sum is an
upper bound instead (words of micro-ops, to know that they fit), its name says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compiler_core.kernels import njit
from cost_models.vta._pipeline_kernel import _assign_slots, _assign_weight_slots

STAMPS = 1 << 20
MOST_STEPS = 1 << 14
"""Most tile steps of a legal schedule."""


@njit(cache=True)
def _bursts(address: int, length: int, rows: int, stride: int, shift: int) -> int:
    """Bursts of equal rows, which are cut at multiples of ``1 << shift`` bytes."""
    mask = (1 << shift) - 1
    last = length - 1
    count = rows
    for _ in range(rows):
        count += ((address & mask) + last) >> shift
        address += stride
    return count


@njit(cache=True)
def _visible(index: int, instructions: int, batch: int, latency: int, port: int) -> int:
    """First cycle in which a module can start an instruction, of at least so many."""
    whole = batch * 16 // port
    first = 4 + latency + min(batch, instructions) * 16 // port
    number = index // batch
    if number > 0:
        # The next batch is asked for two cycles after the last one was handed out.
        own = max(index % batch + 1, min(batch, instructions - number * batch))
        first += (number - 1) * (batch + 5 + whole) + batch + 5 + own * 16 // port
    return first + index % batch + 1


@njit(cache=True)
def _table_limits(inner: int, t_r: int, t_c: int, e_r: int, own: int, e_c: int) -> tuple[int, int]:
    """Least and most words of the tables of one rectangle; most is -1 where nothing is known.

    Two axes of the nest become loops. The lowering takes the shortest table that keeps an
    accumulator from recurring within two micro-ops; splitting axes can only shorten it further, but
    never below what the two longest axes leave.
    """
    sizes = (inner, t_r, t_c, e_r, own, e_c)  # the first three are reductions
    product = inner * t_r * t_c * e_r * own * e_c
    least = most = product + 1
    for outer in range(-1, 6):
        if outer >= 0 and sizes[outer] == 1:
            continue
        for second in range(-1, 6):
            if second >= 0 and (sizes[second] == 1 or second == outer):
                continue
            if outer >= 0 and second < 0:
                continue
            loops = 1
            if outer >= 0:
                loops *= sizes[outer]
            if second >= 0:
                loops *= sizes[second]
            length = product // loops
            least = min(least, length)
            run = 1
            reduced = False
            for axis in range(6):
                if axis not in (outer, second):
                    if axis >= 3:
                        run *= sizes[axis]
                    elif sizes[axis] > 1:
                        reduced = True
            if not reduced and second >= 0:
                if second >= 3:
                    run *= sizes[second]
                    if outer >= 3:
                        run *= sizes[outer]
                    reduced = 0 <= outer < 3
                else:
                    reduced = True
            if (not reduced or run >= 3) and length <= 1024:
                most = min(most, length)
    return least, most if most <= product else -1


@njit(cache=True)
def _merge(
    row_spans: Any,
    column_spans: Any,
    columns: int,
    width: int,
    whole: bool,
    repeats: int,
    repeat_step: int,
    table: Any,
) -> bool:
    """Whether rectangles may share one table: no accumulator recurs too soon.

    Args:
        row_spans, column_spans: Extent, taps and first output of each span.
        columns: How many column spans there are.
        width: Output columns of the tile.
        whole: Rows of a span are in the table, too, and not a loop.
        repeats, repeat_step: What the table holds that often, and how far the accumulators are
            apart.
        table: Room for the accumulators of the table.
    """
    count = 0
    for repeat in range(repeats):
        for r in range(row_spans.shape[0]):
            for c in range(columns):
                first = repeat * repeat_step + row_spans[r, 2] * width + column_spans[c, 2]
                for _ in range(row_spans[r, 1] * column_spans[c, 1]):
                    for i in range(row_spans[r, 0] if whole else 1):
                        for j in range(column_spans[c, 0]):
                            table[count] = first + i * width + j
                            count += 1
    for i in range(count):
        if table[i] == table[(i + 1) % count] or table[i] == table[(i + 2) % count]:
            return False
    return True


@njit(cache=True)
def _step_tables(
    row_spans: Any,
    rows: int,
    column_spans: Any,
    columns: int,
    inner: int,
    own: int,
    width: int,
    points: int,
    longest: int,
    table: Any,
) -> tuple[int, int, int]:
    """Least words, most words (or -1), and least words of the first table of a step.

    Args:
        row_spans, column_spans, rows, columns: Spans of the tile, and how many there are.
        inner, own: Input and output blocks.
        width, points: Output columns and points of the tile.
        longest: Words of a table into which the rectangles of a row span are merged where they fit;
            0 where each rectangle has its own.
        table: Room for so many words.
    """
    least = most = first = 0
    for r in range(rows):
        low_words = high_words = words = 0
        for c in range(columns):
            extent, taps = column_spans[c, 0], column_spans[c, 1]
            low, high = _table_limits(inner, row_spans[r, 1], taps, row_spans[r, 0], own, extent)
            if r == 0 and c == 0:
                first = low
            low_words += low + low % 2
            if high < 0 or high_words < 0:
                high_words = -1
            else:
                high_words += high + high % 2
            words += row_spans[r, 1] * taps * extent * min(inner, own, row_spans[r, 0])
        if columns > 1 and words <= longest:
            # The two longest of these axes are loops, the shortest is in the table.
            axis = row_spans[r, 0]
            repeats, step = (inner, 0) if inner <= min(own, axis) else (axis, width)
            if own < inner and own <= axis:
                repeats, step = own, points
            span = row_spans[r : r + 1]
            if _merge(span, column_spans, columns, width, False, repeats, step, table):
                low_words = high_words = words + words % 2
                if r == 0:
                    first = words
        least += low_words
        most = most + high_words if most >= 0 and high_words >= 0 else -1
    return least, most, first


@njit(cache=True)
def _reloaded_words(ids: Any, words: Any, count: int, total: int, depth: int, seen: Any) -> int:
    """Least words of micro-ops that are loaded again where the buffer does not hold all of them.

    The steps are cut into runs. Of the tables that a run reads, at most the buffer's words were
    there when it began, whatever the replacement.
    """
    most = min(total, 2 * depth)
    seen[:] = 0
    run = 1
    own = result = 0
    for position in range(count):
        if seen[ids[position]] != run:
            seen[ids[position]] = run
            own += words[position]
        if own >= most:
            result += own - depth
            own = 0
            run += 1
    return result + max(0, own - depth)


@njit(cache=True)
def relaxed_walk(
    rows: Any,
    limit: int,
    w: Any,
    m: Any,
    row_axis: Any,
    row_spans: Any,
    column_axis: Any,
    column_spans: Any,
    out: Any,
) -> None:
    """Bounds every schedule of one folded dense convolution from below.

    Args:
        rows: ``int64[n, 13]`` schedules.
        limit: A walk ends early where its bound has reached this.
        w, m: ``int64[]`` numbers of the workload and the machine, as ``relaxed_walk.py`` packs
            them.
        row_axis, column_axis: ``int64[tile + 1, tiles, 6]`` per tile size and tile: extent, first
            input, input size, (output, tap) pairs, spans, kind.
        row_spans, column_spans: ``int64[tile + 1, tiles, kernel, 3]``: extent, taps and first
            output of each span.
        out: ``int64[n]``, the result.
    """
    (batch, out_height, out_width, in_height, in_width, out_blocks, reduction, taps) = (
        w[0], w[1], w[2], w[3], w[4], w[5], w[6], w[7]
    )  # fmt: skip
    bias_extra, bias_bits, passes, most_stride = w[8], w[9], w[10], w[11]
    gemm_per, gemm_fixed, reset_per, reset_fixed = m[0], m[1], m[2], m[3]
    alu_per, alu_fixed, tensor_per, tensor_fixed = m[4], m[5], m[6], m[7]
    inp_bytes, wgt_bytes, acc_bytes, uop_bytes, out_bytes = m[8], m[9], m[10], m[11], m[12]
    port, shift, latency = m[13], m[14], m[15]
    fetch_batch, uop_depth, max_table, finish = m[16], m[17], m[18], m[19]
    in_plane, out_plane = in_height * in_width, out_height * out_width
    # A read waits for the memory unless it joins a list in which another module's burst waits.
    load_fixed = 6 + latency  # and a cycle per burst
    spared = max(0, latency - 2)  # the burst before has at least one beat
    store_element = -(-out_bytes // port) + 1
    alu_passes = max(1, passes)

    stamps = np.zeros(STAMPS, np.int32)
    least_of = np.zeros(STAMPS, np.int32)
    tables = np.zeros(1 << 16, np.int32)
    input_key = np.empty(MOST_STEPS, np.int64)
    weight_key = np.empty(MOST_STEPS, np.int64)
    input_slot = np.empty(MOST_STEPS, np.int64)
    weight_slot = np.empty(MOST_STEPS, np.int64)
    input_hit = np.empty(MOST_STEPS, np.bool_)
    weight_hit = np.empty(MOST_STEPS, np.bool_)
    scratch = np.empty(MOST_STEPS + 1, np.int64)
    fill = np.zeros(MOST_STEPS, np.int64)
    table_id = np.zeros(MOST_STEPS, np.int64)
    table_words = np.zeros(MOST_STEPS, np.int64)
    seen = np.zeros(1 << 16, np.int32)
    accumulators = np.zeros(max_table, np.int64)

    for number in range(rows.shape[0]):
        row = rows[number]
        th, tw, tob, tib, order = row[0], row[1], row[2], row[3], row[4]
        slots_in, slots_wgt, slots_out = row[5], row[6], row[7]
        bias, epilogue, loading, merged = row[8], row[9], row[10], row[12]
        n_rows, n_columns = -(-out_height // th), -(-out_width // tw)
        images, channels = batch * n_rows * n_columns, -(-out_blocks // tob)
        steps = -(-reduction // tib)
        tiles = images * channels
        count = tiles * steps
        load_bias = bias == 2 and bias_bits > 0
        alu_bias = bias == 1 and bias_bits > 0
        extra = bias_extra if bias == 0 else 0

        any_slots = slots_in == 0
        if any_slots:
            slots_in, slots_wgt, slots_out = images * steps, channels * steps, tiles

        position = 0
        for tile in range(tiles):
            image = tile % images if order == 0 else tile // channels
            channel = tile // images if order == 0 else tile % channels
            for s in range(steps):
                step = steps - 1 - s if tile % 2 else s
                input_key[position] = image * steps + step
                weight_key[position] = channel * steps + step
                position += 1
        _assign_slots(
            input_key, count, slots_in, images * steps, input_slot, input_hit, scratch, True
        )
        _assign_weight_slots(
            weight_key, count, slots_wgt, channels * steps, weight_slot, weight_hit, scratch
        )

        # Micro-op words, instructions and the work of the compute module.
        used_out = min(slots_out, tiles)
        kinds = 1
        for r in range(n_rows):
            kinds = max(kinds, row_axis[th, r, 5] + 1)
        column_kinds = 1
        for c in range(n_columns):
            column_kinds = max(column_kinds, column_axis[tw, c, 5] + 1)
        kinds *= column_kinds
        whole_tile = np.full(kinds, -1, np.int64)  # whether one table serves the tile
        by_block = epilogue == 1
        least_words = 0
        most_words = 2 * used_out * (1 + extra * min(slots_wgt, count))
        if by_block:
            most_words += 2 * min(tiles, used_out * kinds) * tob
        else:
            most_words += 2 * (used_out + tob)
        if alu_bias:
            most_words += 2 * used_out * channels
        if extra and not any_slots:  # else a table of the taps may be one of these
            parts = tob if by_block else 1
            least_words += 2 * (used_out + used_out * parts - 1)
        known = least_known = not any_slots
        instructions = 2 + (extra > 0) + alu_bias
        work = 0
        position = 0
        for tile in range(tiles):
            image = tile % images if order == 0 else tile // channels
            channel = tile // images if order == 0 else tile % channels
            own = min(tob, out_blocks - channel * tob)
            r, c = image // n_columns % n_rows, image % n_columns
            spans_r, spans_c = row_axis[th, r, 4], column_axis[tw, c, 4]
            pairs = row_axis[th, r, 3] * column_axis[tw, c, 3]
            points = row_axis[th, r, 0] * column_axis[tw, c, 0]
            spans = spans_r * spans_c
            kind = row_axis[th, r, 5] * column_kinds + column_axis[tw, c, 5]
            if whole_tile[kind] < 0:
                whole_tile[kind] = 0
                if merged and spans > 1 and pairs <= max_table:
                    whole_tile[kind] = _merge(
                        row_spans[th, r, :spans_r],
                        column_spans[tw, c],
                        spans_c,
                        column_axis[tw, c, 0],
                        True,
                        1,
                        0,
                        accumulators,
                    )
            whole = whole_tile[kind] == 1
            gemms = spans
            if merged and spans > 1:
                gemms = 1 if whole else spans_r
            if not load_bias:
                work += reset_per * points * own + reset_fixed
            if alu_bias:
                work += tensor_per * points * own + tensor_fixed
            work += extra * (gemm_per * points * own + gemm_fixed)
            work += gemm_per * pairs * own * reduction + gemm_fixed * gemms * steps
            parts = own if by_block or (epilogue == 2 and tile == tiles - 1) else 1
            work += alu_passes * (alu_per * points * own + alu_fixed * parts)
            instructions += 1 + alu_bias + extra + gemms * steps + parts * (alu_passes + 1)
            o = tile % slots_out
            for s in range(steps):
                step = steps - 1 - s if tile % 2 else s
                inner = min(tib, reduction - step * tib)
                a, b = input_slot[position], weight_slot[position]
                instructions += (not input_hit[position]) + (not weight_hit[position])
                # What a table depends on: one for the whole tile loops over all channels.
                full = (kind * 2 + (inner != tib and not whole)) * 2 + (own != tob and not whole)
                full = full * 2 + (extra > 0 and step == 0)
                full = (full * 64 + a) * (slots_wgt * slots_out) + b * slots_out + o
                fill[position] = 0
                table = ((a * 64 + b) * 8 + o) * 2 + (whole and extra > 0 and step == 0)
                if any_slots or full >= STAMPS:
                    known = False
                    least_known = False
                elif stamps[full] != number + 1:
                    stamps[full] = number + 1
                    least, most, first = _step_tables(
                        row_spans[th, r],
                        spans_r,
                        column_spans[tw, c],
                        spans_c,
                        inner,
                        own,
                        column_axis[tw, c, 0],
                        points,
                        max_table if merged else 0,
                        accumulators,
                    )
                    if whole:
                        least = most = pairs + pairs % 2
                        first = pairs
                    if most < 0:
                        known = False
                    most_words += most
                    least_of[full] = least if spans > 0 else 0
                    # Tables of other tile kinds in the same slots may be equal, and so may those
                    # of single rectangles with and without the bias before the weights.
                    if tables[table] != number + 1 and spans > 0:
                        tables[table] = number + 1
                        least_words += least
                        if extra or first > 1:  # else it may be that of the reset
                            fill[position] = first + first % 2
                if least_known:
                    table_id[position] = table
                    table_words[position] = least_of[full]
                position += 1
        preloaded = loading == 0 and known and most_words <= uop_depth
        reload = 0
        if least_known and least_words > uop_depth:
            total = _reloaded_words(table_id, table_words, count, least_words, uop_depth, seen)
            reload = total * uop_bytes // port
        demanded = not any_slots and (loading == 1 or least_words > uop_depth)
        instructions += preloaded

        # Time. Other modules' bursts spare a LOAD the memory latency; each at most one of them.
        first_out = _visible(0, instructions, fetch_batch, latency, port) - 1
        # Fetch comes before whatever LOAD starts after it has asked; no queue is full by then.
        second_fetch = first_out + fetch_batch + 1
        later = max(0, instructions - fetch_batch)
        second_beats = min(later, fetch_batch) * 16 // port + 1 if later else 0
        issued = 0
        saving = 2 * spared  # the last bursts of fetch and of the micro-ops; others are long
        latent = load_fixed
        compute_free = load_free = store_free = 0
        port_free = first_out - 1
        other_beats = behind = 0
        if preloaded:
            # Accepted before every LOAD but for the bursts after the first, which are accepted
            # while the first LOAD waits for the memory.
            bytes_ = least_words * uop_bytes
            bursts = _bursts(0, bytes_, 1, 0, shift)
            beats = -(-bytes_ // port) + bursts
            compute_free = first_out + 1 + 5 + latency + beats
            behind = beats - min(beats, (1 << shift) // port + 1)
            port_free = first_out + 4 + latency + beats - behind
            issued += 1
        else:
            latent -= spared
        if load_bias:
            saving += spared * tiles * (2 + (tob * acc_bytes >> shift))
        if alu_bias:
            saving += spared
        constant_loaded = 0
        if extra:
            port_free += inp_bytes // port + 1
            load_free = first_out + issued + 1 + latent + inp_bytes // port + 1
            load_free = max(load_free, port_free + 3)
            port_free += behind
            behind = 0
            constant_loaded = load_free
            issued += 1
        if alu_bias:
            beats = out_blocks * acc_bytes // port + 1
            compute_free = max(compute_free, first_out + issued + 1)
            compute_free += load_fixed - spared + beats
            other_beats += beats
            issued += 1
        input_reader = np.zeros(slots_in, np.int64)
        weight_reader = np.zeros(slots_wgt, np.int64)
        input_loaded = np.zeros(slots_in, np.int64)
        weight_loaded = np.zeros(slots_wgt, np.int64)
        stored = np.zeros(slots_out, np.int64)
        busy = 0
        tail = 0
        begun = -1  # when compute would end if nothing waited after the first weights
        position = 0
        for tile in range(tiles):
            image = tile % images if order == 0 else tile // channels
            channel = tile // images if order == 0 else tile % channels
            block = channel * tob
            own = min(tob, out_blocks - block)
            sample = image // (n_rows * n_columns)
            r, c = image // n_columns % n_rows, image % n_columns
            extent_r, extent_c = row_axis[th, r, 0], column_axis[tw, c, 0]
            low_r, low_c = row_axis[th, r, 1], column_axis[tw, c, 1]
            size_r, size_c = row_axis[th, r, 2], column_axis[tw, c, 2]
            points, size = extent_r * extent_c, size_r * size_c
            pairs = row_axis[th, r, 3] * column_axis[tw, c, 3]
            spans_r = row_axis[th, r, 4]
            spans = spans_r * column_axis[tw, c, 4]
            kind = row_axis[th, r, 5] * column_kinds + column_axis[tw, c, 5]
            gemms = spans
            if merged and spans > 1:
                gemms = 1 if whole_tile[kind] == 1 else spans_r
            o = tile % slots_out

            available = _visible(issued, instructions, fetch_batch, latency, port)
            compute_free = max(compute_free, stored[o], available)
            if load_bias:
                compute_free += load_fixed - spared + own * acc_bytes // port + 1
                other_beats += own * acc_bytes // port + 1
            else:
                cost = reset_per * points * own + reset_fixed
                compute_free += cost
                busy += cost
            if alu_bias:
                cost = tensor_per * points * own + tensor_fixed
                compute_free += cost
                busy += cost
            issued += 1 + alu_bias
            for s in range(steps):
                step = steps - 1 - s if tile % 2 else s
                low = step * tib
                inner = min(tib, reduction - low)
                a, b = input_slot[position], weight_slot[position]
                if not input_hit[position] and size > 0:
                    first = (sample * reduction + low) * in_plane + low_r * in_width + low_c
                    address, loads = first * inp_bytes, 1
                    if size_c == in_width and (size == in_plane or inner == 1):
                        bursts = _bursts(address, inner * size * inp_bytes, 1, 0, shift)
                    elif size_c == in_width:
                        loads = 1 if in_plane <= most_stride else inner
                        bursts = _bursts(
                            address, size * inp_bytes, inner, in_plane * inp_bytes, shift
                        )
                    else:
                        loads = inner
                        bursts = 0
                        for index in range(inner):
                            bursts += _bursts(
                                address + index * in_plane * inp_bytes,
                                size_c * inp_bytes,
                                size_r,
                                in_width * inp_bytes,
                                shift,
                            )
                    beats = inner * size * (inp_bytes // port) + bursts
                    available = _visible(issued, instructions, fetch_batch, latency, port)
                    begin = max(load_free, input_reader[a], available)
                    if begin >= second_fetch:
                        port_free += second_beats
                        second_beats = 0
                    port_free += beats
                    load_free = max(begin + loads * latent + beats, port_free + 3)
                    port_free += behind
                    behind = 0
                    input_loaded[a] = load_free
                    issued += loads
                if not weight_hit[position]:
                    length = inner * taps + (extra if step == 0 else 0)
                    whole = reduction * taps + extra
                    first = block * whole
                    if step > 0:
                        first += extra + low * taps
                    if whole == length or own == 1:
                        bursts = _bursts(first * wgt_bytes, own * length * wgt_bytes, 1, 0, shift)
                    else:
                        bursts = _bursts(
                            first * wgt_bytes, length * wgt_bytes, own, whole * wgt_bytes, shift
                        )
                    beats = own * length * (wgt_bytes // port) + bursts
                    available = _visible(issued, instructions, fetch_batch, latency, port)
                    begin = max(load_free, weight_reader[b], available)
                    if begin >= second_fetch:
                        port_free += second_beats
                        second_beats = 0
                    port_free += beats
                    load_free = max(begin + latent + beats, port_free + 3)
                    port_free += behind
                    behind = 0
                    weight_loaded[b] = load_free
                    issued += 1
                if step == 0 and extra:
                    compute_free = max(compute_free, constant_loaded, weight_loaded[b])
                    if begun < 0:
                        begun = compute_free + work - busy + reload
                    cost = extra * (gemm_per * points * own + gemm_fixed)
                    compute_free += cost
                    busy += cost
                    issued += extra
                if gemms:
                    if fill[position] > 0 and demanded:
                        beats = -(-fill[position] * uop_bytes // port)
                        compute_free += load_fixed - spared + beats
                        other_beats += beats + 1
                        issued += 1
                    compute_free = max(compute_free, input_loaded[a], weight_loaded[b])
                    if begun < 0:
                        begun = compute_free + work - busy + reload
                    cost = gemm_per * pairs * own * inner + gemm_fixed * gemms
                    compute_free += cost
                    busy += cost
                    input_reader[a] = compute_free
                    weight_reader[b] = compute_free
                    issued += gemms
                position += 1
            parts = own if by_block or (epilogue == 2 and tile == tiles - 1) else 1
            blocks_each = own // parts
            for part in range(parts):
                cost = alu_passes * (alu_per * points * blocks_each + alu_fixed)
                compute_free += cost
                busy += cost
                first = (sample * out_blocks + block + part * blocks_each) * out_plane
                first += r * th * out_width + c * tw
                stores = 1
                if points == out_plane:
                    bursts = _bursts(
                        first * out_bytes, blocks_each * points * out_bytes, 1, 0, shift
                    )
                elif extent_c == out_width:
                    if out_plane > most_stride:
                        stores = blocks_each
                    bursts = _bursts(
                        first * out_bytes,
                        points * out_bytes,
                        blocks_each,
                        out_plane * out_bytes,
                        shift,
                    )
                else:
                    stores = blocks_each
                    bursts = 0
                    for index in range(blocks_each):
                        bursts += _bursts(
                            (first + index * out_plane) * out_bytes,
                            extent_c * out_bytes,
                            extent_r,
                            out_width * out_bytes,
                            shift,
                        )
                cost = stores + 3 * bursts + store_element * points * blocks_each
                tail = cost
                store_free = max(store_free, compute_free) + cost
                issued += alu_passes + stores
            stored[o] = store_free
            if max(begun, compute_free + work - busy) - saving >= limit:
                break
        end = max(begun + tail, compute_free + work - busy, store_free, load_free)
        later = max(0, later - fetch_batch) * 16 // port
        end = max(end, port_free + other_beats + later)
        out[number] = end + finish - saving
