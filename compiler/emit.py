"""Commands of each step, weight and parameter image, and the buffers they go through."""

import numpy as np

from spec.commands import PARAM_BYTES, PARAM_FIELDS, TABLE_RECORDS, TAP_BYTES, TAP_FIELDS, Opcode, pack_record
from spec.errors import AlloyError
from spec.kwords import gather, pack_words
from spec.numerics import split_weight

from .costs import Costs
from .hazards import Item
from .prove import prove
from .rings import Ring
from .schedule import schedule
from .slots import make_tiles, nibbles

__all__ = ["Emitter"]

PIECE = 150         # least cycles of the array between two parts of an input that is loaded in parts
PIECES = 8


def _growing(filters, parts, filter_cycles, part_cycles, work):
    """Pairs (filter tile, input part), so that an array which waits for both has the most to do.

    Next is loaded what brings more ``work`` (cycles of the array for one pair) for each cycle of its own load.
    """
    have, there = 0, 0
    while there < parts or have < filters:
        if there == parts or have < filters and there * work / filter_cycles >= have * work / part_cycles:
            yield from ((have, part) for part in range(there))
            have += 1
        else:
            yield from ((tile, there) for tile in range(have))
            there += 1


class _Source:
    """The input of a step, loaded from DRAM in parts: rows just ahead of the commands that read them.

    ``where`` is the placement, ``at`` the tensor coordinates of its first pixel. The first part takes the whole placement; what
    follows conflicts only with the commands that read those rows.
    """

    def __init__(self, emitter, op, strip):
        self._emitter, self._op, self._where, self._at = emitter, op, strip.input, strip.input_at
        self._loaded, self.stop = strip.input_at[0], strip.input_at[0] + strip.input.height
        self._resource = ("rows", object())

    def read(self, stop):
        """The access of a command that reads tensor rows below ``stop``; loads those that are missing."""
        low, self._loaded = self._loaded, max(self._loaded, min(stop, self.stop))
        y, x = self._at
        if low < self._loaded:
            accesses = [(self._resource, low, self._loaded, True, None)] + [self._emitter.act(self._where, True)] * (low == y)
            self._emitter.load(self._op.input, self._where, (low, self._loaded), (x, x + self._where.width), self._op.tag, self._at, accesses)
        return self._resource, y, self._loaded, False, "feed"


