"""The systolic grid; the grid with its weight buffer and the FIFO of finished rows."""

from itertools import product

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out

from spec import latency, memories
from spec.config import DSP_DEVICES, LUT_FORMS
from spec.errors import AlloyError
from spec.kwords import word_bits
from spec.packing import columns
from spec.rows import ROW_TAPS, enough
from spec.systems import DIGIT_BITS

from ..memory import WeightColumn
from ..prim import (
    STEP, Parameter, Queue, ResetInserter, WithFilters, add_shared, check_out_pixels, delay, lanes_layout, write_port)
from .pe import act_layout
from .pe_dsp import DspPE
from .pe_lut import LutPE

__all__ = ["Core", "PEArray"]


class Grid(WithFilters):
    """Sizes of the array, under their names in :class:`spec.config.EngineConfig`."""
    ic = Parameter()
    pixels = Parameter(2, even=True)
    out_pixels = Parameter()
    act_digit_bits = Parameter(high=8)
    acc_width = Parameter(2)
    row_taps = Parameter(high=ROW_TAPS)
    dsp_device = Parameter(choices=DSP_DEVICES)
    portable_dsp = Parameter(choices=(False, True))
    lut_form = Parameter(choices=LUT_FORMS)

    def check(self) -> None:
        if not self.slots:
            raise AlloyError(f"no {type(self).__name__} has no filter slots: give dsp_filters or lut_filters")
        if not enough(self.row_taps, self.ic, self.dsp_filters, self.lut_filters):
            raise AlloyError(f"no {type(self).__name__} of {self.ic} channels has row_taps {self.row_taps} of "
                             f"{self.slots} filter slots: give 1, or raise ic")
        check_out_pixels(type(self).__name__, self)

    @property
    def row_layout(self) -> data.ArrayLayout:
        """Results of a row: ``[pixel][slot]``."""
        return lanes_layout(self, 2)

    def _previous(self):
        """Member for the pixel pair before the first one."""
        return {"previous": In(act_layout(self))} if self.row_taps > 1 else {}


