"""What the feeder and the array do, with the bit patterns of the hardware: digits of codes, one's-complement sums."""

from itertools import product
from typing import NamedTuple

import numpy as np

from spec.commands import FIELDS
from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.packing import columns
from spec.rows import lane
from spec.systems import columns_of

from .memories import EMPTY, Command, Memories, inside

__all__ = ["Array", "Sums", "fits", "met_in_row"]


class Sums(NamedTuple):
    """Of a command: ``values`` (pixels, slots), which of the pixels are outputs, and flags of the words read."""
    values: np.ndarray
    live: np.ndarray
    read: np.ndarray


class _Pixels(NamedTuple):
    """The pixels that a command computes: rows and columns of what they read, places from that of ``in_base`` on, which
    are outputs."""
    y: np.ndarray
    x: np.ndarray
    place: np.ndarray
    live: np.ndarray


def fits(cmd: Command, what: str, values: np.ndarray, bits: int) -> None:
    """Refuse signed values of more than ``bits`` bits."""
    if values.size and not -(1 << bits - 1) <= values.min() <= values.max() < 1 << bits - 1:
        raise AlloyError(f"layer {cmd['tag']} overflows the {bits}-bit {what}")


def met_in_row(values: np.ndarray, config: EngineConfig) -> np.ndarray:
    """Weights (slots, ic) of a k-step in a row by what they meet, (row_taps, slots, ic): codes of the channels of the
    pixel itself, of the one before, and so on."""
    out, first = np.zeros((config.row_taps, *values.shape), values.dtype), 0
    for width in columns(config):
        slots = slice(first, first + width)
        out[0, slots] = values[slots]
        for back, own in product(range(1, config.row_taps), range(first, first + width)):
            at = lane(own, back, width, config.ic)
            out[0, slots, at], out[back, slots, own] = 0, values[slots, at]
        first += width
    return out


def leads(cmd: Command) -> int:
    """Lanes before the first pixel of a command's output: one where a convolution of taps in a row begins."""
    return int(bool(cmd["in_row"] and not cmd["start_y"] and not cmd["start_x"]))


