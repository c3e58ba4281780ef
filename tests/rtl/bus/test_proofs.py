"""Proofs of the ports: what is offered stays, no burst leaves its limits, no beat or response is lost or invented.

The bus may wait and answer as it likes, as long as it keeps to IHI 0022; requests may be any. Numbers of beats are
modulo 4096.
"""

from amaranth.hdl import C, Cat, Mux, Signal, Value
import pytest

from rtl.bus import ReadArbiter, ReadPort, WritePort, arbiter as arbiter_module
from rtl.prim import Skid, Slice, Stage
from spec.config import BOUNDARY

from ..formal import Proof

SMALL = dict(addr_bits=32, port_bits=32, beat_bits=10, burst_beats=4, outstanding=2)
LARGE = dict(addr_bits=40, port_bits=128, beat_bits=20, burst_beats=256, outstanding=3)


def requests(p, req, port_bytes):
    """Any requests that a port may be given; whether one is taken."""
    p.give(req.valid, req.payload)
    p.assume((req.payload.addr & port_bytes - 1) == 0)
    p.assume(req.payload.beats != 0)
    p.steady(req.valid, req.ready, req.payload, then=p.assume)
    return req.valid & req.ready


def bursts(p, port, channel):
    """Limits of every burst; returns beats that are requested and not yet asked for on the bus."""
    low, longest = port.port_bytes.bit_length() - 1, port.burst_beats
    addr, length, valid = (getattr(port.bus, channel + name) for name in ("addr", "len", "valid"))
    p.check(~valid | (length < 256) & (length < longest))
    p.check(~valid | ((addr & BOUNDARY - 1) + (length + 1) * port.port_bytes <= BOUNDARY))
    p.check(~valid | (addr[:low] == 0))
    p.steady(valid, getattr(port.bus, channel + "ready"), addr, length)

    # For induction: what is behind the pins keeps to it, too.
    def fits(at, count):
        return (at[:low] == 0) & (count != 0) & ((at[low:] & longest - 1) + count <= longest)
    staged, more, at, end, offset, final, cut, burst = p.inside(
        "staged", "more", "at", "end", "offset", "final", "cut", "self", of="__init__")
    kept = cut.o.payload
    p.check(~more | (at[:low] == 0) & (end > offset) & (final == (end <= longest)))
    p.check(~staged | fits(burst.addr, burst.len + 1))
    p.check(cut.i.ready | fits(kept.addr, kept.len + 1) & staged)
    p.check(~valid | fits(addr, length + 1))
    return (Mux(more, end - offset, 0) + Mux(cut.i.ready, 0, kept.len + 1) + Mux(staged, burst.len + 1, 0)
            + Mux(valid, length + 1, 0))


def read_slave(p, bus, most):
    """Answers ``most`` bursts in order, whenever it likes: whether one is asked for now, whether a beat comes, bursts
    and beats that are owed."""
    asked, owed = bus.arvalid & bus.arready, Signal(range(most + 2))
    left = [Signal(9, name=f"left{n}") for n in range(most)] + [C(0, 9)]
    beat = p.free() & (owed != 0)
    ends = beat & (left[0] == 1)
    p.give(bus.arready, bus.rdata, bus.rresp)
    p.m.d.comb += [bus.rvalid.eq(beat), bus.rlast.eq(left[0] == 1)]
    p.m.d.sync += owed.eq(owed + asked - ends)
    for n in range(most):
        p.m.d.sync += left[n].eq(Mux(asked & (owed - ends == n), bus.arlen + 1,
                                     Mux(ends, left[n + 1], left[n] - (beat if n == 0 else 0))))
        p.check(((left[n] != 0) == (owed > n)) & (left[n] <= 256))
    return asked, beat, owed, sum(left, C(0, 1))


def read_port(values, read_beats, stop):
    """The proof; ``stop``: it may come at any time."""
    port = ReadPort(**values, read_beats=read_beats)
    p, bus = Proof(port), port.bus
    taken = requests(p, port.req, port.port_bytes)
    asked, beat, owed, beats = read_slave(p, bus, port.outstanding)
    p.give(port.data.ready, *([port.stop] if stop else []))
    free, back, on_way, queue = p.inside("free", "back", "on_way", "queue")
    p.check(bus.rready)
    p.check((on_way == owed + bus.arvalid) & (on_way <= port.outstanding))
    p.check(free >= -port.burst_beats)
    p.check(free + port.burst_beats + back + queue.level + beats + Mux(bus.arvalid, bus.arlen + 1, 0) == read_beats)
    p.check((queue.level != 0) | ~queue.o.valid)
    p.check(~port.idle | (owed == 0) & ~bus.arvalid & (queue.level == 0))
    to_come = bursts(p, port, "ar")
    if not stop:
        p.check(p.count((1, beat), (-1, port.data.valid & port.data.ready), bits=12) == queue.level)
        p.check(p.count((port.req.payload.beats, taken), (-(bus.arlen + 1), asked), bits=12) == to_come[:12])
        p.check(~port.idle | (to_come == 0))
        p.steady(port.data.valid, port.data.ready)
    return p


