"""The read and the write port: bus masters that cut requests into AXI4 bursts."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import data, stream
from amaranth.lib.wiring import In, Member, Out

from spec import memories
from spec.config import BOUNDARY, PORT_BITS
from spec.errors import AlloyError

from ..prim import Block, Parameter, Queue, Skid, change, request_layout, small_less, sum_and_carry
from .axi import AXI4ReadSignature, AXI4WriteSignature

__all__ = ["ReadPort", "WritePort"]


class _Port(Block):
    """What both ports are made of."""
    addr_bits = Parameter(32, high=64)
    port_bits = Parameter(choices=PORT_BITS)
    beat_bits = Parameter()
    burst_beats = Parameter(high=256)
    outstanding = Parameter()

    @property
    def port_bytes(self) -> int:
        return self.port_bits // 8

    def check(self) -> None:
        most = min(256, BOUNDARY // self.port_bytes)
        if self.burst_beats & self.burst_beats - 1 or self.burst_beats > most:
            raise AlloyError(f"no {type(self).__name__} of {self.port_bits} bits has burst_beats {self.burst_beats}: "
                             f"give a power of two of at most {most}")


class _Bursts:
    """Cuts requests into bursts, one each cycle: ``addr``, ``len``, which is one less than its beats, and ``last`` of
    the request while ``valid``.

    All come from registers, as does ``req.ready``, which ``stop`` alone takes away. ``take`` moves on; ``stop`` forgets
    everything. ``busy``: there is or will be a burst. ``minus``: its beats, less than 0.
    """
    def __init__(self, m, port, req, stop, take):
        longest, shift = port.burst_beats, (port.port_bytes - 1).bit_length()
        inner = (longest - 1).bit_length()
        burst = data.StructLayout({"addr": port.addr_bits, "len": range(longest), "last": 1})
        staged, next_burst = Signal(), Signal(burst, reset_less=True)
        self.addr, self.len, self.last = next_burst.addr, next_burst.len, next_burst.last
        self.minus = ~Cat(self.len, Const(0, 1)).as_signed()
        self.valid, self.busy = Signal(), Signal()
        # Of the request that is cut: beats from the multiple of ``longest`` below ``at`` to its end, in one burst?
        more, at, end, final = (
            Signal(), Signal(port.addr_bits, reset_less=True), Signal(port.beat_bits + 1, reset_less=True), Signal())
        offset, first = at[shift:shift + inner], req.payload.addr[shift:shift + inner]
        m.submodules.cut = cut = Skid(burst)
        to_end, cuts = Signal(inner + 2), Signal()          # ``end`` of a request, if it is short
        m.d.comb += [
            cuts.eq(more & cut.i.ready), to_end.eq(req.payload.beats[:inner + 1] + first),
            cut.i.valid.eq(more), cut.i.payload.addr.eq(at), cut.i.payload.last.eq(final),
            cut.i.payload.len.eq(Mux(final, end[:inner], 0) + ~offset),
            cut.o.ready.eq(~staged | take | stop),
            self.valid.eq(staged & ~stop), self.busy.eq(staged | more | ~cut.i.ready),
            req.ready.eq((~more | (cut.i.ready & final)) & ~stop)]
        with m.If(cuts):
            m.d.sync += [more.eq(~final), at.eq(Cat(Const(0, shift + inner), at[shift + inner:] + 1)),
                         end[inner:].eq(end[inner:] - 1),
                         final.eq((end[inner + 1:] == 0) | ((end[inner:] == 2) & (end[:inner] == 0)))]
        with m.If(req.valid & req.ready):
            m.d.sync += [at.eq(req.payload.addr), end.eq(req.payload.beats + first), more.eq(1),
                         final.eq((req.payload.beats[inner + 1:] == 0) & (to_end <= longest))]
        with m.If(~staged | take):
            m.d.sync += [staged.eq(cut.o.valid), next_burst.eq(cut.o.payload)]
        with m.If(stop):
            m.d.sync += [staged.eq(0), more.eq(0)]


def _constants(m, bus, prefix, port_bytes):
    """Fields that never change: full-width incrementing bursts, normal modifiable bufferable memory, one id."""
    values = {"size": (port_bytes - 1).bit_length(), "burst": 1, "cache": 0b0011, "prot": 0, "id": 0, "lock": 0,
              "qos": 0}
    m.d.comb += [getattr(bus, prefix + name).eq(value) for name, value in values.items()]


class ReadPort(_Port):
    """AXI4 read master: requests in, their beats out, in order.

    A burst is issued while there is space for one of ``burst_beats``, so ``rready`` never falls; up to ``outstanding``
    bursts and ``read_beats`` beats are on the way. A new request is taken while earlier data still flows; bursts
    follow each other without a gap. Latency: 3 cycles from ``req`` to ``arvalid``, 2 from ``rvalid`` to
    ``data.valid``; one beat each cycle.

    Parameters
    ----------
    addr_bits, port_bits, beat_bits, burst_beats, outstanding, read_beats : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    req : requests (:func:`request_layout`).
    data : the beats.
    stop : while high nothing new is issued, requests are not taken, arriving and waiting data is thrown away.
    idle : nothing requested, on the way or waiting.
    error : a response was not OKAY; kept until ``stop`` has led to ``idle``.
    bus : the read channels.
    """

    read_beats = Parameter()

    def check(self) -> None:
        super().check()
        if self.read_beats < self.burst_beats:
            raise AlloyError(f"a ReadPort that holds {self.read_beats} beats has no place for a burst of "
                             f"{self.burst_beats}: give read_beats {self.burst_beats} or more")

    def members(self) -> dict[str, Member]:
        return {
            "req": In(stream.Signature(request_layout(self))), "data": Out(stream.Signature(self.port_bits)),
            "stop": In(1), "idle": Out(1), "error": Out(1),
            "bus": Out(AXI4ReadSignature(self.addr_bits, self.port_bits))}

    def elaborate(self, platform):
        m = Module()
        bus, depth = self.bus, memories.read(self).depth
        m.submodules.queue = queue = Queue(self.port_bits, depth, buffered=True, reserved=True)
        _constants(m, bus, "ar", self.port_bytes)

        take = Signal()
        bursts = _Bursts(m, self, self.req, self.stop, take)
        # Beats neither reserved nor waiting, besides a burst of the most beats.
        free = Signal(range(-self.burst_beats, depth - self.burst_beats + 1), init=depth - self.burst_beats)
        on_way = Signal(range(self.outstanding + 1))               # bursts
        beat, ends, back = Signal(), Signal(), Signal()         # one comes, the last of a burst; one has left
        m.d.comb += take.eq(bursts.valid & (~bus.arvalid | bus.arready) & ~free[-1] & (on_way != self.outstanding))
        with m.If(take):
            m.d.sync += [bus.araddr.eq(bursts.addr), bus.arlen.eq(bursts.len), bus.arvalid.eq(1)]
        with m.Elif(bus.arready):
            m.d.sync += bus.arvalid.eq(0)

        m.d.comb += [
            bus.rready.eq(1),
            beat.eq(bus.rvalid & bus.rready), ends.eq(beat & bus.rlast),
            queue.i.payload.eq(bus.rdata), queue.i.valid.eq(beat),
            self.data.payload.eq(queue.o.payload), self.data.valid.eq(queue.o.valid & ~self.stop),
            queue.o.ready.eq(self.data.ready | self.stop),
            self.idle.eq(~bursts.busy & (on_way == 0) & (queue.level == 0))]
        m.d.sync += [back.eq(queue.o.valid & queue.o.ready),
                     free.eq(sum_and_carry(free, Mux(take, bursts.minus, 0), back)),
                     on_way.eq(on_way + change(take, ends))]

        with m.If(beat & (bus.rresp != 0)):
            m.d.sync += self.error.eq(1)
        with m.Elif(self.stop & self.idle):
            m.d.sync += self.error.eq(0)
        return m


class WritePort(_Port):
    """AXI4 write master: requests and their beats in.

    A burst starts when all its beats are here, so it never holds the bus; one cycle between bursts. Latency: 2 cycles
    from the last beat of a burst to ``awvalid``.

    Parameters
    ----------
    addr_bits, port_bits, beat_bits, burst_beats, outstanding : as in :class:`spec.config.EngineConfig`.

    Members
    -------
    req : requests (:func:`request_layout`).
    data : the beats with byte strobes, may come before or after the request.
    done : one pulse for each request when its last response has arrived.
    stop : while high no burst starts, requests are not taken, waiting data is thrown away; a started burst is
        completed.
    idle : nothing requested, on the way or waiting.
    error : a response was not OKAY; kept until ``stop`` has led to ``idle``.
    bus : the write channels.
    """

    def members(self) -> dict[str, Member]:
        beat = data.StructLayout({"data": self.port_bits, "strb": self.port_bytes})
        return {
            "req": In(stream.Signature(request_layout(self))), "data": In(stream.Signature(beat)),
            "done": Out(1), "stop": In(1), "idle": Out(1), "error": Out(1),
            "bus": Out(AXI4WriteSignature(self.addr_bits, self.port_bits))}

    def elaborate(self, platform):
        m = Module()
        bus, longest = self.bus, self.burst_beats
        m.submodules.queue = queue = Queue(self.data.payload.shape(), memories.written(self).depth, buffered=True)
        # One entry for each burst on the way: is it the last of its request?
        m.submodules.order = order = Queue(1, self.outstanding)
        _constants(m, bus, "aw", self.port_bytes)

        take, beat, response = Signal(), Signal(), Signal()
        bursts = _Bursts(m, self, self.req, self.stop, take)
        left = Signal(range(longest + 1))                       # beats of the started burst
        here, came, thrown = Signal(range(queue.depth + 2)), Signal(), Signal()     # beats of none yet
        m.d.comb += [
            take.eq(bursts.valid & (~bus.awvalid | bus.awready) & (left == 0) & small_less(bursts.len, here)
                    & order.i.ready),
            came.eq(queue.i.valid & queue.i.ready), thrown.eq(queue.o.valid & self.stop & (left == 0)),
            beat.eq(bus.wvalid & bus.wready),
            response.eq(bus.bvalid & bus.bready)]
        with m.If(take):
            m.d.sync += [bus.awaddr.eq(bursts.addr), bus.awlen.eq(bursts.len), bus.awvalid.eq(1),
                         left.eq(bursts.len + 1)]
        with m.Else():
            m.d.sync += left.eq(left - beat)
            with m.If(bus.awready):
                m.d.sync += bus.awvalid.eq(0)
        m.d.comb += [
            self.data.ready.eq(queue.i.ready & ~self.stop),
            queue.i.payload.eq(self.data.payload), queue.i.valid.eq(self.data.valid & ~self.stop),
            bus.wdata.eq(queue.o.payload.data), bus.wstrb.eq(queue.o.payload.strb),
            bus.wvalid.eq(queue.o.valid & (left != 0)), bus.wlast.eq(left == 1),
            queue.o.ready.eq(Mux(left != 0, bus.wready, self.stop)),
            bus.bready.eq(1),
            order.i.payload.eq(bursts.last), order.i.valid.eq(take), order.o.ready.eq(response),
            self.done.eq(response & order.o.payload),
            self.idle.eq(~bursts.busy & (left == 0) & (order.level == 0) & (queue.level == 0))]

        m.d.sync += here.eq(sum_and_carry(here, Mux(take, bursts.minus, Mux(thrown, -1, 0)), came))

        with m.If(response & (bus.bresp != 0)):
            m.d.sync += self.error.eq(1)
        with m.Elif(self.stop & self.idle):
            m.d.sync += self.error.eq(0)
        return m
