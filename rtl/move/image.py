"""Takes an image, rows of bytes, from read ports: what it gives is a window of bytes for every pixel."""

from itertools import product

from amaranth.hdl import Array, Cat, Const, Module, Mux, Signal, Value, signed
from amaranth.lib import data, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Member, Out

from spec.commands import FIELDS, IMAGE_FIELDS
from spec.errors import AlloyError

from ..prim import Block, Parameter, place_layout, write_layout
from .group import GroupBlock
from .rows import WALK

__all__ = ["IMAGE", "ImageReader", "RowRing", "image_of"]

ENTRIES = 4         # bytes that a bank holds
BYTES = FIELDS["bytes"].width + 2       # of a signed distance in a row, with what lies before it
IMAGE = data.StructLayout({name: FIELDS[name].width for name in IMAGE_FIELDS})


def image_of(command: data.View) -> data.View:
    """The fields of a command that say how its windows lie, as :data:`IMAGE`."""
    return data.View(IMAGE, Cat(command[name] for name in IMAGE_FIELDS))


class RowRing(Block):
    """What has come of one row, in a ring of byte banks: half of all banks, or, ``whole``, all of them with the other
    ring, whose counters then rest.

    Parameters
    ----------
    banks : of this ring, a power of two. port_bits : of a beat.

    Members
    -------
    start : a new row; the next two are taken with it.
    low : the byte of the first beat in which the row begins.
    absent : the row has no beats, and nothing is waited for.
    before, bytes, step : bytes from the first window to the row, of the row (0: it is absent), and between windows.
    whole, window : whether the ring has all banks, and the bytes of a window. These five are steady from two cycles
        before ``start`` on.
    take : a beat is put in. fire : the next window is read; it is ``step`` bytes further.
    due : beats are still to come. room : one may. enough : the next window is there.
    at : byte of the ring where the next window begins. beat : beat of the ring that is put in next.
    """

    banks = Parameter(4)
    port_bits = Parameter(choices=(32, 64, 128, 256))

    def check(self) -> None:
        if self.banks & (self.banks - 1):
            raise AlloyError(f"no RowRing has {self.banks} banks: give a power of two")

    @property
    def size(self) -> int:
        """Bytes of all banks of both rings."""
        return 2 * self.banks * ENTRIES

    def members(self) -> dict[str, Member]:
        size = self.port_bits // 8
        steady = {name: In(FIELDS[name].width) for name in ("before", "bytes", "step")}
        return {"start": In(1), "low": In(range(size)), "absent": In(1), **steady, "whole": In(1), "window": In(8),
                "take": In(1), "fire": In(1), "due": Out(1), "room": Out(1), "enough": Out(1),
                "at": Out(range(self.size)), "beat": Out(range(self.size // size))}

    def elaborate(self, platform):
        m, size = Module(), self.port_bits // 8
        # What a row begins with, as far as it is the same for all.
        behind, none = Signal(FIELDS["bytes"].width, reset_less=True), Signal(reset_less=True)
        distance = signed(FIELDS["step"].width + 2)
        first_lead, first_space, forth, back = (Signal(distance, name=name, reset_less=True)
                                                for name in ("first_lead", "first_space", "forth", "back"))
        m.d.sync += [behind.eq(self.bytes - 1), none.eq(self.bytes == 0), first_lead.eq(self.before - self.window),
                     first_space.eq(Mux(self.whole, self.size - size, self.size // 2 - size) - self.before),
                     forth.eq(size - self.step), back.eq(-self.step)]
        # Signs say what is to be known: ``left`` is one less than the beats that are due, ``lead`` are the bytes from
        # the next window's end to the end of what has come, ``space`` those that are free besides a beat.
        left = Signal(signed(FIELDS["bytes"].width + 2), init=-1)
        lead, space, moved = Signal(distance), Signal(distance), Signal(distance)
        m.d.comb += [self.due.eq(~left[-1]), self.enough.eq(~lead[-1] | left[-1]), self.room.eq(~space[-1]),
                     moved.eq(Mux(self.take, Mux(self.fire, forth, size), Mux(self.fire, back, 0)))]
        with m.If(self.start):
            m.d.sync += [left.eq(Mux(self.absent | none, -1, (self.low + behind) // size)), self.beat.eq(0),
                         lead.eq(first_lead - self.low), space.eq(first_space + self.low),
                         self.at.eq(self.low - self.before)]
        with m.Else():
            m.d.sync += [left.eq(left - self.take), self.beat.eq(self.beat + self.take), lead.eq(lead + moved),
                         space.eq(space - moved), self.at.eq(self.at + Mux(self.fire, self.step, 0))]
        return m


class ImageReader(GroupBlock):
    """A region of activations whose pixels are windows of bytes of an image (docs/architecture.md, Images).

    The beats of a row go into a ring of byte banks, from which ``ic`` bytes in a row, from any byte on, are read
    together and turned into place. Of a pair of rows each has half of the banks and fills half of the channels.
    Throughput: one window each cycle while its bytes are there; a few cycles between rows.

    Parameters
    ----------
    ic, pixels, act_depth, port_bits, group_beats : as in :class:`spec.config.EngineConfig`.
    image_lanes : ports that bring rows in turn; pairs need two, one for each of their rows.

    Members
    -------
    begin : take a new region. The next five stay as they are while ``busy``.
    rows, cols : of the region.
    image : how the windows lie.
    low, stride : in which byte of a beat the first row begins, and how many further the next one does.
    data : the beats of the rows.
    walk, place : moves a locator of the region; where the pixel lies.
    out : one channel group of one pixel.
    busy : from the cycle after ``begin`` until the last ``out`` has been taken.
    """

    image_lanes = Parameter(1, high=2)

    def members(self) -> dict[str, Member]:
        low = range(self.port_bits // 8)
        return {
            "begin": In(1), "rows": In(16), "cols": In(16), "image": In(IMAGE),
            "low": In(low), "stride": In(low),
            "data": In(stream.Signature(self.port_bits)).array(self.image_lanes), "walk": Out(WALK),
            "place": In(place_layout(self)),
            "out": Out(stream.Signature(write_layout(self))), "busy": Out(1)}

    @property
    def banks(self) -> int:
        """Of each ring: at least half a window and one beat."""
        return 1 << (max(self.windows[1], self.port_bits // 8) - 1).bit_length()

    @property
    def windows(self) -> tuple[int, int]:
        """Bytes of the windows of a pair."""
        return self.ic // 2, self.ic - self.ic // 2

    def elaborate(self, platform):
        m, out, image = Module(), self.out, self.image
        pair = image.pair if self.image_lanes == 2 else Const(0)
        low, active, moves, fire = Signal.like(self.low), Signal(), Signal(), Signal()
        lane, running, opening, starting, ends = Signal(), Signal(), Signal(), Signal(), Signal()
        lacks, outside = Signal(2), Signal(2)   # whether the row, or those of a pair, lie outside the image
        second = Signal.like(low)               # where the second one begins
        over, final = self._windows(m, starting, fire)
        top, end = self._ends(m, ends)
        rings = self._rings(m, pair, lacks, (low, second), starting, fire)
        chosen = self._choose(m, rings, pair, lacks, starting, fire, final)
        m.d.comb += [
            moves.eq(~out.valid | out.ready),
            # What is left of a row behind the last window goes nowhere.
            ends.eq(active & over & ~rings[0].due & ~rings[1].due),
            fire.eq(active & moves & ~over & rings[0].enough & rings[1].enough),
            self.walk.load.eq(self.begin), self.walk.step.eq(moves & chosen.valid & ~chosen.final),
            self.walk.next_row.eq(moves & chosen.valid & chosen.final),
            outside.eq(Cat(image.above & top | image.below & ~pair & end, image.below & pair & end))]
        m.d.sync += [opening.eq(0), starting.eq(opening)]
        with m.If(opening):
            m.d.sync += [lacks.eq(outside), second.eq(low + Mux(outside[0], 0, self.stride))]
        with m.If(starting):
            m.d.sync += active.eq(1)
        with m.If(ends):
            m.d.sync += [active.eq(0), running.eq(~end), opening.eq(~end), lane.eq(lane ^ (self.image_lanes == 2)),
                         low.eq(low + Mux(pair, Mux(lacks.any(), self.stride, self.stride << 1),
                                          Mux(lacks.any(), 0, self.stride)))]
        with m.If(self.begin):
            m.d.sync += [low.eq(self.low), lane.eq(0), running.eq(1), opening.eq(1)]

        beat, into = self._take(m, rings, pair, lane, active & moves, over)
        busy = self._turn(m, chosen, self._store(m, rings, chosen, beat, into), moves, fire)
        m.d.comb += self.busy.eq(running | busy)
        return m

    def _turn(self, m, chosen, bytes_of, moves, fire):
        """Two bits of the turn in each cycle, then what is whose; returns whether a window is on its way."""
        out, valid = self.out, chosen.valid
        with m.If(moves):
            m.d.sync += chosen.valid.eq(fire)
        for bit in range(0, (self.banks - 1).bit_length(), 2):
            turned = Signal(self._chosen(), name=f"turned{bit}")
            lanes = [[Signal(8, name=f"lane{bit}_{ring}_{bank}", reset_less=True) for bank in range(self.banks)]
                     for ring in range(2)]
            with m.If(moves):
                m.d.sync += [turned.eq(chosen), turned.place.eq(chosen.place if bit else self.place)]
                for ring, bank in product(range(2), range(self.banks)):
                    part = chosen.rings[ring].turn[bit:bit + 2]
                    sources = [bytes_of[ring][(bank + (k << bit)) % self.banks] for k in range(1 << len(part))]
                    m.d.sync += lanes[ring][bank].eq(Array(sources)[part])
            chosen, bytes_of, valid = turned, lanes, valid | turned.valid
        with m.If(moves):
            m.d.sync += [out.valid.eq(chosen.valid), out.payload.place.eq(chosen.place),
                         out.payload.data.eq(Cat(self._bytes(chosen, bytes_of)))]
        return valid | out.valid

    def _chosen(self):
        """A window on its way, which may be the ``final`` one of its row: for each ring how far it is turned and the
        entry of every bank, which ring comes first, which rows are outside the image, and the first byte of the window
        inside and the first one behind them."""
        entry = range(ENTRIES)
        ring = data.StructLayout({"turn": range(self.banks), "entries": data.ArrayLayout(entry, self.banks)})
        channel = range(self.ic + 1)
        return data.StructLayout({
            "valid": 1, "final": 1, "place": place_layout(self), "rings": data.ArrayLayout(ring, 2), "second": 1,
            "pair": 1, "lacks": 2, "low": channel, "high": channel})

    def _windows(self, m, start, fire):
        """Registers: whether all windows of a row have been read, and whether the next one is the last."""
        left, over, final = Signal(16), Signal(), Signal()
        with m.If(start):
            m.d.sync += [left.eq(self.cols), over.eq(self.cols == 0), final.eq(self.cols == 1)]
        with m.Elif(fire):
            m.d.sync += [left.eq(left - 1), over.eq(final), final.eq(left == 2)]
        return over, final

    def _ends(self, m, over):
        """Registers: whether the row is the first one, and whether it is the last."""
        left, top, end = Signal(16), Signal(), Signal()
        with m.If(self.begin):
            m.d.sync += [left.eq(self.rows), top.eq(1), end.eq(self.rows == 1)]
        with m.Elif(over):
            m.d.sync += [left.eq(left - 1), top.eq(0), end.eq(left == 2)]
        return top, end

    def _rings(self, m, pair, lacks, lows, starting, fire):
        image, rings = self.image, []
        for number, need in enumerate(self.windows):
            m.submodules[f"ring{number}"] = ring = RowRing.of(self)
            m.d.comb += [
                ring.start.eq(starting), ring.low.eq(lows[number]), ring.before.eq(image.before), ring.fire.eq(fire),
                ring.absent.eq(lacks[number] | ~pair if number else lacks[number]), ring.bytes.eq(image.bytes),
                ring.whole.eq(~pair), ring.step.eq(image.step), ring.window.eq(Mux(pair, need, self.ic))]
            rings.append(ring)
        return rings

    def _take(self, m, rings, pair, lane, open, over):
        """Takes a beat of a row that has room for it: the beat, and which ring it goes into."""
        first = Mux(pair, 0, lane)          # the lane of the first ring's row
        there = Mux(first, self.data[-1].valid, self.data[0].valid), self.data[-1].valid
        wants = [ring.due & (ring.room | over) & here for ring, here in zip(rings, there, strict=True)]
        second = Signal()
        m.d.comb += [second.eq(~wants[0]), rings[0].take.eq(open & wants[0]),
                     rings[1].take.eq(open & wants[1] & second)]
        source = Mux(second, 1, first)
        for number, port in enumerate(self.data):
            m.d.comb += port.ready.eq(open & (wants[0] | wants[1]) & (source == number))
        return Mux(source, self.data[-1].payload, self.data[0].payload), second

    def _store(self, m, rings, chosen, beat, into):
        """The banks of both rings: what each has at the entry that is chosen."""
        size = self.port_bits // 8
        per = self.banks // size            # beats of a word of one ring
        found: list[list[Value]] = []
        at = Mux(into, rings[1].beat, rings[0].beat)
        whole = rings[0].whole
        # Where a beat goes: of a ring alone in its banks, or of both in turn.
        part = at % per
        half = Mux(whole, (at // per)[0], into)
        entry = Mux(whole, at // (2 * per), at // per)
        taken = rings[0].take | rings[1].take
        for number in range(2):
            found.append([])
            for bank in range(self.banks):
                m.submodules[f"bank{number}_{bank}"] = memory = Memory(shape=8, depth=ENTRIES, init=[])
                write, read = memory.write_port(), memory.read_port(domain="comb")
                m.d.comb += [
                    write.en.eq(taken & (half == number) & (part == bank // size)), write.addr.eq(entry),
                    write.data.eq(beat.word_select(bank % size, 8)), read.addr.eq(chosen.rings[number].entries[bank])]
                found[-1].append(read.data)
        return found

    def _choose(self, m, rings, pair, lacks, start, fire, final):
        """The next window, in registers."""
        chosen, image, bits = Signal(self._chosen()), self.image, (self.banks - 1).bit_length()
        at, rest = Signal(signed(BYTES)), Signal(signed(BYTES))     # from the row's first byte, and to its end
        with m.If(start):
            m.d.sync += [at.eq(-image.before), rest.eq(image.bytes + image.before)]
        whole = rings[0].at
        second = whole[bits] & ~pair
        with m.If(fire):
            m.d.sync += [
                at.eq(at + image.step), rest.eq(rest - image.step), chosen.final.eq(final),
                chosen.second.eq(second), chosen.pair.eq(pair), chosen.lacks.eq(lacks),
                chosen.low.eq(Mux(at >= 0, 0, Mux(at < -self.ic, self.ic, -at))),
                chosen.high.eq(Mux(rest < 0, 0, Mux(rest > self.ic, self.ic, rest)))]
        for number, ring in enumerate(rings):
            place = Mux(pair, ring.at, Cat(whole[:bits], whole[bits + 1:]))
            turn, entry = place[:bits], place[bits:]
            # Of all banks: those of the first ring that a window from the second one on reaches are an entry further.
            first = entry + (second if number == 0 else 0)
            behind = Mux(pair | (second == number), turn, 0)
            with m.If(fire):
                m.d.sync += chosen.rings[number].turn.eq(turn)
                for bank in range(self.banks):
                    m.d.sync += chosen.rings[number].entries[bank].eq(
                        first if bank == self.banks - 1 else Mux(bank < behind, first + 1, first))
        return chosen

    def _outside(self, chosen, channel):
        """Whether a channel of a window lies outside the image."""
        of = int(channel >= self.windows[0])
        alone, paired = (_more(chosen.low, place) | ~_more(chosen.high, place)
                         for place in (channel, channel - of * self.windows[0]))
        return Mux(chosen.pair, paired | chosen.lacks[of], alone | chosen.lacks[0])

    def _bytes(self, chosen, rings):
        """The bytes of a window, in order, of ``rings`` that have been turned."""
        turn, half = chosen.rings[0].turn, self.banks
        for channel in range(self.ic):
            number, place = divmod(channel, half)
            # Whether the byte lies behind the end of the ring where its half of the window begins.
            beyond = chosen.second ^ (turn + place >= half if place else 0)
            byte = Mux(beyond, rings[1 - number][place], rings[number][place])
            own = channel - self.windows[0]
            alone = rings[0][channel] if own < 0 else rings[1][own]
            yield Mux(self._outside(chosen, channel), self.image.fill, Mux(chosen.pair, alone, byte))


def _more(value, number):
    """``value > number`` without a carry chain, which a few bits do not need."""
    more: Value = Const(0)
    for place, bit in enumerate(value):
        more = bit & more if number >> place & 1 else bit | more
    return more
