"""The two activation memories: ``pixels`` banks each, read by the feeder (every bank) or by a gather (one bank).

Latencies: feeder data :data:`FEED_LATENCY`, gathered data :data:`GATHER_LATENCY` cycles after the request.
A write is readable in the next cycle.
"""

from amaranth.hdl import Array, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from ..prim import (
    FEED_LATENCY, GATHER_LATENCY, bank_addrs_layout, bank_data_layout, codes_layout, delay, place, place_layout,
    write_layout)

__all__ = ["Bank", "Banks"]


class Bank(wiring.Component):
    """``depth`` words of ``width`` bytes with byte enables; read latency 2 (memory, output register)."""

    def __init__(self, depth, width):
        self.depth, self.width = depth, width
        super().__init__({"r_en": In(1), "r_addr": In(range(depth)), "r_data": Out(8 * width),
                          "w_en": In(width), "w_addr": In(range(depth)), "w_data": In(8 * width)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=8 * self.width, depth=self.depth, init=[])
        read = memory.read_port()
        write = memory.write_port(granularity=8)
        m.d.comb += [read.en.eq(self.r_en), read.addr.eq(self.r_addr), write.en.eq(self.w_en),
                     write.addr.eq(self.w_addr), write.data.eq(self.w_data)]
        m.d.sync += self.r_data.eq(read.data)
        return m


class Banks(wiring.Component):
    """Both memories.

    The feeder always wins its memory. ``post`` (residual and pool reads) must never ask for the memory that the feeder
    reads; ``store`` waits for both. Writes of the post unit (``write``) always win over those of the load unit to the
    same memory.
    """

    def __init__(self, config):
        self.config = config
        place_t = place_layout(config)
        super().__init__({
            "feed_en": In(1), "feed_mem": In(1), "feed_addr": In(bank_addrs_layout(config)),
            "feed_data": Out(bank_data_layout(config)),
            "post_en": In(1), "post_place": In(place_t),
            "store": In(stream.Signature(place_t)), "store_valid": Out(1),
            "gathered": Out(codes_layout(config)),
            "write_en": In(1), "write": In(write_layout(config)),
            "load": In(stream.Signature(write_layout(config)))})

    def elaborate(self, platform):
        m = Module()
        c = self.config

        # One gather per cycle; the post unit first, the store unit where the feeder leaves its memory alone.
        gather = Signal(place_layout(c))
        gather_en = Signal()
        m.d.comb += [
            self.store.ready.eq(~self.post_en & ~(self.feed_en & (self.feed_mem == self.store.payload.mem))),
            gather.eq(Mux(self.post_en, self.post_place, self.store.payload)),
            gather_en.eq(self.post_en | (self.store.valid & self.store.ready))]

        m.d.comb += self.load.ready.eq(~(self.write_en & (self.write.place.mem == self.load.payload.place.mem)))

        outputs = [[], []]
        for mem in range(2):
            # One write per cycle and memory.
            posts = Signal(name=f"posts{mem}")
            write, write_en = Signal(write_layout(c), name=f"write{mem}"), Signal(name=f"write_en{mem}")
            m.d.comb += [posts.eq(self.write_en & (self.write.place.mem == mem)),
                         write_en.eq(posts | (self.load.valid & (self.load.payload.place.mem == mem))),
                         write.eq(Mux(posts, self.write, self.load.payload))]
            for index in range(c.pixels):
                bank = Bank(c.act_depth, c.ic)
                feeds = self.feed_en & (self.feed_mem == mem)
                place(m, f"bank{mem}_{index}", bank, platform)
                m.d.comb += [
                    bank.r_en.eq(feeds | (gather_en & (gather.mem == mem) & (gather.bank == index))),
                    bank.r_addr.eq(Mux(feeds, self.feed_addr[index], gather.addr)),
                    bank.w_en.eq(Mux(write_en & (write.place.bank == index), write.en, 0)),
                    bank.w_addr.eq(write.place.addr), bank.w_data.eq(write.data)]
                outputs[mem].append(bank.r_data)

        feed_mem = delay(m, self.feed_mem, FEED_LATENCY)
        for index in range(c.pixels):
            m.d.comb += self.feed_data[index].eq(Mux(feed_mem, outputs[1][index], outputs[0][index]))

        late = delay(m, gather.as_value(), GATHER_LATENCY - 1)
        late = data.View(place_layout(c), late)
        picked = [Signal(8 * c.ic, name=f"picked{mem}") for mem in range(2)]
        m.d.sync += [picked[mem].eq(Array(outputs[mem])[late.bank]) for mem in range(2)]
        late_mem = delay(m, late.mem, 1)
        m.d.comb += [self.gathered.eq(Mux(late_mem, picked[1], picked[0])),
                     self.store_valid.eq(delay(m, self.store.valid & self.store.ready, GATHER_LATENCY))]
        return m

