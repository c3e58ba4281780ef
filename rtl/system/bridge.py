"""The host's bytes as accesses: to the engine's registers and to the memory beside it."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from spec.uart import ACKNOWLEDGE, FAILED, WORD, Request

from ..bus import AXI4LiteSignature
from .memory import HOST

__all__ = ["Bridge"]

HEAD = 8                # bytes: address, number of words


class Bridge(wiring.Component):
    """Requests of :mod:`spec.uart`, one after the other; a pause of ``patience`` cycles within one ends it.

    Parameters
    ----------
    patience : cycles. addr_bits : of the registers.

    Members
    -------
    i, o : bytes of the host, and to it.
    memory : of :class:`~rtl.system.memory.Memory`. s_axi : the engine's registers.
    """

    def __init__(self, *, patience, addr_bits):
        self._patience, self._addr_bits = patience, addr_bits
        super().__init__({"i": In(stream.Signature(8, always_ready=True)), "o": Out(stream.Signature(8)),
                          "memory": Out(HOST), "s_axi": Out(AXI4LiteSignature(addr_bits))})

    @property
    def patience(self) -> int:
        return self._patience

    def elaborate(self, platform):
        m = Module()
        write, head, word = Signal(), Signal(8 * HEAD), Signal(8 * WORD)
        count, idle = Signal(range(max(HEAD, WORD))), Signal(range(self._patience + 1))
        address, left, begin, failed = head[:32], head[32:], Signal(), Signal()
        done, read, error = self._access(m, begin, address, write, word)
        m.d.comb += self.o.payload.eq(word[:8])
        m.d.sync += idle.eq(Mux(self.i.valid, 0, idle + 1))
        # Between two bytes there are at least ten bits of the UART, so that no access is in the way of a byte.
        with m.FSM():
            with m.State("request"):
                writes, reads = (self.i.payload == kind for kind in (Request.WRITE, Request.READ))
                m.d.sync += [count.eq(HEAD - 1), failed.eq(0), idle.eq(0), write.eq(writes)]
                with m.If(self.i.valid & (writes | reads)):
                    m.next = "head"
            with m.State("head"):
                self._take(m, head, count, idle, "next")
            with m.State("next"):
                m.d.sync += [count.eq(WORD - 1), idle.eq(0)]
                m.next = "access"
                with m.If(left == 0):
                    m.d.sync += word.eq(Mux(failed, FAILED, ACKNOWLEDGE))
                    m.next = "answer"
                with m.Elif(write):
                    m.next = "word"
            with m.State("word"):
                self._take(m, word, count, idle, "access")
            with m.State("access"):
                m.d.comb += begin.eq(1)
                m.next = "wait"
            with m.State("wait"):
                with m.If(done):
                    m.d.sync += [failed.eq(failed | error), word.eq(read)]
                    m.next = "step"
            with m.State("step"):
                m.d.sync += [address.eq(address + WORD), left.eq(left - 1)]
                m.next = "say"
                with m.If(write):
                    m.next = "next"
            with m.State("say"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.d.sync += [word.eq(word[8:]), count.eq(count - 1)]
                    with m.If(count == 0):
                        m.next = "next"
            with m.State("answer"):
                m.d.comb += self.o.valid.eq(1)
                with m.If(self.o.ready):
                    m.next = "request"
        return m

    def _take(self, m, into, count, idle, following):
        """The next byte of several, or the pause that ends the request."""
        with m.If(self.i.valid):
            m.d.sync += [into.eq(Cat(into[8:], self.i.payload)), count.eq(count - 1)]
            with m.If(count == 0):
                m.next = following
        with m.Elif(idle == self._patience):
            m.next = "request"

    def _access(self, m, begin, address, write, word):
        """One access: (done, what was read, error)."""
        memory, bus, registers = self.memory, self.s_axi, address[-1]
        m.d.comb += [memory.address.eq(address), memory.write.eq(write), memory.data.eq(word),
                     bus.awaddr.eq(address), bus.araddr.eq(address), bus.wdata.eq(word), bus.wstrb.eq(-1),
                     bus.bready.eq(1), bus.rready.eq(1)]
        for valid, ready, wanted in ((memory.valid, memory.ready, ~registers),
                                     (bus.awvalid, bus.awready, registers & write),
                                     (bus.wvalid, bus.wready, registers & write),
                                     (bus.arvalid, bus.arready, registers & ~write)):
            with m.If(begin):
                m.d.sync += valid.eq(wanted)
            with m.Elif(ready):
                m.d.sync += valid.eq(0)
        error = (bus.bvalid & (bus.bresp != 0)) | (bus.rvalid & (bus.rresp != 0))
        return memory.done | bus.bvalid | bus.rvalid, Mux(registers, bus.rdata, memory.read), error