class PEArray(Grid):
    """``pixels/2`` rows of elements; columns are DSP elements (two filter slots), then LUT elements (one).

    One k-step each cycle. The rows leave in chains of as many neighbours (:func:`spec.latency.chains`), and the slots
    of a row in parts, one after the other (:func:`spec.latency.parts`). The last part of row 0 of a tile comes
    ``latency`` cycles after its last step; in its chain each row comes two cycles after the one above, and the first
    row of a chain as many cycles later as there are rows above it. Tiles must be :func:`spec.latency.apart` cycles
    apart, or more.

    Parameters
    ----------
    ic, pixels, out_pixels, dsp_filters, lut_filters, act_digit_bits, acc_width, row_taps, dsp_device, portable_dsp,
    lut_form : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    step, acts : a k-step and the activations of all lanes; row ``r`` is delayed by ``r`` cycles in here.
    weights : nibbles of all slots, slot-major; those of column ``c`` come ``c`` cycles after ``step``.
    row, row_valid : the rows of each chain; ``row_valid`` is that of the first part.

    Raises
    ------
    AlloyError : a parameter out of range, or no filter slot.
    """

    @property
    def latency(self) -> int:
        return latency.array(self)

    def members(self) -> dict[str, Member]:
        return {"step": In(STEP), "acts": In(data.ArrayLayout(act_layout(self), self.pixels // 2)), **self._previous(),
                "weights": In(word_bits(self.slots, self.ic)),
                "row": Out(data.ArrayLayout(self.row_layout, latency.chains(self))),
                "row_valid": Out(latency.chains(self))}

    def elaborate(self, platform):
        m = Module()
        rows, widths, totals = self.pixels // 2, columns(self), latency.totals(self)
        grid = [[(DspPE if slots == DspPE.SLOTS else LutPE).of(self, total_latency=totals) for slots in widths]
                for _ in range(rows)]
        slot, together = 0, latency.parts(self)
        ends = [-1 + sum(sum(widths[:n + 1]) <= part.stop for n in range(len(widths))) for part, _ in together]
        for column, slots in enumerate(widths):
            for row in range(rows):
                pe = grid[row][column]
                add_shared(m, f"pe{row}_{column}", pe, platform)
                self._join(m, grid, row, column, slot, slots)
            tops = grid[::latency.chain_rows(self)]
            wait = next(end for end in ends if end >= column) - column      # for the last column of its part
            for chain, s, pixel in product(range(len(tops)), range(slots), range(2)):
                drain = tops[chain][column].drain[2 * s + pixel]
                m.d.comb += self.row[chain][pixel][slot + s].eq(delay(m, drain, wait, plain=True))
            slot += slots
        m.d.comb += self.row_valid.eq(Cat(top[ends[0]].drain_valid for top in tops))
        return m

    def _join(self, m, grid, row, column, slot, slots):
        """One element to its neighbours at the left, above and below."""
        pe = grid[row][column]
        if column:
            left = grid[row][column - 1]
            m.d.comb += [pe.step.eq(left.step_out), pe.acts.eq(self._turned(left.acts_out, left.SLOTS))]
        else:
            m.d.comb += [pe.step.eq(delay(m, self.step, row)), pe.acts.eq(delay(m, self.acts[row], row, flops=True))]
        if row:
            m.d.comb += pe.weights.eq(grid[row - 1][column].weights_out)
        else:
            words = data.View(data.ArrayLayout(data.ArrayLayout(DIGIT_BITS, self.ic), self.slots), self.weights)
            m.d.comb += pe.weights.eq(Cat(self._turned([words[slot + s] for s in range(slots)], slot)))
        for pixel, s in product(range(2), range(slots if self.row_taps > 1 else 0)):
            digit = grid[row - 1][column].acts_out[pixel][s] if row else self.previous[pixel][slot + s]
            m.d.comb += pe.previous[pixel][s].eq(delay(m, digit, 1 if row else column + 1, plain=True))
        if (row + 1) % latency.chain_rows(self):
            lower = grid[row + 1][column]
            m.d.comb += [pe.below.eq(lower.drain), pe.below_valid.eq(lower.drain_valid)]


    def _turned(self, vectors, slots):
        """Vectors of channels with the first ``slots`` behind the others: in a row of taps, a column's first lanes are
        those of its slots."""
        first = slots if self.row_taps > 1 else 0
        return Cat(vector[(first + i) % self.ic] for vector in vectors for i in range(self.ic))


class Core(Grid):
    """Weight buffer, array and rows FIFO.

    One k-step each cycle. The first ``lanes`` of a tile are there ``latency`` cycles after its last step, if no other
    waits before them.

    Parameters
    ----------
    weight_depth : k-words of the weight buffer. The others are those of :class:`PEArray`.

    Members
    -------
    write : a k-word, readable after two cycles.
    step, r_addr : a k-step and its k-word.
    acts : its activations, :data:`spec.latency.READ` cycles later. previous : with ``row_taps``, those of the two
        pixels before the first one.
    room, reserve : ``reserve`` claims room for the rows of one tile, only while ``room`` is high; the tile's last step
        follows by any fixed number of cycles. ``room`` is low while the FIFO could overflow or tiles would end closer
        than the drain allows.
    row : ``payload[lane][slot]`` are the accumulators of the next ``lanes`` lanes.
    idle : no row is here or on its way.
    clear : forget what is under way; until it is gone there is no room.

    Raises
    ------
    AlloyError : a parameter out of range, or no filter slot.
    """
    weight_depth = Parameter()

    @property
    def latency(self) -> int:
        return latency.rows(self)

    @property
    def lanes(self) -> int:
        """That leave the FIFO together."""
        return latency.lanes(self)

    def members(self) -> dict[str, Member]:
        return {"write": In(write_port(memories.weights(self, self.slots))),
                "step": In(STEP), "r_addr": In(range(self.weight_depth)),
                "acts": In(data.ArrayLayout(data.ArrayLayout(self.act_digit_bits, self.ic), self.pixels)),
                **self._previous(),
                "room": Out(1), "reserve": In(1), "row": Out(stream.Signature(lanes_layout(self, self.lanes))),
                "idle": Out(1), "clear": In(1)}

    def elaborate(self, platform):
        m = Module()
        array = PEArray.of(self)
        add_shared(m, "array", array, platform)
        step = self.step
        for _ in range(latency.READ):
            later = Signal(STEP)
            m.d.sync += later.eq(step)
            step = later
        m.d.comb += [array.step.eq(step), array.acts.eq(self.acts)]
        if self.row_taps > 1:
            m.d.comb += array.previous.eq(self.previous)
        self._weights(m, array, platform)
        self._rows(m, array)
        return m

    def _weights(self, m, array, platform):
        """The buffer; writes go through one register on their way to the columns."""
        w_en, w_addr = Signal(), Signal(range(self.weight_depth), reset_less=True)
        w_data = Signal(len(self.write.data), reset_less=True)
        m.d.sync += [w_en.eq(self.write.en), w_addr.eq(self.write.addr), w_data.eq(self.write.data)]
        r_addr, low = self.r_addr, 0
        for index, slots in enumerate(columns(self)):
            shape = memories.weights(self, slots)
            column = WeightColumn(depth=shape.depth, width=shape.width)
            add_shared(m, f"weights{index}", column, platform)
            m.d.comb += [column.write.en.eq(w_en), column.write.addr.eq(w_addr),
                         column.write.data.eq(w_data[low:low + shape.width]),
                         column.r_addr.eq(r_addr), array.weights[low:low + shape.width].eq(column.r_data)]
            r_addr, low = column.r_addr_out, low + shape.width

    def _rows(self, m, array):
        """A FIFO for each chain of rows, and the room in them."""
        tile = self.pixels // self.lanes        # entries of a tile
        depth = latency.tiles(self) * tile
        # After a clear the array may still deliver rows of the work thrown away: nothing is taken until it is empty.
        flight = array.latency + 1 + 3 * self.pixels + latency.READ + 16
        apart = latency.apart(self)
        flush, gap, used = Signal(range(flight + 1)), Signal(range(apart + 1)), Signal(range(depth + 1))
        pop, apart_enough = Signal(), Signal(init=1)
        outputs = [self._chain(m, array, chain, flush != 0) for chain in range(latency.chains(self))]
        # Chains whose rows fill an entry together, and entries that each of them has of a tile.
        beside = max(1, self.lanes // 2 // latency.chain_rows(self))
        groups = [outputs[first:first + beside] for first in range(0, len(outputs), beside)]
        turn = self._turns(m, tile // len(groups), len(groups), pop)
        for number, group in enumerate(groups):
            m.d.comb += [out.ready.eq(pop & (turn == number)) for out in group]
        # The rows of the last chain of a group come last.
        m.d.comb += [
            self.row.valid.eq(Array(group[-1].valid for group in groups)[turn]),
            self.row.payload.eq(Array(Cat(map(self._row, group)) for group in groups)[turn]),
            pop.eq(self.row.valid & self.row.ready),
            self.room.eq((used <= depth - tile) & apart_enough),
            self.idle.eq((used == 0) & (flush == 0))]
        m.d.sync += apart_enough.eq(~gap[1:].any() & ~flush[1:].any() & ~(self.reserve & (apart > 1)) & ~self.clear)
        with m.If(self.reserve):
            m.d.sync += gap.eq(apart - 1)
        with m.Elif(gap != 0):
            m.d.sync += gap.eq(gap - 1)
        m.d.sync += used.eq(used + Mux(self.reserve, Mux(pop, tile - 1, tile), Mux(pop, -1, 0)))
        with m.If(self.clear):
            m.d.sync += [flush.eq(flight), used.eq(0), gap.eq(0)]
        with m.Elif(flush != 0):
            m.d.sync += flush.eq(flush - 1)

    def _turns(self, m, entries, groups, pop):
        """Number of the group of chains whose turn it is: each has so many ``entries`` of a tile."""
        entry, turn = Signal(range(entries)), Signal(range(groups))
        with m.If(self.clear):
            m.d.sync += [entry.eq(0), turn.eq(0)]
        with m.Elif(pop):
            m.d.sync += entry.eq(entry + 1)
            with m.If(entry == entries - 1):
                m.d.sync += [entry.eq(0), turn.eq(Mux(turn == groups - 1, 0, turn + 1))]
        return turn

    def _chain(self, m, array, chain, flushes):
        """The rows of a chain, those of one entry together, part by part; its end of the FIFO."""
        rows, shape, valid, payload = latency.entry_rows(self), memories.rows(self), Signal(name=f"valid{chain}"), []
        m.d.comb += valid.eq(array.row_valid[chain] & ~flushes)
        for part, (slots, later) in enumerate(latency.parts(self)):
            here, number = delay(m, valid, later), Signal(range(rows), name=f"number{chain}_{part}")
            together = [Cat(pixel[slot] for pixel in array.row[chain] for slot in slots)]
            full = here & (number == rows - 1)
            with m.If(here):
                m.d.sync += number.eq(Mux(number == rows - 1, 0, number + 1))
                for n in range(rows - 1):
                    before = Signal(len(together[0]), name=f"row{chain}_{part}_{n}", reset_less=True)
                    m.d.sync += before.eq(together[0])
                    together.insert(0, before)
            with m.If(flushes):
                m.d.sync += number.eq(0)
            payload += together
            if not part:
                come = full
        late = [(part.width, later) for part, later in memories.row_parts(self)]
        fifo = Queue(shape.width, shape.depth, buffered=True, reserved=True, block=shape.ram == "block", late=late)
        m.submodules[f"fifo{chain}"] = ResetInserter(self.clear)(fifo)
        m.d.comb += [fifo.i.valid.eq(come), fifo.i.payload.eq(Cat(payload))]
        return fifo.o

    def _row(self, out):
        """The lanes in an entry of a chain, ``[lane][slot]``."""
        rows, bits, at, found = latency.entry_rows(self), self.acc_width, 0, {}
        for slots, _ in latency.parts(self):
            for lane, slot in product(range(2 * rows), slots):
                found[lane, slot] = out.payload[at:at + bits]
                at += bits
        return Cat(found[key] for key in sorted(found))
