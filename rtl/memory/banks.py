"""The two activation memories: ``pixels`` banks each, read by the feeder (every bank) or by a gather (one bank)."""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Member, Out

from spec.latency import GATHER, READ

from ..prim import (
    Block, Parameter, activations, add_shared, delay, place_layout, store_port, write_layout)

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

    One read by the feeder, one gather and one write each cycle. What is written can be read in the next cycle.
    The feeder always wins its memory. ``compute.gather`` (residual and pool reads) must never ask for the memory that
    the feeder reads; ``store`` waits for both. Writes of the compute side always win over those of the load unit to
    the same memory.

    Parameters
    ----------
    ic, pixels, act_depth : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    compute : reads and writes that do not wait (:func:`rtl.prim.activations`).
    store : a gather that waits.
    load : writes that wait.
    """
    ic = Parameter()
    pixels = Parameter(2)
    act_depth = Parameter()

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
        feed, post, write, store = self.compute.feed, self.compute.gather, self.compute.write, self.store.place

        # One gather per cycle; the post unit first, the store unit where the feeder leaves its memory alone.
        gather = Signal(place_layout(self))
        gather_en = Signal()
        m.d.comb += [
            store.ready.eq(~post.en & ~(feed.en & (feed.mem == store.payload.mem))),
            gather.eq(Mux(post.en, post.place, store.payload)),
            gather_en.eq(post.en | (store.valid & store.ready))]

        m.d.comb += self.load.ready.eq(~(write.en & (write.word.place.mem == self.load.payload.place.mem)))

        outputs = [self._memory(m, mem, gather, gather_en, platform) for mem in range(2)]
        feed_mem = delay(m, feed.mem, READ)
        for index in range(self.pixels):
            m.d.comb += feed.data[index].eq(Mux(feed_mem, outputs[1][index], outputs[0][index]))

        late = delay(m, gather.as_value(), READ)
        late = data.View(place_layout(self), late)
        picked = [Signal(8 * self.ic, name=f"picked{mem}") for mem in range(2)]
        m.d.sync += [picked[mem].eq(Array(outputs[mem])[late.bank]) for mem in range(2)]
        late_mem = delay(m, late.mem, GATHER - READ)
        m.d.comb += [*(port.codes.eq(Mux(late_mem, picked[1], picked[0])) for port in (post, self.store)),
                     self.store.valid.eq(delay(m, store.valid & store.ready, GATHER))]
        return m

    def _memory(self, m, mem, gather, gather_en, platform):
        """The banks of one memory, one write each cycle; returns what they read."""
        feed, post, outputs, posts = self.compute.feed, self.compute.write, [], Signal(name=f"posts{mem}")
        write, write_en = Signal(write_layout(self), name=f"write{mem}"), Signal(name=f"write_en{mem}")
        m.d.comb += [posts.eq(post.en & (post.word.place.mem == mem)),
                     write_en.eq(posts | (self.load.valid & (self.load.payload.place.mem == mem))),
                     write.eq(Mux(posts, post.word, self.load.payload))]
        for index in range(self.pixels):
            bank = Bank(depth=self.act_depth, width=self.ic)
            feeds = feed.en & (feed.mem == mem)
            add_shared(m, f"bank{mem}_{index}", bank, platform)
            m.d.comb += [
                bank.r_en.eq(feeds | (gather_en & (gather.mem == mem) & (gather.bank == index))),
                bank.r_addr.eq(Mux(feeds, feed.addr[index], gather.addr)),
                bank.w_en.eq(Mux(write_en & (write.place.bank == index), write.en, 0)),
                bank.w_addr.eq(write.place.addr), bank.w_data.eq(write.data)]
            outputs.append(bank.r_data)
        return outputs
