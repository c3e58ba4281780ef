"""Visits the pixels of a view (docs/architecture.md) with adders only."""

from amaranth.hdl import Module, Mux, Signal, Value, ValueLike
from amaranth.lib import data
from amaranth.lib.wiring import In, Member, Out

from spec.errors import AlloyError

from .block import Block, Parameter
from .layouts import VIEW
from .small import small_difference, small_sum, sum_of_three

__all__ = ["Locator", "advance", "at_once", "visited_apart"]


def advance(m: Module, pixels: int, bank: Value, addr: Value, step_bank: ValueLike, step_addr: ValueLike,
            more: ValueLike, behind: ValueLike) -> tuple[Value, Value]:
    """Combinational ``(bank, addr)`` moved on by ``step_bank`` (< ``pixels``) banks and ``step_addr + more`` words.

    Passing the last bank wraps to bank 0, with ``behind`` instead of ``more``, which is the groups of a pixel more.
    """
    bank, wrap = _turned(m, pixels, bank, step_bank)
    return bank, sum_of_three(addr, step_addr, Mux(wrap, behind, more))


def _turned(m, pixels, bank, step):
    """A bank so many further, and whether that passes the last one."""
    total, wrap = Signal(range(2 * pixels)), Signal()
    m.d.comb += total.eq(small_sum(bank, step))
    if not pixels & pixels - 1:
        m.d.comb += wrap.eq(total[-1])
        return total[:-1], wrap
    left, below = small_difference(total, pixels)
    m.d.comb += wrap.eq(~below)
    return Mux(wrap, left, total)[:len(bank)], wrap


def visited_apart(command: data.View, prefix: str, x: Value) -> Value:
    """Whether column ``x`` of the view ``prefix`` of a command lies in the odd one of two planes: of so many pixels as
    there are at once, from there on, the last would lie in a bank that goes with that of the first
    (:meth:`compiler.layout.Placement.shift`)."""
    return command[f"{prefix}_phase_x"] & (x[0] ^ command[f"{prefix}_par_x"])


def at_once(count: Value, apart: Value, most: int) -> Value:
    """How many of ``count`` pixels of a row, at most ``most``, are visited at once."""
    return Mux(apart & (count == most), most - 1, count) if most > 1 else count


class Locator(Block):
    """Places (bank, address of group 0) of one pixel after the other, and of those that follow it in its row.

    Latency 1: places are valid in the cycle after ``load``, ``step`` or ``next_row``.

    Parameters
    ----------
    pixels : banks of a memory.
    act_depth : words of a bank. count : pixels at once.

    Members
    -------
    view, start_x : the view, and the parity of the first pixel's column relative to the region; taken by ``load``.
    load, next_row : to the first pixel, to the first of the next row; the first of these counts.
    step : so many pixels further in the row.
    hold : neither ``next_row`` nor ``step`` counts in this cycle.
    place : where they lie.
    """
    pixels = Parameter(2)
    act_depth = Parameter()
    count = Parameter()

    def check(self) -> None:
        if self.count > self.pixels:
            raise AlloyError(f"no Locator of {self.pixels} pixels has count {self.count}: give {self.pixels} or less")

    def members(self) -> dict[str, Member]:
        place = data.StructLayout({"bank": range(self.pixels), "addr": range(self.act_depth)})
        return {"view": In(VIEW), "start_x": In(1), "load": In(1), "step": In(range(self.count + 1)), "next_row": In(1),
                "hold": In(1), "place": Out(data.ArrayLayout(place, self.count))}

    def elaborate(self, platform):
        m = Module()
        bank_t, addr_t = range(self.pixels), range(self.act_depth)
        row, cur = ([(Signal(bank_t, name=f"{name}_bank{p}", reset_less=True),
                      Signal(addr_t, name=f"{name}_addr{p}", reset_less=True)) for p in range(count)]
                    for name, count in (("row", 4), ("cur", 2)))
        groups, step_addr, step_more, step_bank = (
            Signal(shape, reset_less=True) for shape in (8, addr_t, addr_t, bank_t))
        phase_x, phase_y, par_x, px, py = (Signal(reset_less=True) for _ in range(5))
        v = self.view

        next_words = [(addr + groups)[:len(addr)] for _, addr in cur]

        def further(p, steps):
            if isinstance(steps, int):
                return cur[p]
            bank, wrap = _turned(m, self.pixels, cur[p][0], steps)
            return bank, Mux(wrap, next_words[p], cur[p][1])
        for ahead in range(self.count):
            # Of two planes, every other pixel.
            odd, steps = px ^ (phase_x & ahead % 2), Mux(phase_x, ahead // 2, ahead) if ahead else 0
            for name, even, other in zip(("bank", "addr"), further(0, steps), further(1, steps), strict=True):
                m.d.comb += self.place[ahead][name].eq(Mux(odd, other, even))
        # Outside of the conditions: what they choose from is there before they are known.
        flipped, moved, after_step = Signal(), [], []
        m.d.comb += flipped.eq(py ^ phase_y)
        for bank, addr in row:
            bank, wrap = _turned(m, self.pixels, bank, step_bank)
            moved.append((bank, addr + Mux(wrap, step_more, step_addr)))
        for p in range(2):
            steps = Mux(phase_x, small_sum(self.step, px == p)[1:], self.step)
            after_step.append(further(p, steps))
        with m.If(self.load):
            for p in range(4):
                m.d.sync += [row[p][0].eq(v[f"row_bank{p}"]), row[p][1].eq(v[f"row_addr{p}"])]
            for p in range(2):
                m.d.sync += [cur[p][0].eq(v[f"cur_bank{p}"]), cur[p][1].eq(v[f"cur_addr{p}"])]
            m.d.sync += [groups.eq(v.groups), step_addr.eq(v.step_addr), step_more.eq(v.step_addr + v.groups),
                         step_bank.eq(v.step_bank), phase_x.eq(v.phase_x), phase_y.eq(v.phase_y), par_x.eq(v.par_x),
                         px.eq(v.phase_x & (v.par_x ^ self.start_x)), py.eq(v.phase_y & v.par_y)]
        with m.Elif(~self.hold):
            with m.If(self.next_row):
                m.d.sync += [py.eq(flipped), px.eq(phase_x & par_x)]
                # Only the rows of the parity just finished move on; with one row parity that is every row.
                for p in range(4):
                    with m.If(py == p >> 1):
                        m.d.sync += [row[p][0].eq(moved[p][0]), row[p][1].eq(moved[p][1])]
                for p in range(2):
                    for part in range(2):
                        after = Mux(flipped, row[2 + p][part], row[p][part])
                        m.d.sync += cur[p][part].eq(Mux(phase_y, after, moved[p][part]))
            with m.Else():
                m.d.sync += px.eq(px ^ (phase_x & self.step[0]))
                for p in range(2):
                    m.d.sync += [cur[p][part].eq(after_step[p][part]) for part in range(2)]
        return m
