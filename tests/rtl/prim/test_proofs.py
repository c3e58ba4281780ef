"""Proofs of the queue: what goes in comes out, once and in order, and never more is inside than there is room for."""

from amaranth.hdl import Signal
import pytest

from rtl.prim import Queue

from ..formal import Proof


def queue(depth, **options):
    """The proof of a queue of bits. One entry, any, is followed from end to end."""
    part = Queue(1, depth, **options)
    p, bits = Proof(part), (depth + 1).bit_length()
    p.give(part.i.valid, part.i.payload, part.o.ready)
    into, out = part.i.valid & part.i.ready, part.o.valid & part.o.ready
    inside = p.count((1, into), (-1, out), bits=bits)
    p.check((inside == part.level) & (inside <= depth + (1 if part.buffered else 0)))
    p.check((inside >= depth) | part.i.ready)       # room for all that it says it holds
    p.check((inside != 0) | ~part.o.valid)
    p.check(part.o.valid | (inside == 0) | (p.past(inside) == 0) | p.past(out))     # what is inside comes out
    p.steady(part.o.valid, part.o.ready, part.o.payload)

    seen, gone, ahead, value, m = Signal(), Signal(), Signal(bits), Signal(), p.m
    with m.If(into & ~seen & p.free()):
        m.d.sync += [seen.eq(1), ahead.eq(inside - out), value.eq(part.i.payload)]
    with m.Elif(seen & out):
        m.d.sync += [ahead.eq(ahead - 1), gone.eq(gone | (ahead == 0))]
    p.check(~(seen & ~gone & (ahead == 0) & part.o.valid) | (part.o.payload == value))
    return p


@pytest.mark.parametrize("options", [dict(), dict(buffered=True), dict(block=True)], ids=str)
@pytest.mark.parametrize("depth", [2, 3, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 4, 5))])
def test_queue(tmp_path, depth, options):
    queue(depth, **options).run(tmp_path, engine="abc pdr")


def test_what_does_not_hold_is_found(tmp_path):
    p = queue(3)
    p.check(p.part.level < 3)
    p.run(tmp_path, depth=6, fails=True)


@pytest.mark.parametrize("options", [dict(), dict(buffered=True), dict(block=True)], ids=str)
def test_a_place_that_was_not_reserved(tmp_path, options):
    """An entry without room is an error that a proof of what reserves the places finds."""
    part = Queue(1, 2, **options, reserved=True)
    p = Proof(part)
    p.give(part.i.valid, part.i.payload, part.o.ready)
    p.run(tmp_path, depth=6, fails=True)
