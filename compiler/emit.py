"""Commands of each step, weight and parameter image, and the buffers they go through."""

import numpy as np

from spec.commands import PARAM_BYTES, PARAM_FIELDS, TAP_BYTES, TAP_FIELDS, Opcode, pack_record
from spec.errors import AlloyError

from .hazards import Hazards
from .prove import prove
from .slots import make_tiles, nibbles

__all__ = ["Emitter"]


class _Ring:
    """Contiguous ranges of a buffer, one after the other; hazards keep a new range from overtaking an old one."""

    def __init__(self, size):
        self.size, self.head = size, 0

    def take(self, count):
        start = self.head if self.head + count <= self.size else 0
        self.head = start + count
        return start


class Emitter:
    """Turns steps into commands. ``image`` grows with weights, parameters and taps; ``commands`` are (opcode, fields)."""

    def __init__(self, config, kinds):
        self.config, self.kinds = config, kinds
        self.image = bytearray()
        self._hazards = Hazards()
        self._weights, self._taps = _Ring(config.weight_depth), _Ring(config.tap_depth)
        self._params = _Ring(config.param_depth)
        self._regions, self._tiles = {}, {}

    @property
    def commands(self):
        return self._hazards.commands

    def tensor(self, value, region):
        """Give a value its DRAM region (placed later)."""
        self._regions[value] = region

    # -- activations ---------------------------------------------------------------------------------------------------
    def load(self, value, place, rows, cols, tag, at=(0, 0)):
        """LOAD_ACT of tensor rows and columns [lo, hi) to where the placement holds them (``at``: its first pixel)."""
        self._move(Opcode.LOAD_ACT, value, place, rows, cols, tag, at)

    def store(self, value, place, rows, cols, tag, at=(0, 0)):
        """STORE_ACT, the other way."""
        self._move(Opcode.STORE_ACT, value, place, rows, cols, tag, at)

    def _move(self, opcode, value, place, rows, cols, tag, at):
        region = self._regions[value]
        into = opcode == Opcode.LOAD_ACT
        start = rows[0] * region.stride + cols[0] * region.groups * region.group_bytes
        accesses = [(("act", place.mem), place.base, place.base + place.words, into, None),
                    (("dram", value.name), rows[0], rows[1], not into, None)]
        self._hazards.add(opcode, accesses, tag=tag, dram=start, value=value, stride=region.stride,
                          rows=rows[1] - rows[0], cols=cols[1] - cols[0], mem_out=place.mem,
                          **place.view("out", y=rows[0] - at[0], x=cols[0] - at[1]))

    # -- steps ---------------------------------------------------------------------------------------------------------
    def step(self, step):
        """All commands of one operation."""
        op = step.op
        for strip in step.strips:
            if op.input in step.dram:
                y, x = strip.input_at
                self.load(op.input, strip.input, (y, y + strip.input.height), (x, x + strip.input.width), op.tag, strip.input_at)
            if op.residual is not None and op.residual in step.dram:
                self.load(op.residual, strip.residual, (strip.y0, strip.y1), (strip.x0, strip.x1), op.tag, strip.residual_at)
            (self._conv if op.kind == "conv" else self._pool)(op, strip)
            if op.output in step.dram:
                self.store(op.output, strip.output, (strip.y0, strip.y1), (strip.x0, strip.x1), op.tag, strip.output_at)

    def _tap_records(self, op, strip):
        offset = (strip.y0 * op.stride[0] - op.padding[0] - strip.input_at[0],
                  strip.x0 * op.stride[1] - op.padding[1] - strip.input_at[1])
        return strip.input.taps(op.kernel, op.stride, offset)

    def _load_records(self, opcode, ring, per, data, tag, resource):
        """Records into a table: returns the first entry (``per`` records are one unit of the ring)."""
        size = PARAM_BYTES
        count = len(data) // size
        first = ring.take(-(-count // per)) * per
        # Records start at a whole beat.
        self._hazards.add(opcode, [((resource,), first, first + count, True, None)], tag=tag, dram=self._put(data), dst=first, count=count)
        return first

    def _put(self, data):
        align = max(64, self.config.wide_bytes)
        self.image.extend(bytes(-len(self.image) % align))
        offset = len(self.image)
        self.image.extend(data)
        return offset

    def _pool(self, op, strip):
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
        self._hazards.add(
            Opcode.POOL, [(("taps",), base, base + len(taps), False, None), self._act(source, False), self._act(out, True)],
            tag=op.tag, rows=rows, cols=cols, pitch=cols, tap_base=base, taps=len(taps), groups=source.groups,
            mem_in=source.mem, mem_out=out.mem, **plain,
            **out.view("out", y=strip.y0 - strip.output_at[0], x=strip.x0 - strip.output_at[1]))

    @staticmethod
    def _act(place, writes, stage=None):
        return ("act", place.mem), place.base, place.base + place.words, writes, stage

    # -- convolutions --------------------------------------------------------------------------------------------------
    def _conv(self, op, strip):
        c = self.config
        if op not in self._tiles:
            tiles = make_tiles(op, self.kinds[op], c)
            self._tiles[op] = [(tile, *self._tile_image(op, tile)) for tile in tiles]
        source, groups = strip.input, strip.input.groups
        taps = self._tap_records(op, strip)
        per = min(len(taps), c.weight_depth // groups, c.tap_depth)
        if per == 0:
            raise AlloyError(f"layer {op.name} has {groups} channel groups, more than the weight buffer's {c.weight_depth} words: "
                             "raise weight_depth")
        wide = op.input.bits > c.act_digit_bits
        if op.input.bits > 2 * c.act_digit_bits:
            raise AlloyError(f"layer {op.name} reads {op.input.bits}-bit codes, two digits hold {2 * c.act_digit_bits}: "
                             "raise act_digit_bits")
        npix = c.pixels // 2 if wide else c.pixels
        rows, cols = strip.y1 - strip.y0, strip.x1 - strip.x0
        tiles = -(-((rows - 1) * source.pitch + cols) // npix)
        chunks = [(t, min(t + per, len(taps))) for t in range(0, len(taps), per)]
        spans = [(0, tiles)] if len(chunks) == 1 else [(t, 1) for t in range(tiles)]
        for tile, weights, params in self._tiles[op]:
            for first, count in spans:
                for t0, t1 in chunks:
                    final = t1 == len(taps)
                    data = b"".join(pack_record(TAP_FIELDS, t, TAP_BYTES) for t in taps[t0:t1])
                    tap_base = self._load_records(Opcode.LOAD_TAPS, self._taps, 1, data, op.tag, "taps")
                    accesses, values = [self._act(source, False, "feed"), (("taps",), tap_base, tap_base + t1 - t0, False, "feed")], {}
                    if final:
                        param = self._load_records(Opcode.LOAD_PARAMS, self._params, c.slots, params, op.tag, "params")
                        accesses += [(("params",), param, param + c.slots, False, None), self._act(strip.output, True)]
                        values = self._outputs(op, strip, tile, first * npix, source.pitch) | {"param_base": param}
                        if op.residual is not None:
                            accesses.append(self._act(strip.residual, False))
                    words = (t1 - t0) * groups
                    base = self._weights.take(words)
                    self._load_weights(op, weights, t0 * groups, len(taps) * groups, words, base)
                    accesses.append((("weights",), base, base + words, False, "feed"))
                    start = first * npix
                    self._hazards.add(
                        Opcode.CONV, accesses, tag=op.tag, rows=rows, cols=cols, tap_base=tap_base, taps=t1 - t0, groups=groups,
                        tiles=count, in_base=source.base + start // c.pixels * groups, half=int(start % c.pixels != 0),
                        weight_base=base, pitch=source.pitch, step_y=npix // source.pitch, step_x=npix % source.pitch,
                        start_y=start // source.pitch, start_x=start % source.pitch, zero=op.input.zero, wide=int(wide),
                        acc_first=int(t0 == 0), acc_last=int(final), mem_in=source.mem, **values)

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

    def _load_weights(self, op, weights, low, total, words, base):
        """``words`` k-words from ``low`` on of a tile's streams; each port reads its own."""
        c = self.config
        beat_bytes = c.weight_beats * c.port_bytes
        self._hazards.add(Opcode.LOAD_WEIGHTS, [(("weights",), base, base + words, True, None)], tag=op.tag,
                          dram=weights + low * beat_bytes, stride=total * beat_bytes, dst=base, count=words)

    def _tile_image(self, op, tile):
        """Image offset of the weight streams and parameter records of one tile."""
        c = self.config
        groups = -(-op.input.channels // c.ic)
        taps = op.kernel[0] * op.kernel[1]
        words = np.zeros((taps, groups * c.ic, c.slots), np.uint8)
        words[..., c.dsp_filters:] = 7      # power-of-two zero
        records = [bytes(PARAM_BYTES)] * c.slots
        place_of = np.empty(len(op.weight), np.int64)
        place_of[op.output.order] = np.arange(len(op.weight))
        wide = op.input.bits > c.act_digit_bits
        scale = 1 + (1 << c.act_digit_bits) if wide else 1
        for channel, slot, joined in tile.members:
            weight = op.weight[channel][op.input.order].reshape(-1, taps)       # (positions, taps)
            parts, ones = nibbles(weight, slot, joined, c)
            for at, digits in parts:
                words[:, :len(weight), at] = digits.T
            mult = int(op.mult[channel])
            bias = (int(op.bias[channel]) + (1 << op.shift - 1) + (op.output.zero << op.shift)
                    - op.input.zero * int(weight.sum()) * mult + ones * scale * mult)
            if op.residual is not None:
                bias -= op.residual.zero * op.res_mult
            digits = [weight] if len(parts) == 1 else [((weight + 8) & 15) - 8, (weight - (((weight + 8) & 15) - 8)) >> 4]
            prove(op, channel, digits, ones, mult, bias, c)
            position = int(place_of[channel])
            records[slot] = pack_record(PARAM_FIELDS, {
                "bias": bias, "mult": mult, "lane": position % c.ic, "valid": 1, "join": int(joined),
                "second": position // c.ic - tile.group}, PARAM_BYTES)
        # k-word: nibble slot*ic + channel; then to bytes, beats and port streams.
        order = words.reshape(taps, groups, c.ic, c.slots).transpose(0, 1, 3, 2).reshape(taps * groups, c.slots * c.ic)
        size = c.weight_beats * c.wide_bytes
        padded = np.zeros((len(order), 2 * size), np.uint8)
        padded[:, :order.shape[1]] = order
        packed = padded[:, ::2] | padded[:, 1::2] << 4
        streams = packed.reshape(len(order), c.weight_beats, c.ports, c.port_bytes).transpose(2, 0, 1, 3)
        return self._put(streams.tobytes()), b"".join(records)
