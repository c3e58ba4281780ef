"""The two activation memories: ``pixels`` banks each, read by the feeder (every bank) or by gathers (a bank each)."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out
from amaranth.utils import exact_log2

from spec import memories
from spec.config import ACT_RAMS
from spec.errors import AlloyError
from spec.latency import GATHER, READ
from spec.memories import RAMS, Shape

from ..prim import Block, Parameter, activations, add_shared, delay, ram, store_port, write_layout

__all__ = ["Bank", "Banks"]


class Bank(Block):
    """A memory of bytes with one read and one write port.

    Data comes :data:`spec.latency.READ` cycles after its address; one read and one write each cycle. What is written
    can be read in the next cycle.

    Parameters
    ----------
    depth, width : words, and bytes of a word. ram : what it is made of (:class:`spec.memories.Shape`).

    Members
    -------
    r_en, r_addr, r_data : while ``r_en`` is low the memory keeps its word.
    w_en, w_addr, w_data : one enable for each byte.
    """
    depth = Parameter()
    width = Parameter()
    ram = Parameter(choices=RAMS)

    @property
    def latency(self) -> int:
        return READ

    def members(self) -> dict[str, Member]:
        addr = In(range(self.depth))
        return {"r_en": In(1), "r_addr": addr, "r_data": Out(8 * self.width),
                "w_en": In(self.width), "w_addr": addr, "w_data": In(8 * self.width)}

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = ram(Shape(self.depth, 8 * self.width, self.ram))
        read = memory.read_port()
        write = memory.write_port(granularity=8)
        m.d.comb += [read.en.eq(self.r_en), read.addr.eq(self.r_addr), write.en.eq(self.w_en),
                     write.addr.eq(self.w_addr), write.data.eq(self.w_data)]
        m.d.comb += self.r_data.eq(delay(m, read.data, 1, plain=True))
        return m


class Banks(Block):
    """Both memories.

    One read by the feeder, gathers and writes of ``out_pixels`` pixels each cycle. The banks of the pixels have
    different remainders of a division by ``out_pixels``, so that each of so many words goes to banks of one remainder
    alone, or comes from them. What is written can be read in the next cycle. The feeder always wins its memory.
    ``compute.gather`` (residual and pool reads) must never ask for the memory that the feeder reads; ``store`` waits
    for both, and ``load`` for writes of the compute side to its memory.

    Parameters
    ----------
    ic, pixels, act_depth, act_ram, out_pixels : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    compute : reads and writes that do not wait (:func:`rtl.prim.activations`).
    store : a gather that waits.
    load : writes that wait.
    """
    ic = Parameter()
    pixels = Parameter(2)
    act_depth = Parameter()
    act_ram = Parameter(choices=ACT_RAMS)
    out_pixels = Parameter()

    def check(self) -> None:
        if self.pixels % self.out_pixels:
            raise AlloyError(f"no Banks of {self.pixels} pixels has out_pixels {self.out_pixels}: give a number that "
                             "divides pixels")

    @property
    def latency(self) -> int:
        return READ

    @property
    def gather_latency(self) -> int:
        return GATHER

    def members(self) -> dict[str, Member]:
        return {
            "compute": In(activations(self)), "store": In(store_port(self)),
            "load": In(stream.Signature(write_layout(self)))}

    def elaborate(self, platform):
        m = Module()
        feed, gather, store = self.compute.feed, self.compute.gather, self.store.place
        m.d.sync += self.compute.stores.eq(store.valid)
        m.d.comb += store.ready.eq(~gather.mems.any() & ~(feed.en & (feed.mem == store.payload.mem)))
        gathers, turn = gather.mems.any(), self._turned(m, "read", zip(gather.en, gather.place, strict=True),
                                                        lambda place: place.bank)
        reads = [data.View(place.shape(), Mux(gathers, place, store.payload)) for place in turn]
        outputs = [self._memory(m, mem, reads, platform) for mem in range(2)]

        feed_mem = delay(m, feed.mem, READ)
        for index in range(self.pixels):
            m.d.comb += feed.data[index].eq(Mux(feed_mem, outputs[1][index], outputs[0][index]))
        words = [Signal(8 * self.ic, name=f"word{rest}") for rest in range(self.out_pixels)]
        for rest, (word, place) in enumerate(zip(words, reads, strict=True)):
            mem, row = delay(m, place.mem, READ), delay(m, self._divided(place.bank)[0], READ)
            m.d.comb += word.eq(Mux(mem, *(Array(outputs[n][rest::self.out_pixels])[row] for n in (1, 0))))
        for lane, place in enumerate(gather.place):
            bank = place.bank if lane else Mux(gathers, place.bank, store.payload.bank)
            code = Array(words)[delay(m, self._divided(bank)[1], READ)]
            m.d.comb += gather.codes[lane].eq(delay(m, code, 1, plain=True))
        m.d.comb += [self.store.codes.eq(gather.codes[0]),
                     self.store.valid.eq(delay(m, store.valid & store.ready, GATHER))]
        return m

    def _divided(self, bank):
        """Quotient and remainder of a bank and ``out_pixels``."""
        if not self.out_pixels & self.out_pixels - 1:       # bits
            bits = exact_log2(self.out_pixels)
            return bank[bits:], bank[:bits]
        return tuple(Array(number)[bank] for number in zip(*(divmod(at, self.out_pixels) for at in range(self.pixels)),
                                                           strict=True))

    def _turned(self, m, name, lanes, bank_of):
        """Of (enable, value) of each pixel: for each remainder the value of the one whose bank has it."""
        lanes, out = list(lanes), []
        for rest in range(self.out_pixels):
            chosen = Signal.like(lanes[0][1], name=f"{name}{rest}")
            m.d.comb += chosen.eq(_chosen((enable & (self._divided(bank_of(value))[1] == rest), value)
                                          for enable, value in lanes))
            out.append(chosen)
        return out

    def _memory(self, m, mem, reads, platform):
        """The banks of one memory; what they read."""
        feed, write, load, outputs = self.compute.feed, self.compute.write, self.load.payload, []
        feeds, loads = feed.en & (feed.mem == mem), load.place.mem == mem
        asks, turn = self.compute.gather.mems[mem] | self.store.place.valid, ~write.mems[mem]
        posts, mask = Cat(enable & write.mems[mem] for enable in write.en), write.mask | turn.replicate(self.ic)
        with m.If(loads):
            m.d.comb += self.load.ready.eq(turn)
        lanes = _lanes(m, posts, write.word, turn, self.load.valid & loads, load)
        words, shape = self._turned(m, f"write{mem}_", lanes, lambda word: word.place.bank), memories.bank(self)
        for index in range(self.pixels):
            bank = Bank(depth=shape.depth, width=shape.width // 8, ram=shape.ram)
            add_shared(m, f"bank{mem}_{index}", bank, platform)
            read, word = reads[index % self.out_pixels], words[index % self.out_pixels]
            # Of all words at once: which one it is takes longer.
            writes = Cat(self.load.valid & loads & turn & (load.place.bank == index), *(
                enable & (word.place.bank == index) for enable, word in zip(posts, write.word, strict=True))).any()
            m.d.comb += [
                bank.r_en.eq(feeds | asks),
                bank.r_addr.eq(Mux(feeds, feed.addr[index], read.addr)),
                bank.w_en.eq(Mux(writes, mask, 0)),
                bank.w_addr.eq(word.place.addr), bank.w_data.eq(word.data)]
            outputs.append(bank.r_data)
        return outputs


def _lanes(m, enables, values, turn, valid, value):
    """(enable, value) of each pixel; what waits for its ``turn`` takes the place of the first one."""
    enable, chosen = Signal(len(enables)), Signal.like(values)
    m.d.comb += [enable.eq(enables), chosen.eq(values)]
    with m.If(turn):
        m.d.comb += [enable.eq(valid), chosen[0].eq(value)]
    return list(zip(enable, chosen, strict=True))


def _chosen(choices):
    """Of (flag, value), of which one flag may be set: its value."""
    flags, values = zip(*choices, strict=True)
    number = Cat(Cat(flag for at, flag in enumerate(flags) if at >> bit & 1).any()
                 for bit in range((len(flags) - 1).bit_length()))
    return data.View(values[0].shape(), Array(value.as_value() for value in values)[number])
