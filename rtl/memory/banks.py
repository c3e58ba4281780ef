"""The two activation memories: ``pixels`` banks each, read by the feeder (every bank) or by gathers (a bank each)."""

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Member, Out

from spec.latency import GATHER, READ

from ..prim import (
    Block, Parameter, activations, add_shared, delay, store_port, write_layout)

__all__ = ["Bank", "Banks"]


class Bank(Block):
    """A memory of bytes with one read and one write port.

    Data comes :data:`spec.latency.READ` cycles after its address; one read and one write each cycle. What is written
    can be read in the next cycle.

    Parameters
    ----------
    depth, width : words, and bytes of a word.

    Members
    -------
    r_en, r_addr, r_data : while ``r_en`` is low the memory keeps its word.
    w_en, w_addr, w_data : one enable for each byte.
    """
    depth = Parameter()
    width = Parameter()

    @property
    def latency(self) -> int:
        return READ

    def members(self) -> dict[str, Member]:
        addr = In(range(self.depth))
        return {"r_en": In(1), "r_addr": addr, "r_data": Out(8 * self.width),
                "w_en": In(self.width), "w_addr": addr, "w_data": In(8 * self.width)}

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=8 * self.width, depth=self.depth, init=[])
        read = memory.read_port()
        write = memory.write_port(granularity=8)
        m.d.comb += [read.en.eq(self.r_en), read.addr.eq(self.r_addr), write.en.eq(self.w_en),
                     write.addr.eq(self.w_addr), write.data.eq(self.w_data)]
        m.d.sync += self.r_data.eq(read.data)
        return m


class Banks(Block):
    """Both memories.

    One read by the feeder, gathers and writes of ``out_pixels`` pixels each cycle. What is written can be read in the
    next cycle. The feeder always wins its memory. ``compute.gather`` (residual and pool reads) must never ask for the
    memory that the feeder reads; ``store`` waits for both, and ``load`` for writes of the compute side to its memory.

    Parameters
    ----------
    ic, pixels, act_depth, out_pixels : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    compute : reads and writes that do not wait (:func:`rtl.prim.activations`).
    store : a gather that waits.
    load : writes that wait.
    """
    ic = Parameter()
    pixels = Parameter(2)
    act_depth = Parameter()
    out_pixels = Parameter()

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
        m.d.comb += store.ready.eq(~gather.en.any() & ~(feed.en & (feed.mem == store.payload.mem)))
        gathers = _lanes(m, gather.en, gather.place, store.ready, store.valid, store.payload)
        outputs = [self._memory(m, mem, gathers, platform) for mem in range(2)]

        feed_mem = delay(m, feed.mem, READ)
        for index in range(self.pixels):
            m.d.comb += feed.data[index].eq(Mux(feed_mem, outputs[1][index], outputs[0][index]))
        # All gathers of a cycle are from one memory: of many, the memory is chosen first.
        mem = delay(m, Cat(enable & place.mem for enable, place in gathers).any(), READ)
        words = [Signal(8 * self.ic, name=f"word{index}") for index in range(self.pixels)]
        m.d.comb += [word.eq(Mux(mem, two, one)) for word, one, two in zip(words, *outputs, strict=True)]
        for lane, (_, place) in enumerate(gathers):
            bank = delay(m, place.bank, READ)
            picked = Array(words)[bank] if len(gathers) > 2 else Mux(mem, *(Array(outputs[n])[bank] for n in (1, 0)))
            m.d.sync += gather.codes[lane].eq(picked)
        m.d.comb += [self.store.codes.eq(gather.codes[0]),
                     self.store.valid.eq(delay(m, store.valid & store.ready, GATHER))]
        return m

    def _memory(self, m, mem, gathers, platform):
        """The banks of one memory; what they read."""
        feed, write, load, outputs = self.compute.feed, self.compute.write, self.load.payload, []
        feeds, loads = feed.en & (feed.mem == mem), load.place.mem == mem
        posts = Cat(enable & (word.place.mem == mem) for enable, word in zip(write.en, write.word, strict=True))
        with m.If(loads):
            m.d.comb += self.load.ready.eq(~posts.any())
        words = _lanes(m, posts, write.word, ~posts.any(), self.load.valid & loads, load)
        for index in range(self.pixels):
            bank = Bank(depth=self.act_depth, width=self.ic)
            add_shared(m, f"bank{mem}_{index}", bank, platform)
            reads, read = _chosen((enable & (place.bank == index), place) for enable, place in gathers)
            writes, word = _chosen((enable & (word.place.bank == index), word) for enable, word in words)
            m.d.comb += [
                bank.r_en.eq(feeds | (reads & (read.mem == mem))),
                bank.r_addr.eq(Mux(feeds, feed.addr[index], read.addr)),
                bank.w_en.eq(Mux(writes, word.en, 0)), bank.w_addr.eq(word.place.addr), bank.w_data.eq(word.data)]
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
    """Whether one of the flags of (flag, value) is set, and its value."""
    flags, values = zip(*choices, strict=True)
    number = Cat(Cat(flag for at, flag in enumerate(flags) if at >> bit & 1).any()
                 for bit in range((len(flags) - 1).bit_length()))
    return Cat(flags).any(), data.View(values[0].shape(), Array(value.as_value() for value in values)[number])
