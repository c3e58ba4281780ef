"""Proof: the store unit has a place for every channel group that it asks for."""

from rtl.move import Store
from spec.memories import STORES_AHEAD

from ..formal import Proof


def test_store(tmp_path):
    """Groups come at any time after they were asked for, and leave as the port takes them."""
    part = Store(ic=6, pixels=2, act_depth=8, addr_bits=32, port_bits=32, beat_bits=12, group_beats=2)
    p = Proof(part)
    room, some, asked = p.inside("room", "some", "asked")
    arrived = p.inside("arrived", of="_send")
    ask = part.gather.place
    p.give(part.cmd.valid, part.cmd.payload, part.base, ask.ready, part.gather.codes, part.req.ready, part.data.ready,
           part.done)
    p.steady(part.cmd.valid, part.cmd.ready, part.cmd.payload, then=p.assume)
    came = part.gather.valid
    owed = p.count((1, ask.valid & ask.ready), (-1, came), bits=5)
    p.m.d.comb += came.eq(p.free() & (owed != 0))
    p.check(room + asked.level + owed + arrived.level == STORES_AHEAD)
    p.check(asked.level <= asked.depth)
    p.check(some == (room != 0))
    p.check((arrived.level != 0) == arrived.o.valid)
    p.run(tmp_path)