@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize("values, beats", [
    (SMALL, 8), pytest.param(LARGE, 512, marks=pytest.mark.slow)], ids=["small", "large"])
def test_read_port(tmp_path, values, beats, stop):
    """A beat comes out for each that is requested, in a queue that never overflows; with ``stop`` what is on the bus is
    waited for."""
    read_port(values, beats, stop).run(tmp_path)


def write_port(values, stop):
    """The same of the other port."""
    port = WritePort(**values)
    p, bus = Proof(port), port.bus
    taken = requests(p, port.req, port.port_bytes)
    p.give(port.data.valid, port.data.payload, bus.awready, bus.wready, bus.bresp, *([port.stop] if stop else []))
    queue, order, left, here = p.inside("queue", "order", "left", "here")
    address, beat = bus.awvalid & bus.awready, bus.wvalid & bus.wready
    # A response comes when address and last beat have been taken.
    answer, addressed, sent = p.free(), Signal(8), Signal(8)
    response = answer & (addressed != 0) & (sent != 0)
    p.m.d.comb += bus.bvalid.eq(response)
    p.m.d.sync += [addressed.eq(addressed + address - response), sent.eq(sent + (beat & bus.wlast) - response)]
    p.check(bus.bready)
    p.check(order.level == addressed + bus.awvalid)
    p.check(order.level == sent + (left != 0))
    p.check(order.level <= port.outstanding)
    p.check(order.o.valid == (order.level != 0))

    # WLAST is at the beat that AWLEN says: the address of a burst stays at the pins until the next one is started.
    beats = Signal(9)
    p.m.d.sync += beats.eq(Mux(beat, Mux(bus.wlast, 0, beats + 1), beats))
    p.check(~bus.wvalid | (bus.wlast == (beats == bus.awlen)))
    p.check(Mux(left != 0, beats + left == bus.awlen + 1, beats == 0))
    p.check(~bus.awvalid | (left != 0) | (sent != 0))
    p.steady(bus.wvalid, bus.wready, bus.wdata, bus.wstrb, bus.wlast)
    p.check((queue.level == here + left) & (queue.level <= 2 * port.burst_beats + 1))
    p.check((queue.level != 0) | ~queue.o.valid)
    to_come = bursts(p, port, "aw")
    p.check(~port.idle | (addressed == 0) & (sent == 0) & ~bus.awvalid & ~bus.wvalid)
    if not stop:
        p.check(p.count((1, port.data.valid & port.data.ready), (-1, beat), bits=12) == queue.level)
        p.check(p.count((port.req.payload.beats, taken), (-(bus.awlen + 1), address), bits=12) == to_come[:12])
        p.check(~port.idle | (to_come == 0))
    return p


@pytest.mark.parametrize("stop", [False, True])
@pytest.mark.parametrize("values", [SMALL, pytest.param(LARGE, marks=pytest.mark.slow)], ids=["small", "large"])
def test_write_port(tmp_path, values, stop):
    """Each beat goes out once, in bursts whose end is where it was announced, and whose beats are all there."""
    write_port(values, stop).run(tmp_path)


def choice(p, part, forget):
    """What the arbiter asks of the port is what one of its users asks, the first if both do; whether the port takes it
    and whether it is the second user's."""
    users, req, order = part.user_req, part.req, p.inside("order")
    for user in users:
        p.give(user.valid, user.payload)
        p.assume(user.payload.beats != 0)
        p.steady(user.valid, user.ready, user.payload, then=lambda kept: p.assume(kept | p.past(forget)))
    p.give(req.ready)
    p.steady(req.valid, req.ready, req.payload, then=lambda kept: p.check(kept | p.past(forget)))
    taken, (first, second) = req.valid & req.ready, (user.valid & user.ready for user in users)
    p.check((first | second) == taken)
    p.check(~(first & second))
    for user, takes in zip(users, (first, second), strict=True):
        p.check(~takes | (Value.cast(req.payload) == Value.cast(user.payload)))
    p.check(~(second & users[0].valid) | p.past(req.valid & ~req.ready & ~forget))
    p.check(taken | ~req.ready | ~(users[0].valid | users[1].valid) | (order.level >= order.depth))
    p.check(~order.i.valid | order.i.ready)
    p.check(order.level <= order.depth)
    return taken, second


