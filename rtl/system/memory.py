"""Memory on the chip in the place of DRAM: one AXI4 port for the engine, one simple port for the host."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import memory, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from spec.config import BOUNDARY
from spec.errors import AlloyError
from spec.uart import WORD

from ..bus import AXI4ReadSignature, AXI4WriteSignature

__all__ = ["HOST", "Memory"]

READ = 3                # cycles from a request to the data
HOST = wiring.Signature({"valid": Out(1), "ready": In(1), "write": Out(1), "address": Out(32), "data": Out(8 * WORD),
                         "done": In(1), "read": In(8 * WORD)})


class Memory(wiring.Component):
    """``size`` bytes of block RAM at address 0; what is beyond them is the same again.

    A read of the engine gives a beat each cycle, from the fourth after its address on, and needs ``rready`` to be 1
    throughout, as it is of the engine's ports; a burst at a time, all of the id 0, and writes beside it. The host gets
    a turn whenever the engine leaves a cycle.

    Parameters
    ----------
    size : bytes, a power of two. port_bits, addr_bits : of the engine's port.

    Members
    -------
    r_axi, w_axi : the engine's port. Bursts are incrementing and of whole words.
    host : a word of 32 bits is read or written: ``valid`` until ``ready``; ``done`` once behind that, with ``read``,
        and the address stays as it is until then.
    """

    def __init__(self, *, size, port_bits, addr_bits):
        if size & (size - 1) or size < BOUNDARY:
            raise AlloyError(f"memory on the chip of {size} bytes: give a power of two, at least {BOUNDARY}")
        self._size, self._port_bytes, self._addr_bits = size, port_bits // 8, addr_bits
        super().__init__({"r_axi": In(AXI4ReadSignature(addr_bits, port_bits)),
                          "w_axi": In(AXI4WriteSignature(addr_bits, port_bits)), "host": In(HOST)})

    @property
    def size(self) -> int:
        return self._size

    def elaborate(self, platform):
        m = Module()
        words, lane = self._size // self._port_bytes, exact_log2(self._port_bytes)
        depth = exact_log2(words)
        # A memory for each byte: no device has to write parts of a word.
        lanes = [memory.Memory(shape=8, depth=words, init=[]) for _ in range(self._port_bytes)]
        writes, reads = [], []
        for index, one in enumerate(lanes):
            m.submodules[f"lane{index}"] = one
            writes.append(one.write_port())
            reads.append(one.read_port())
        read_address, write_address = Signal(depth), Signal(depth)
        enable, data, given = Signal(self._port_bytes), Signal(8 * self._port_bytes), Signal(8 * self._port_bytes)
        for index, (write, read) in enumerate(zip(writes, reads, strict=True)):
            byte = slice(8 * index, 8 * index + 8)
            m.d.comb += [read.addr.eq(read_address), read.en.eq(1), write.addr.eq(write_address),
                         write.en.eq(enable[index]), write.data.eq(data[byte])]
            m.d.sync += given[byte].eq(read.data)
        host = self.host
        place = host.address[lane:lane + depth]
        half = host.address[2:lane] if lane > 2 else None
        takes_read, takes_write = Signal(), Signal()
        self._reads(m, read_address, given, place, lane, takes_read)
        self._writes(m, write_address, enable, data, place, half, lane, takes_write)
        # What the host reads comes as late as what the engine reads.
        waits = Signal(READ - 1)
        m.d.sync += [waits.eq(Cat(host.valid & ~host.write & takes_read, waits)),
                     host.done.eq(waits[-1] | (host.valid & host.write & takes_write))]
        kept = given if half is None else given.word_select(half, 8 * WORD)
        m.d.comb += [host.read.eq(kept), host.ready.eq(Mux(host.write, takes_write, takes_read))]
        return m

    def _reads(self, m, address, given, place, lane, takes_host):
        """Read bursts, and the host between them."""
        bus, depth = self.r_axi, len(address)
        busy, left, following = Signal(), Signal.like(bus.arlen), Signal(depth)
        issued, last = Signal(READ - 1), Signal(READ - 1)
        m.d.comb += [bus.arready.eq(~busy), takes_host.eq(~busy), bus.rdata.eq(given)]
        m.d.sync += [issued.eq(Cat(busy, issued)), last.eq(Cat(left == 0, last)), bus.rvalid.eq(issued[-1]),
                     bus.rlast.eq(last[-1])]
        with m.If(busy):
            m.d.sync += [address.eq(following), following.eq(following + 1), left.eq(left - 1), busy.eq(left != 0)]
        with m.Else():
            m.d.sync += [address.eq(place), busy.eq(bus.arvalid), left.eq(bus.arlen),
                         following.eq(bus.araddr[lane:lane + depth])]

    def _writes(self, m, address, enable, data, place, half, lane, takes_host):
        """Write bursts, and the host between them."""
        bus, host, depth = self.w_axi, self.host, len(address)
        busy, following = Signal(), Signal(depth)
        m.d.comb += [bus.awready.eq(~busy & ~bus.bvalid), bus.wready.eq(busy), takes_host.eq(~busy)]
        m.d.sync += enable.eq(0)
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(busy):
            with m.If(bus.wvalid):
                m.d.sync += [address.eq(following), following.eq(following + 1), enable.eq(bus.wstrb),
                             data.eq(bus.wdata)]
                with m.If(bus.wlast):
                    m.d.sync += [busy.eq(0), bus.bvalid.eq(1)]
        with m.Else():
            whole = (1 << WORD) - 1
            m.d.sync += [address.eq(place), data.eq(host.data.replicate(self._port_bytes // WORD)),
                         enable.eq(Mux(host.valid & host.write, whole if half is None else whole << (half * WORD), 0))]
            with m.If(bus.awvalid & bus.awready):
                m.d.sync += [busy.eq(1), following.eq(bus.awaddr[lane:lane + depth])]