class Emitter:
    """Turns steps into commands. ``image`` grows with weights, parameters and taps."""

    def __init__(self, config, kinds):
        self.config, self.kinds = config, kinds
        self.image = bytearray()
        self._items = []
        self._weights, self._taps, self._params = Ring(config.weight_depth), Ring(config.tap_depth), Ring(config.param_depth)
        self._tables = Ring(config.tables)
        self.costs = Costs(config)
        self._regions, self._tiles, self._pending, self._streams = {}, {}, {}, {}

    @property
    def commands(self):
        """(opcode, fields) of all commands, in the order of the program."""
        return schedule(self._items, self.config)

    def _add(self, opcode, accesses, **fields):
        self._items.append(Item(opcode, accesses, fields))

    def tensor(self, value, region):
        """Give a value its DRAM region (placed later)."""
        self._regions[value] = region

    def input(self, value, place):
        """The first step that reads ``value`` loads it from DRAM to ``place``."""
        self._pending[value] = place

    # -- activations ---------------------------------------------------------------------------------------------------
    def store(self, value, place, rows, cols, tag, at=(0, 0)):
        """STORE_ACT of tensor rows and columns [lo, hi) from where the placement holds them (``at``: its first pixel)."""
        self._move(Opcode.STORE_ACT, value, place, rows, cols, tag, at, [self.act(place, False)])

    def load(self, value, place, rows, cols, tag, at, accesses):
        """LOAD_ACT of a region, the other way; ``accesses`` are those on the chip."""
        self._move(Opcode.LOAD_ACT, value, place, rows, cols, tag, at, accesses)

    def _move(self, opcode, value, place, rows, cols, tag, at, accesses):
        region = self._regions[value]
        start = rows[0] * region.stride + cols[0] * region.groups * region.group_bytes
        accesses = [*accesses, (("dram", value.name), *rows, opcode == Opcode.STORE_ACT, None)]
        self._add(opcode, accesses, tag=tag, dram=start, value=value, stride=region.stride, rows=rows[1] - rows[0],
                  cols=cols[1] - cols[0], mem_out=place.mem, **place.view("out", y=rows[0] - at[0], x=cols[0] - at[1]))

    # -- steps ---------------------------------------------------------------------------------------------------------
    def step(self, step):
        """All commands of one operation."""
        op = step.op
        for strip in step.strips:
            self.costs.layer(op, op.kernel[0] * op.kernel[1], self._depth(op), len(step.strips))
            if op.residual is not None and (op.residual in step.dram or self._pending.pop(op.residual, None)):
                self.load(op.residual, strip.residual, (strip.y0, strip.y1), (strip.x0, strip.x1), op.tag, strip.residual_at,
                          [self.act(strip.residual, True)])
            source = None
            if op.input in step.dram or self._pending.pop(op.input, None):
                source = _Source(self, op, strip)
            (self._conv if op.kind == "conv" else self._pool)(op, strip, source)
            if op.output in step.dram:
                self.store(op.output, strip.output, (strip.y0, strip.y1), (strip.x0, strip.x1), op.tag, strip.output_at)

    def work(self, step):
        """``slots``, ``strips`` and ``pixels`` of a step, as :class:`spec.program.Layer` has them."""
        op, conv = step.op, step.op.kind == "conv"
        slots = [divmod(position, self.config.ic) for position in np.argsort(op.output.order).tolist()]
        if conv:
            for number, (tile, *_) in enumerate(self._tiles[op][1]):
                for channel, slot, _ in tile.members:
                    slots[channel] = number, slot
        return {"slots": tuple(slots), "pixels": self._tile_pixels(op) if conv else 1, "strips": tuple(
            (s.y0, s.y1, s.x0, s.x1, s.input.pitch if conv else s.x1 - s.x0) for s in step.strips)}

    def _tile_pixels(self, op):
        """Pixels that a convolution computes together: half of the lanes' number if its codes take two digits."""
        return self.config.pixels // 2 if op.input.bits > self.config.act_digit_bits else self.config.pixels

    def _depth(self, op):
        """Channel groups that each filter tile of ``op`` reads; 1 for a pool, which takes one after the other."""
        if op.kind == "conv" and op not in self._tiles:
            self._tiles[op] = self._make_tiles(op)
        return self._tiles[op][0] if op.kind == "conv" else 1

    def _tap_records(self, op, strip):
        offset = (strip.y0 * op.stride[0] - op.padding[0] - strip.input_at[0],
                  strip.x0 * op.stride[1] - op.padding[1] - strip.input_at[1])
        return strip.input.taps(op.kernel, op.stride, offset)

    def _load_records(self, opcode, ring, per, data, tag, resource):
        """Records into a table, unless it holds them: returns the first entry (``per`` records are one unit of the ring)."""
        count = len(data) // PARAM_BYTES
        first, held = ring.take(data, -(-count // per))
        if not held:
            self._add(opcode, [((resource,), first * per, first * per + count, True, None)], tag=tag, dram=self._put(data), dst=first * per,
                      count=count)
            self.costs.load(self._items[-1], resource, data)
        return first * per

    def _put(self, data):
        align = max(64, self.config.wide_bytes)
        self.image.extend(bytes(-len(self.image) % align))
        offset = len(self.image)
        self.image.extend(data)
        return offset

    def _pool(self, op, strip, loaded):
        taps = self._tap_records(op, strip)
        if len(taps) > self.config.tap_depth:
            raise AlloyError(f"layer {op.name} has {len(taps)} taps, the configuration holds {self.config.tap_depth}: raise tap_depth")
        data = b"".join(pack_record(TAP_FIELDS, t, TAP_BYTES) for t in taps)
        base = self._load_records(Opcode.LOAD_TAPS, self._taps, 1, data, op.tag, "taps")
        source, out = strip.input, strip.output
        plain = {f"res_{n}{p}": v for n, v in (("row_addr", source.base), ("row_bank", 0)) for p in range(4)}
        plain |= {f"res_{n}{p}": v for n, v in (("cur_addr", source.base), ("cur_bank", 0)) for p in range(2)}
        plain |= {"res_step_addr": source.pitch // source.pixels * source.groups, "res_step_bank": source.pitch % source.pixels,
                  "res_groups": source.groups}
        rows, cols = strip.y1 - strip.y0, strip.x1 - strip.x0
        accesses = [(("taps",), base, base + len(taps), False, None), self.act(source, False), self.act(out, True)]
        if loaded is not None:
            accesses.append((*loaded.read(loaded.stop)[:4], None))
        self._add(
            Opcode.POOL, accesses, tag=op.tag, rows=rows, cols=cols, pitch=cols, tap_base=base, taps=len(taps), groups=source.groups,
            mem_in=source.mem, mem_out=out.mem, **plain,
            **out.view("out", y=strip.y0 - strip.output_at[0], x=strip.x0 - strip.output_at[1]))
        self.costs.compute(self._items[-1])

    @staticmethod
    def act(place, writes, stage=None):
        """The access to all words of a placement."""
        return ("act", place.mem), place.base, place.base + place.words, writes, stage

    # -- convolutions --------------------------------------------------------------------------------------------------
    def _conv(self, op, strip, loaded):
        c, groups, pitch = self.config, strip.input.groups, strip.input.pitch
        depth, tiles = self._tiles[op]
        taps = self._tap_records(op, strip)
        per = min(len(taps), c.weight_depth // depth, c.tap_depth)
        if per == 0:
            raise AlloyError(f"layer {op.name} reads {depth} channel groups, more than the weight buffer's {c.weight_depth} words: "
                             "raise weight_depth")
        if op.table is not None and not c.tables:
            raise AlloyError(f"layer {op.name} has a table for its codes, the configuration has none: raise tables")
        if op.input.bits > 2 * c.act_digit_bits:
            raise AlloyError(f"layer {op.name} reads {op.input.bits}-bit codes, two digits hold {2 * c.act_digit_bits}: "
                             "raise act_digit_bits")
        npix = self._tile_pixels(op)
        rows, cols = strip.y1 - strip.y0, strip.x1 - strip.x0
        count = -(-((rows - 1) * pitch + cols) // npix)
        chunks = [(t, min(t + per, len(taps))) for t in range(0, len(taps), per)]
        if len(chunks) > 1:                 # sums in parts: the accumulators hold one tile of pixels
            order = [(tile, (t, 1)) for tile in tiles for t in range(count)]
        else:
            parts = min(max(count * len(taps) * depth // PIECE, 1), PIECES, count) if loaded is not None else 1
            cuts = [count * i // parts for i in range(parts + 1)]
            spans = [(lo, hi - lo) for lo, hi in zip(cuts, cuts[1:])]
            first = min(self._weights.room(len(taps) * depth), c.param_depth, len(tiles)) if parts > 1 else 0
            order = [(tiles[i], spans[j]) for i, j in _growing(
                first, parts, len(taps) * depth * c.weight_beats,
                strip.input.height * strip.input.width * groups * c.act_group_bytes // c.port_bytes // parts,
                len(taps) * depth * count // parts)]
            order += [(tile, (0, count)) for tile in tiles[first:]]
        for tile, (start, number) in order:
            access = []
            if loaded is not None:
                last = strip.y0 + min(rows - 1, ((start + number) * npix - 1) // pitch)
                whole = start + number == count
                access.append(loaded.read(loaded.stop if whole else last * op.stride[0] - op.padding[0] + op.kernel[0]))
            for chunk in chunks:
                self._conv_command(op, strip, tile, depth, taps, chunk, npix, start, number, access)

    def _conv_command(self, op, strip, tile, depth, taps, chunk, npix, first, count, accesses):
        """One CONV over ``count`` tiles of pixels from ``first`` on, and the loads of what it needs."""
        c, source, groups, (t0, t1) = self.config, strip.input, strip.input.groups, chunk
        tile, group, k_words, params = tile
        data = b"".join(pack_record(TAP_FIELDS, t, TAP_BYTES) for t in taps[t0:t1])
        tap_base = self._load_records(Opcode.LOAD_TAPS, self._taps, 1, data, op.tag, "taps")
        accesses = [*accesses, self.act(source, False, "feed"), (("taps",), tap_base, tap_base + t1 - t0, False, "feed")]
        start, values, final = first * npix, {}, t1 == len(taps)
        if final:
            param = self._load_records(Opcode.LOAD_PARAMS, self._params, c.slots, params, op.tag, "params")
            accesses += [(("params",), param, param + c.slots, False, None), self.act(strip.output, True)]
            values = self._outputs(op, strip, tile, start, source.pitch) | {"param_base": param}
            if op.residual is not None:
                accesses.append(self.act(strip.residual, False))
            if op.table is not None:
                first = self._load_records(Opcode.LOAD_TABLES, self._tables, TABLE_RECORDS, op.table.tobytes(), op.tag, "tables")
                accesses.append((("tables",), first, first + TABLE_RECORDS, False, None))
                values["table"] = first // TABLE_RECORDS + 1
        words = (t1 - t0) * depth
        base = self._load_weights(op.tag, k_words, t0 * depth, words)
        accesses.append((("weights",), base, base + words, False, "feed"))
        self._add(
            Opcode.CONV, accesses, tag=op.tag, rows=strip.y1 - strip.y0, cols=strip.x1 - strip.x0, tap_base=tap_base, taps=t1 - t0,
            groups=groups, depth=depth, tiles=count, in_base=source.base + start // c.pixels * groups + group, half=int(start % c.pixels != 0),
            weight_base=base, pitch=source.pitch, step_y=npix // source.pitch, step_x=npix % source.pitch,
            start_y=start // source.pitch, start_x=start % source.pitch, zero=op.input.zero, wide=int(npix < c.pixels),
            acc_first=int(t0 == 0), acc_last=int(final), mem_in=source.mem, **values)
        self.costs.compute(self._items[-1])

    def _outputs(self, op, strip, tile, start, pitch):
        """Fields of the post unit for the command whose first pixel is ``start``."""
        y, x = start // pitch, start % pitch
        out = {"shift": op.shift, "lo": op.lo, "hi": op.hi, "straddle": int(tile.straddle), "mem_out": strip.output.mem,
               **self._cursor("out", strip.output, strip, strip.output_at, y, x, tile.group)}
        if op.residual is not None:
            out |= {"residual": 1, "res_mult": op.res_mult, "mem_res": strip.residual.mem,
                    **self._cursor("res", strip.residual, strip, strip.residual_at, y, x, tile.group)}
        return out

    @staticmethod
    def _cursor(prefix, place, strip, at, y, x, group):
        # Columns at or beyond the region's end are dropped; rows beyond it are never visited.
        y = min(y, strip.y1 - strip.y0 - 1)
        return place.view(prefix, y=strip.y0 - at[0] + y, x=strip.x0 - at[1], start_x=x, group=group)

    def _load_weights(self, tag, k_words, low, count):
        """``count`` of a tile's ``k_words`` from ``low`` on, unless the buffer holds them: their first word there."""
        base, held = self._weights.take((id(k_words), low), count)
        if not held:
            if (id(k_words), low) not in self._streams:
                self._streams[id(k_words), low] = self._stream(k_words[low:low + count])
            self._add(Opcode.LOAD_WEIGHTS, [(("weights",), base, base + count, True, None)], tag=tag, dst=base, count=count,
                      **self._streams[id(k_words), low])
            self.costs.load(self._items[-1], "weights", (id(k_words), low))
        return base

    def _stream(self, k_words):
        """Puts k-words of nibbles into the image: fields of the command that loads them."""
        stored = pack_words(k_words, self.config)
        return {"dram": self._put(stored.data), **stored.fields(self.config)}

    def _make_tiles(self, op):
        """Channel groups that each tile reads, and of each tile: itself, the first group, k-words and parameter records."""
        tiles, reach = make_tiles(op, self.kinds[op], self.config), []
        for tile in tiles:
            used = np.zeros(op.input.channels, bool)
            for channel, _, _ in tile.members:
                used |= op.filter(channel)[op.input.order].any(1)
            at = np.flatnonzero(used) // self.config.ic if used.any() else np.zeros(1, int)
            reach.append((int(at[0]), int(at[-1]) + 1))
        depth, groups = max(hi - lo for lo, hi in reach), -(-op.input.channels // self.config.ic)
        firsts = [min(lo, groups - depth) for lo, _ in reach]
        return depth, [(tile, first, *self._tile_image(op, tile, first, depth)) for tile, first in zip(tiles, firsts)]

    def _tile_image(self, op, tile, first, depth):
        """k-words of one tile as nibbles (k-words, slots * ic), for ``depth`` channel groups from ``first`` on, and its parameter records."""
        c = self.config
        taps = op.kernel[0] * op.kernel[1]
        words = np.zeros((taps, depth * c.ic, c.slots), np.uint8)
        words[..., c.dsp_filters:] = 7      # power-of-two zero
        records = [bytes(PARAM_BYTES)] * c.slots
        place_of = np.empty(len(op.weight), np.int64)
        place_of[op.output.order] = np.arange(len(op.weight))
        wide = op.input.bits > c.act_digit_bits
        scale = 1 + (1 << c.act_digit_bits) if wide else 1
        for channel, slot, joined in tile.members:
            weight = op.filter(channel)[op.input.order][first * c.ic:(first + depth) * c.ic]     # (positions, taps)
            parts, ones = nibbles(weight, slot, joined, c)
            for at, digits in parts:
                words[:, :len(weight), at] = digits.T
            mult = int(op.mult[channel])
            bias = (int(op.bias[channel]) + (1 << op.shift - 1) + (op.output.zero << op.shift)
                    - op.input.zero * int(weight.sum()) * mult + ones * scale * mult)
            if op.residual is not None:
                bias -= op.residual.zero * op.res_mult
            digits = [weight] if len(parts) == 1 else split_weight(weight)[::-1]
            prove(op, channel, digits, ones, mult, bias, c)
            position = int(place_of[channel])
            records[slot] = pack_record(PARAM_FIELDS, {
                "bias": bias, "mult": mult, "lane": position % c.ic, "valid": 1, "join": int(joined),
                "second": position // c.ic - tile.group}, PARAM_BYTES)
            if joined:
                records[slot + 1] = pack_record(PARAM_FIELDS, {"mult": mult}, PARAM_BYTES)
        order = words.reshape(taps * depth, c.ic, c.slots).transpose(0, 2, 1)
        return gather(order), b"".join(records)
