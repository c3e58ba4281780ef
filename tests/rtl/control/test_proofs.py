"""Proofs: the registers answer each access once, and what is fetched finds its place."""

from amaranth.hdl import Signal

from rtl.control import Registers
from rtl.control.fetch import Fetch
from spec.commands import COMMAND_BYTES, FETCH_AHEAD, TOGETHER

from ..formal import Proof

STATE = ("busy", "done", "error", "code", "tag", "cycles", "commands", "inc_array", "inc_load", "inc_store", "inc_post")


def test_registers(tmp_path):
    """A master that keeps to IHI 0022 has one response for each address and its data, which stays until it is taken."""
    part = Registers(addr_bits=36, digest_word=5)
    p, bus = Proof(part), part.bus
    p.give(*(getattr(part, name) for name in STATE), bus.bready, bus.rready)
    for channel, names in (("aw", ("addr", "prot")), ("w", ("data", "strb")), ("ar", ("addr", "prot"))):
        valid, *payload = (getattr(bus, channel + name) for name in ("valid", *names))
        p.give(valid, *payload)
        p.steady(valid, getattr(bus, f"{channel}ready"), *payload, then=p.assume)
    p.steady(bus.bvalid, bus.bready, bus.bresp)
    p.steady(bus.rvalid, bus.rready, bus.rdata, bus.rresp)
    taken = {name: getattr(bus, f"{name}valid") & getattr(bus, f"{name}ready") for name in ("aw", "w", "b", "ar", "r")}
    address, data = p.inside("have_addr", "have_data", of="_write")
    p.check(p.count((1, taken["aw"]), (-1, taken["b"]), bits=2) == address + bus.bvalid)
    p.check(p.count((1, taken["w"]), (-1, taken["b"]), bits=2) == data + bus.bvalid)
    p.check(p.count((1, taken["ar"]), (-1, taken["r"]), bits=2) == bus.rvalid)
    p.check((bus.bresp == 0) | (bus.bresp == 2))
    p.check((bus.rresp == 0) | (bus.rresp == 2))
    p.run(tmp_path)


def test_fetch(tmp_path):
    """Beats of commands never wait in the port that others share."""
    beats = 8 * COMMAND_BYTES // 256
    part = Fetch(addr_bits=32, port_bits=256, beat_bits=10)
    p = Proof(part)
    left, room, queue, beat, asks, number, back, fresh, some, many = p.inside(
        "left", "room", "queue", "beat", "asks", "number", "back", "fresh", "some", "many")
    owed, started = Signal(10), Signal()        # once: before the next program everything is forgotten
    p.give(part.at, part.count, part.req.ready, part.data.payload, part.cmd.ready)
    p.m.d.comb += [part.start.eq(p.free() & ~started), part.data.valid.eq(p.free() & (owed != 0))]
    asked, came = part.req.valid & part.req.ready, part.data.valid & part.data.ready
    p.m.d.sync += started.eq(started | part.start)
    p.m.d.sync += owed.eq(owed + (part.req.payload.beats * asked) - came)
    p.check(started | (left == 0))
    p.check((room + back) * beats + owed + queue.level + beat <= FETCH_AHEAD * beats)
    p.check(~asks | (number != 0) & (number <= TOGETHER) & (number <= left) & (room >= TOGETHER))
    p.check((queue.level != 0) | ~queue.o.valid)
    p.check(beat < beats)
    p.check(fresh | (some == (left != 0)) & (many == (left >= TOGETHER)))
    p.check(part.data.ready & (queue.level <= queue.depth))
    p.steady(part.req.valid, part.req.ready, part.req.payload.addr)
    p.run(tmp_path)