def arbiter(beat_bits, clear):
    """The proof: one request, any, is followed from its user to its last beat; ``clear``: at any time all of them are
    forgotten, by the port as well."""
    part = ReadArbiter(addr_bits=32, port_bits=32, beat_bits=beat_bits)
    p, back, given = Proof(part), part.user_data, part.data
    m, forget = p.m, p.free(name="forget") if clear else C(0, 1)
    taken, second = choice(p, part, forget)
    owed, ahead, left = (Signal(beat_bits + 4, name=name) for name in ("owed", "ahead", "left"))
    p.give(given.payload, *(user.ready for user in back))
    beat = given.valid & given.ready
    m.d.comb += [part.clear.eq(forget), given.valid.eq(p.free(name="beat") & (owed != 0))]
    m.d.sync += owed.eq(Mux(forget, 0, owed + Mux(taken, part.req.payload.beats, 0) - beat))

    # The beats before those of the request, and of its own those that are still to come.
    whose = Signal()
    with m.If(forget):
        m.d.sync += left.eq(0)
    with m.Elif(left == 0):
        with m.If(taken & p.free()):
            m.d.sync += [left.eq(part.req.payload.beats), ahead.eq(owed - beat), whose.eq(second)]
    with m.Elif(beat):
        m.d.sync += [ahead.eq(Mux(ahead == 0, 0, ahead - 1)), left.eq(Mux(ahead == 0, left - 1, left))]
    now, offered = (left != 0) & (ahead == 0) & given.valid & ~forget, Cat(user.valid for user in back)
    p.check(~now | (offered == Mux(whose, 0b10, 0b01)))
    p.check(~now | (given.ready == Mux(whose, back[1].ready, back[0].ready)))
    p.check(beat == (offered & Cat(user.ready for user in back)).any())
    p.check(~offered.all() & (given.valid | ~offered.any()))
    for user in back:
        p.check(~user.valid | (user.payload == given.payload))
    return p


@pytest.mark.parametrize("clear", [False, True])
@pytest.mark.parametrize("ahead", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_arbiter(tmp_path, monkeypatch, ahead, clear):
    """No request or beat is lost, invented or overtaken, and no more requests are kept than there is room for: fewer
    than in the engine, with which the proof does not end."""
    monkeypatch.setattr(arbiter_module, "REQUESTS_AHEAD", ahead)
    arbiter(2, clear).run(tmp_path, engine="abc pdr")


@pytest.mark.parametrize("kind", [Slice, Skid])
def test_slices(tmp_path, kind):
    """A payload that goes in comes out once, in order, and stays until it is taken; what makes the long path is a
    register."""
    part = kind(2)
    p = Proof(part)
    p.give(part.i.valid, part.i.payload, part.o.ready)
    p.steady(part.i.valid, part.i.ready, part.i.payload, then=p.assume)
    p.steady(part.o.valid, part.o.ready, part.o.payload)
    into, out = part.i.valid & part.i.ready, part.o.valid & part.o.ready
    kept, held = ("valid", "payload") if kind is Slice else ("empty", "kept")
    full = p.inside(kept) if kind is Slice else ~p.inside(kept)
    p.check(p.count((1, into), (-1, out), bits=2) == full)
    first, last = p.past(part.i.payload), p.inside(held)
    p.check(~full | ~p.past(into) | (last == first))
    if kind is Skid:
        p.check(full | (part.o.valid == part.i.valid) & (part.o.payload == part.i.payload))
    p.run(tmp_path)


def test_a_stage(tmp_path):
    """Of two payloads as well; any of them is followed from one end to the other."""
    part = Stage(2)
    p = Proof(part)
    p.give(part.i.valid, part.i.payload, part.o.ready)
    p.steady(part.i.valid, part.i.ready, part.i.payload, then=p.assume)
    p.steady(part.o.valid, part.o.ready, part.o.payload)
    into, out = part.i.valid & part.i.ready, part.o.valid & part.o.ready
    empty, kept = p.inside("empty", "kept")
    held = part.o.valid + ~empty
    p.check(p.count((1, into), (-1, out), bits=2) == held)
    follows, ahead, value = Signal(), Signal(2), Signal(2)
    with p.m.If(~follows):
        p.m.d.sync += [follows.eq(into & p.free()), ahead.eq(held - out), value.eq(part.i.payload)]
    with p.m.Elif(out):
        p.m.d.sync += [follows.eq(ahead != 0), ahead.eq(ahead - 1)]
    p.check(~follows | (ahead < held) & (Mux(ahead == 0, part.o.payload, kept) == value))
    p.run(tmp_path)
