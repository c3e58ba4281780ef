"""What the post and pool units do: each function returns the places that a command writes, and their codes."""

from itertools import islice
from typing import NamedTuple

import numpy as np

from spec.commands import SUM_BITS, TABLE_RECORDS
from spec.errors import AlloyError
from spec.systems import DIGIT_BITS
from spec.views import view_of, walk

from .array import Sums, fits
from .memories import EMPTY, Command, Memories, Place, inside

__all__ = ["Writes", "pool", "post"]

Writes = list[tuple[Place, np.ndarray]]


class _Spots(NamedTuple):
    """Bank and address of each output pixel."""
    bank: np.ndarray
    addr: np.ndarray


def post(m: Memories, cmd: Command, sums: Sums) -> Writes:
    """Requantizes the sums of a command."""
    out = _spots(m, cmd, "out", sums)
    res = _spots(m, cmd, "res", sums) if cmd["residual"] else None
    groups = range(1 + cmd["straddle"])
    if res is not None:
        for group in groups:
            sums.read[cmd["mem_res"], res.bank, res.addr + group] = True
    m.apart(cmd, [(cmd["mem_out"], out.bank, out.addr + group) for group in groups], sums.read)
    params = [p for p in m.params[cmd["param_base"]:cmd["param_base"] + m.config.slots] if p is not None]
    if len(params) < m.config.slots:
        raise AlloyError(f"layer {cmd['tag']} uses parameters that are not loaded")
    values = sums.values[sums.live]
    return [((cmd["mem_out"], out.bank, out.addr + p["second"], p["lane"]), _codes(m, cmd, slot, params, values, res))
            for slot, p in enumerate(params) if p["valid"]]


def _spots(m: Memories, cmd: Command, prefix: str, sums: Sums) -> _Spots:
    """Where the output pixels of a command lie in the view ``prefix``."""
    visit = walk(view_of(cmd, prefix), cmd["rows"], min(cmd["cols"], cmd["pitch"]), m.config.pixels,
                 (cmd["start_y"], cmd["start_x"]))
    count = int(sums.live.sum())
    spots = np.array(list(islice(visit, count)), int).reshape(-1, 4)
    bank, addr = spots[:, 2], spots[:, 3]
    if count:
        inside(cmd, "activation words", addr.min(), np.ptp(addr) + 1 + cmd["straddle"], m.config.act_depth)
    return _Spots(bank, addr)


def _codes(m: Memories, cmd: Command, slot: int, params: list[Command], sums: np.ndarray,
           res: _Spots | None) -> np.ndarray:
    """Codes of the filter in ``slot``, which may be joined with the next slot."""
    c, p = m.config, params[slot]
    if p["lane"] >= c.ic or not -(1 << SUM_BITS - 1) <= p["bias"] < 1 << SUM_BITS - 1:
        raise AlloyError(f"layer {cmd['tag']} slot {slot} has parameters that the engine does not hold")
    if p["second"] and not cmd["straddle"]:
        raise AlloyError(f"layer {cmd['tag']} slot {slot} writes a second group, but its command has no straddle")
    value = sums[:, slot] * p["mult"] + p["bias"]
    if p["join"]:
        if slot % 2 or slot + 1 >= c.dsp_filters:
            raise AlloyError(f"layer {cmd['tag']} joins slot {slot} to the next: pairs begin at even DSP slots")
        value = value + (sums[:, slot + 1] * params[slot + 1]["mult"] << DIGIT_BITS)
    if res is not None:
        code = m.act[cmd["mem_res"], res.bank, res.addr + p["second"], p["lane"]].astype(np.int64)
        if (code == EMPTY).any():
            raise AlloyError(f"layer {cmd['tag']} adds a residual that nothing has written")
        value = value + code * cmd["res_mult"]
    fits(cmd, "requantizer", value, SUM_BITS)
    codes = np.clip(value >> cmd["shift"], cmd["lo"], cmd["hi"])
    return _looked_up(m, cmd, codes) if cmd["table"] else codes


def _looked_up(m: Memories, cmd: Command, codes: np.ndarray) -> np.ndarray:
    """Codes behind the table of a command."""
    first = (cmd["table"] - 1) * TABLE_RECORDS
    found = m.tables[first:first + TABLE_RECORDS].reshape(-1)[codes]
    if (found == EMPTY).any():
        raise AlloyError(f"layer {cmd['tag']} uses a table that is not loaded")
    return found


def pool(m: Memories, cmd: Command) -> Writes:
    """Maximum over the taps; a channel with an unwritten operand stays unwritten."""
    taps, read, writes = m.tap_records(cmd), m.nothing_read(), []
    sources, targets = (walk(view_of(cmd, prefix), cmd["rows"], cmd["cols"], m.config.pixels)
                        for prefix in ("res", "out"))
    for source, (_, _, bank, addr) in zip(sources, targets, strict=True):
        inside(cmd, "activation words", addr, cmd["groups"], m.config.act_depth)
        writes.append(((cmd["mem_out"], bank, slice(addr, addr + cmd["groups"])), _best(m, cmd, taps, source, read)))
    m.apart(cmd, [place for place, _ in writes], read)
    return writes


def _best(m: Memories, cmd: Command, taps: list[Command], source: tuple[int, int, int, int],
          read: np.ndarray) -> np.ndarray:
    """Largest codes (groups, ic) of the window at ``source``; marks what it reads."""
    c, (y, x, bank, addr) = m.config, source
    best = np.zeros((cmd["groups"], c.ic), np.int64)
    empty = np.zeros(best.shape, bool)
    for tap in taps:
        if 0 <= y + tap["dy"] < tap["rows"] and 0 <= x + tap["dx"] < tap["cols"]:
            at = bank + tap["rot"]
            word = addr + tap["addr"] + (cmd["res_groups"] if at >= c.pixels else 0)
            inside(cmd, "activation words", word, cmd["groups"], c.act_depth)
            where = cmd["mem_in"], at % c.pixels, slice(word, word + cmd["groups"])
            codes, read[where] = m.act[where], True
            best, empty = np.maximum(best, codes), empty | (codes == EMPTY)
    return np.where(empty, EMPTY, best)
