"""Decoder of coded weights (:mod:`spec.coding`): one nibble of every lane in each cycle."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import stream
from amaranth.lib.wiring import In, Member, Out

from spec.coding import LANE_BITS, LONGEST
from spec.memories import Shape

from ..prim import Block, Parameter, Queue, ResetInserter, add_shared, ram

__all__ = ["DecodeLane", "WeightDecoder"]

SYMBOL_BITS, SIZE_BITS = 4, 3
WINDOWS = 1 << LONGEST
STUCK = 7              # cycles without a step or a word that fits: some lane is full while another starves
SHIFTER = 16            # bits: fewer let many lanes of few bits wait for each other


class DecodeLane(Block):
    """One stream: words wait in a FIFO, the next 16 bits and more in a shift register, whose first ``LONGEST`` address
    the code table.

    Parameters
    ----------
    width : bits of a word.

    Members
    -------
    push, word : the next bits; ``room``: they can be taken in this cycle.
    fill, window, entry : writes the code table: size and symbol of a window.
    enough : ``symbol`` is that of the next code; ``step`` takes it.
    clear : forget all bits; the table stays.
    """

    width = Parameter(2, high=32)

    def members(self) -> dict[str, Member]:
        return {
            "push": In(1), "word": In(self.width), "room": Out(1), "fill": In(1), "window": In(LONGEST),
            "entry": In(SYMBOL_BITS + SIZE_BITS), "enough": Out(1), "symbol": Out(SYMBOL_BITS), "step": In(1),
            "clear": In(1)}

    def elaborate(self, platform):
        m, capacity = Module(), max(SHIFTER, LONGEST + 1 + self.width)
        words = Queue(self.width, LANE_BITS // self.width)
        m.submodules.words = ResetInserter(self.clear)(words)
        m.submodules.table = table = ram(Shape(WINDOWS, SYMBOL_BITS + SIZE_BITS))
        write, read = table.write_port(), table.read_port(domain="comb")
        bits, have = Signal(capacity), Signal(range(capacity + 1))
        size, rest, left, taken = Signal(SIZE_BITS), Signal(capacity), Signal(range(capacity + 1)), Signal()
        m.d.comb += [
            write.en.eq(self.fill), write.addr.eq(self.window), write.data.eq(self.entry),
            read.addr.eq(bits[:LONGEST][::-1]), self.symbol.eq(read.data[SIZE_BITS:]), self.enough.eq(have >= LONGEST),
            words.i.valid.eq(self.push), words.i.payload.eq(self.word), self.room.eq(words.i.ready),
            size.eq(Mux(self.step, read.data[:SIZE_BITS], 0)), rest.eq(bits >> size), left.eq(have - size),
            words.o.ready.eq(left <= capacity - self.width), taken.eq(words.o.valid & words.o.ready)]
        m.d.sync += [bits.eq(rest | Mux(taken, words.o.payload << left, 0)), have.eq(left + Mux(taken, self.width, 0))]
        with m.If(self.clear):
            m.d.sync += have.eq(0)
            m.d.sync += bits.eq(0)
        return m


class WeightDecoder(Block):
    """All lanes in step, and their table.

    Throughput: one step each cycle while every lane has bits. A table takes up to ``2**LONGEST + LONGEST`` cycles to
    build; the one that is there is kept for commands with the same ``codes``. A damaged stream gives wrong nibbles, and
    never holds the decoder: where lanes drift apart further than an encoder lets them, words of the full ones are lost.

    Parameters
    ----------
    decode_lanes, decode_width : lanes, and bits of each in a wide beat.

    Members
    -------
    codes : lengths of the codes (field ``codes`` of the command), steady while ``active``.
    active : decode; while it is low the lanes are empty.
    data : wide beats.
    out : one nibble of every lane.
    """

    decode_lanes = Parameter()
    decode_width = Parameter(2, high=32)

    def members(self) -> dict[str, Member]:
        return {"codes": In(3 * 16), "active": In(1),
                "data": In(stream.Signature(self.decode_lanes * self.decode_width)),
                "out": Out(stream.Signature(4 * self.decode_lanes))}

    def elaborate(self, platform):
        m = Module()
        built, valid = Signal(3 * 16), Signal()
        ready = Signal()
        m.d.comb += ready.eq(self.active & valid)     # another table: valid falls before the empty lanes have bits
        fill, window, entry = self._table(m, built, valid)
        lanes = [DecodeLane(width=self.decode_width) for _ in range(self.decode_lanes)]
        step, room, enough, stuck = Signal(), Signal(), Signal(), Signal(range(STUCK + 1))
        for number, lane in enumerate(lanes):
            add_shared(m, f"lane{number}", lane, platform)
            m.d.comb += [lane.push.eq(self.data.valid & self.data.ready),
                         lane.word.eq(self.data.payload.word_select(number, self.decode_width)),
                         lane.fill.eq(fill), lane.window.eq(window), lane.entry.eq(entry), lane.step.eq(step),
                         lane.clear.eq(~self.active),
                         self.out.payload.word_select(number, 4).eq(lane.symbol)]
        m.d.comb += [room.eq(Cat(lane.room for lane in lanes).all()),
                     enough.eq(Cat(lane.enough for lane in lanes).all()),
                     self.data.ready.eq((room | (stuck == STUCK)) & self.active), self.out.valid.eq(enough & ready),
                     step.eq(self.out.valid & self.out.ready)]
        m.d.sync += stuck.eq(Mux(self.data.valid & ~room & ~enough & (stuck != STUCK), stuck + 1, 0))
        return m

    def _table(self, m, built, valid):
        """Builds the table for ``codes`` when it is another one: registers ``fill``, ``window``, ``entry``."""
        fill, window, entry = Signal(), Signal(LONGEST), Signal(SYMBOL_BITS + SIZE_BITS)
        size, at, todo, symbol = Signal(SIZE_BITS), Signal(LONGEST + 1), Signal(16), Signal(SYMBOL_BITS)
        of_size = Cat(self.codes.word_select(n, 3) == size + 1 for n in range(16))
        lowest, end = todo & -todo, Signal(LONGEST + 1)
        for bit in range(SYMBOL_BITS):
            m.d.comb += symbol[bit].eq(Cat(lowest[n] for n in range(16) if n >> bit & 1).any())
        # The windows of a code of ``size`` bits end where the next multiple of 2**(LONGEST - size) is.
        m.d.comb += end.eq(Array((1 << LONGEST - n) - 1 for n in range(LONGEST + 1))[size])
        m.d.sync += fill.eq(0)
        with m.FSM(name="table"):
            with m.State("IDLE"):
                m.d.sync += [at.eq(0), size.eq(0)]
                with m.If(self.active & ~(valid & (built == self.codes))):
                    m.d.sync += [valid.eq(0), built.eq(self.codes)]
                    m.next = "SIZE"
            with m.State("SIZE"):
                m.d.sync += [todo.eq(of_size), size.eq(size + 1)]
                m.next = "FILL"
            with m.State("FILL"):
                with m.If((todo == 0) | at[LONGEST]):
                    m.next = "SIZE"
                    with m.If((size == LONGEST) | at[LONGEST]):
                        m.d.sync += valid.eq(1)
                        m.next = "IDLE"
                with m.Else():
                    m.d.sync += [fill.eq(1), window.eq(at), entry.eq(Cat(size, symbol)), at.eq(at + 1)]
                    with m.If((at & end) == end):
                        m.d.sync += todo.eq(todo & ~lowest)
        return fill, window, entry
