"""The arbiter of a read port that two share."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out

from spec.config import PORT_BITS
from spec.memories import REQUESTS_AHEAD

from ..prim import Block, Parameter, Queue, ResetInserter, request_layout

__all__ = ["ReadArbiter"]


class ReadArbiter(Block):
    """Two users of one read port; the beats go back to whom the request came from.

    User 0 goes first when both ask. No latency; one request and one beat each cycle. Up to
    :data:`spec.memories.REQUESTS_AHEAD` requests are remembered; a user that does not take its data holds up the
    other's.

    Parameters
    ----------
    addr_bits, port_bits, beat_bits : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    user_req, user_data : requests and beats of the two.
    req, data : to and from the read port.
    clear : forget all requests.
    """
    addr_bits = Parameter(32, high=64)
    port_bits = Parameter(choices=PORT_BITS)
    beat_bits = Parameter()

    def members(self) -> dict[str, Member]:
        request, beat = stream.Signature(request_layout(self)), stream.Signature(self.port_bits)
        return {"user_req": In(request).array(2), "user_data": Out(beat).array(2), "req": Out(request),
                "data": In(beat), "clear": In(1)}

    def elaborate(self, platform):
        m = Module()
        beats = self.beat_bits
        order = Queue(data.StructLayout({"owner": 1, "beats": beats, "single": 1}), REQUESTS_AHEAD)
        m.submodules.order = ResetInserter(self.clear)(order)
        # The choice stays while the port makes the chosen user wait: its request may not change.
        owner, held, chosen = Signal(), Signal(), Signal()
        m.d.comb += owner.eq(Mux(held, chosen, ~self.user_req[0].valid))
        m.d.sync += [held.eq(self.req.valid & ~self.req.ready & ~self.clear), chosen.eq(owner)]
        with m.Switch(owner):
            for n in range(2):
                with m.Case(n):
                    m.d.comb += [self.req.payload.eq(self.user_req[n].payload),
                                 self.req.valid.eq(self.user_req[n].valid & order.i.ready),
                                 self.user_req[n].ready.eq(self.req.ready & order.i.ready)]
        m.d.comb += [order.i.payload.owner.eq(owner), order.i.payload.beats.eq(self.req.payload.beats),
                     order.i.payload.single.eq(self.req.payload.beats == 1),
                     order.i.valid.eq(self.req.valid & self.req.ready)]

        # Whether the next beat is the last of its request is known a cycle before.
        behind, first, ends = Signal(beats, init=2), Signal(init=1), Signal()
        transfer, last = Signal(), Signal()
        m.d.comb += [transfer.eq(self.data.valid & self.data.ready), last.eq(Mux(first, order.o.payload.single, ends)),
                     order.o.ready.eq(transfer & last)]
        for n in range(2):
            m.d.comb += self.user_data[n].payload.eq(self.data.payload)
        with m.If(order.o.valid & ~self.clear):
            with m.Switch(order.o.payload.owner):
                for n in range(2):
                    with m.Case(n):
                        m.d.comb += [self.user_data[n].valid.eq(self.data.valid),
                                     self.data.ready.eq(self.user_data[n].ready)]
        with m.If(transfer):
            m.d.sync += [first.eq(last), ends.eq(behind == order.o.payload.beats), behind.eq(behind + 1)]
        with m.If(self.clear | (transfer & last)):
            m.d.sync += [first.eq(1), behind.eq(2)]
        return m
