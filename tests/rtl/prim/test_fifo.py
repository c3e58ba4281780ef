"""Queues: no entry is lost, added or moved at any pace, how long an entry takes, and what is refused.

Kind: a FIFO written without looking at its ready, or trusted to hold what it does not.
"""

from pathlib import Path
from random import Random
import re

import pytest

from rtl.prim import Queue

from ..axi_models import put, refusal, simulate, steady


OPTIONS = [dict(), dict(buffered=True), dict(block=True)]


@pytest.mark.parametrize("options", OPTIONS, ids=str)
@pytest.mark.parametrize("depth", [1, 2, 3, 4, 7])
def test_queue(depth, options):
    """Order and number at any pace; as many entries as it says go in one after the other while nobody takes one."""
    queue, rng, got, words = Queue(8, depth, **options), Random(depth), [], list(range(200))

    async def drive(ctx):
        for n in range(depth):
            ctx.set(queue.i.payload, words[n])
            ctx.set(queue.i.valid, 1)
            assert ctx.get(queue.i.ready) and ctx.get(queue.level) == n
            await ctx.tick()
        ctx.set(queue.i.valid, 0)
        for word in words[depth:]:
            await put(ctx, queue.i, word, rng, rng.choice((0, 0.7)))
        while len(got) < len(words):
            await ctx.tick()

    async def take(ctx):
        await ctx.tick().repeat(depth)
        while True:
            ctx.set(queue.o.ready, rng.random() < 0.5)
            _, _, valid, ready, payload = await ctx.tick().sample(queue.o.valid, queue.o.ready, queue.o.payload)
            got.extend([payload] * (valid and ready))

    simulate({"queue": queue}, drive, background=[take, steady(queue.o)])
    assert got == words


@pytest.mark.parametrize("late", [[(8, 0)], [(3, 0), (5, 1)], [(3, 0), (2, 2), (3, 5)]])
@pytest.mark.parametrize("pause", [0, 0.5])
def test_parts_that_come_late(late, pause):
    """Each part of an entry is given so many cycles after the entry; it leaves whole, in order, at any pace."""
    queue, rng = Queue(8, 5, block=True, reserved=True, late=late), Random(len(late))
    got, words = [], list(range(1, 90))

    async def drive(ctx):
        line = [0] * (late[-1][1] + 1)          # what has come, the latest first; 0: nothing
        todo = list(words)
        while len(got) < len(words):
            offered = todo.pop(0) if todo and rng.random() >= pause and len(words) - len(todo) - len(got) < 5 else 0
            line, low, payload = [offered, *line[:-1]], 0, 0
            for bits, later in late:
                payload |= line[later] & (1 << low + bits) - (1 << low)
                low += bits
            ctx.set(queue.i.valid, offered != 0)
            ctx.set(queue.i.payload, payload)
            await ctx.tick()

    async def take(ctx):
        while True:
            ctx.set(queue.o.ready, rng.random() >= pause)
            _, _, valid, ready, payload = await ctx.tick().sample(queue.o.valid, queue.o.ready, queue.o.payload)
            got.extend([payload] * (valid and ready))

    simulate({"queue": queue}, drive, background=[take, steady(queue.o)])
    assert got == words


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_entry_without_a_place_is_an_error(options):
    """A queue whose writer reserves its places holds them all, and tells of one entry too many."""
    queue, entries = Queue(8, 2, **options, reserved=True), []

    async def drive(ctx):
        for offered in (1, 1, 0, 0, 0, 1, 1):
            entries.append(ctx.get(queue.level))
            ctx.set(queue.i.valid, offered)
            await ctx.tick()

    with pytest.raises(AssertionError, match="no place was reserved"):
        simulate({"queue": queue}, drive)
    assert entries[:6] == [0, 1, 2, 2, 2, 2]


def test_fifos_are_made_in_one_place():
    """No other block has a raw FIFO, whose ready could be forgotten."""
    for path in (Path(__file__).parents[3] / "rtl").rglob("*.py"):
        assert path.name == "fifo.py" or not re.search(r"amaranth\.lib.*\bfifo\b|S?yncFIFO", path.read_text()), path


@pytest.mark.parametrize("options, latency", list(zip(OPTIONS, (1, 2, 2), strict=True)), ids=str)
def test_latency(options, latency):
    queue = Queue(8, 3, **options)
    assert queue.latency == latency and queue.depth == 3 and queue.shape == 8
    assert queue.buffered == (latency == 2) and not queue.reserved

    async def drive(ctx):
        ctx.set(queue.i.payload, 7)
        ctx.set(queue.i.valid, 1)
        cycles = 0
        while not ctx.get(queue.o.valid):
            await ctx.tick()
            ctx.set(queue.i.valid, 0)
            cycles += 1
        assert cycles == latency and ctx.get(queue.o.payload) == 7

    simulate({"queue": queue}, drive)


def test_no_depth():
    assert refusal(Queue, shape=8, depth=0) == "no queue holds 0 entries: give 1 or more"