class Array:
    """Keeps the sums of a part, to be continued by the next command."""

    def __init__(self, memories: Memories):
        self._memories = memories
        self._acc: np.ndarray | None = None
        # Of the last command in a row: digits (2, ic) of the last two pixels of its k-steps, and where it ends.
        self._kept: dict[int, np.ndarray] = {}
        self._end: tuple[int, ...] = ()

    def convolve(self, cmd: Command) -> Sums:
        """The sums of a CONV, and of the parts before it."""
        c, digits = self._memories.config, 2 if cmd["wide"] else 1
        pixels, read = self._pixels(cmd), self._memories.nothing_read()
        if cmd["acc_first"]:
            acc = np.zeros((digits, len(pixels.y), c.slots), np.int64)
        elif self._acc is None or len(self._acc) != digits:
            raise AlloyError(f"layer {cmd['tag']} goes on with sums that nothing has begun")
        else:
            acc = self._acc
        self._follow(cmd)
        for number, tap in enumerate(self._memories.tap_records(cmd)):
            first = cmd["weight_base"] + (0 if cmd["shared"] else number * cmd["depth"])
            self._tap(cmd, number, tap, first, pixels, read, acc)
        fits(cmd, "accumulator", acc[:, pixels.live], c.acc_width)
        sums = acc[0] + (acc[1] << c.act_digit_bits if cmd["wide"] else 0)
        fits(cmd, "sum of two pixel digits", sums[pixels.live], c.joined_width)
        self._acc = None if cmd["acc_last"] else acc
        return Sums(sums, pixels.live, read)

    def _follow(self, cmd: Command) -> None:
        """Refuse a command in a row that goes on with other pixels than those behind the last one."""
        if not cmd["in_row"]:
            return
        c, lead = self._memories.config, leads(cmd)
        at = 0 if lead else cmd["start_y"] * cmd["pitch"] + cmd["start_x"] + 1
        base = cmd["in_base"] - at // c.pixels * cmd["groups"]
        if not lead and self._end != (cmd["tag"], base, cmd["taps"], at):
            raise AlloyError(f"layer {cmd['tag']} goes on in a row with pixels that do not follow on the last ones")
        self._end = cmd["tag"], base, cmd["taps"], at + cmd["tiles"] * c.pixels

    def _pixels(self, cmd: Command) -> _Pixels:
        c = self._memories.config
        count = c.pixels // 2 if cmd["wide"] else c.pixels
        each = np.arange(cmd["tiles"] * count)
        pitch, out = cmd["pitch"], cmd["start_y"] * cmd["pitch"] + cmd["start_x"] - leads(cmd)
        y, x = np.divmod(out + cmd["in_row"] + each, pitch)
        row, col = np.divmod(out + each, pitch)         # of the output
        if (cmd["step_y"], cmd["step_x"]) != divmod(count, cmd["pitch"]) or y[-1] >= 1 << FIELDS["start_y"].width:
            raise AlloyError(f"layer {cmd['tag']} has steps that are no {count} pixels, or too many rows")
        half = c.pixels // 2 if cmd["half"] and cmd["wide"] else 0
        return _Pixels(y, x, each + half, (row >= 0) & (row < cmd["rows"]) & (col < cmd["cols"]))

    def _tap(self, cmd: Command, number: int, tap: Command, word: int, pixels: _Pixels, read: np.ndarray,
             acc: np.ndarray) -> None:
        """Add the products of one tap, whose k-words begin at ``word``, to ``acc``."""
        c, act = self._memories.config, self._memories.act[cmd["mem_in"]]
        y, x = pixels.y + tap["dy"], pixels.x + tap["dx"]
        real = (y >= 0) & (y < tap["rows"]) & (x >= 0) & (x < tap["cols"])
        # Of taps in a row, also those of the pixels before.
        ahead = c.row_taps if cmd["in_row"] else 1
        live = [np.concatenate([pixels.live[back:], np.ones(back, bool)]) for back in range(ahead)]
        needed, (row, bank) = real & np.any(live, 0), np.divmod(pixels.place + tap["rot"], c.pixels)
        base = cmd["in_base"] + row * cmd["groups"] + tap["addr"]
        if needed.any():
            first, last = base[needed].min(), base[needed].max()
            inside(cmd, "activation words", first, last - first + cmd["depth"], c.act_depth)
        for group in range(cmd["depth"]):
            addr = (base + group) % c.act_depth
            codes = act[bank, addr]
            read[cmd["mem_in"], bank[needed], addr[needed]] = True
            values, ones = self._word(cmd, word + group)
            met = met_in_row(values, c) if cmd["in_row"] else values[None]
            for uses, weights in zip(live, met, strict=True):
                self._readable(cmd, codes[real & uses][:, (weights != 0).any(0)], len(acc))
            codes = np.where(real[:, None], np.maximum(codes, 0), cmd["zero"])
            for digit, sums in enumerate(acc):
                # Sums are far below 2**53: float64 is exact, and fast.
                part = codes >> digit * c.act_digit_bits & (1 << c.act_digit_bits) - 1
                if cmd["in_row"]:
                    zero = np.full((2, c.ic), cmd["zero"] & (1 << c.act_digit_bits) - 1)
                    kept = zero if leads(cmd) else self._kept[number]
                    part, self._kept[number] = np.concatenate([kept, part]), part[-2:]
                line, first = part.astype(np.float64), len(part) - len(sums)
                for back, weights in enumerate(met):
                    sums += (line[first - back:len(line) - back] @ weights.T).astype(np.int64)
                sums -= ones

    def _readable(self, cmd: Command, codes: np.ndarray, digits: int) -> None:
        bits = digits * self._memories.config.act_digit_bits
        if (codes == EMPTY).any():
            raise AlloyError(f"layer {cmd['tag']} reads activations that nothing has written")
        if (codes >> bits).any():
            raise AlloyError(f"layer {cmd['tag']} reads codes of more than {bits} bits")

    def _word(self, cmd: Command, address: int) -> tuple[np.ndarray, np.ndarray]:
        """Weights (slots, ic) of a k-word as float64 and the one's-complement terms of each slot."""
        c = self._memories.config
        nibbles = self._memories.weights[address]
        if (nibbles == EMPTY).any():
            raise AlloyError(f"layer {cmd['tag']} uses weights that are not loaded")
        parts = [(column, nibbles[slots]) for column, slots in columns_of(c)]
        if any(column.unknown(part) for column, part in parts):
            raise AlloyError(f"layer {cmd['tag']} has weights that no scheme has: -8 in an odd slot or a negative zero")
        values = [column.decode(part) for column, part in parts]
        ones = [column.ones(value) for (column, _), value in zip(parts, values, strict=True)]
        return np.concatenate(values).astype(np.float64), np.concatenate(ones).sum(1)
