"""The queues: whole commands in order, semaphores that are taken and given, and what is said of those that wait."""

from random import Random

import pytest

from rtl.control.queues import QUEUES, Queues
from spec.commands import FIELDS, SEMAPHORE_MAX, SEMAPHORES, Opcode
from spec.latency import TOKEN

from ..axi_models import put as put_payload
from ..axi_models import simulate, sink, small_config, steady, until
from ..command_models import command
from ..parameters import check_parameters


def offer(ctx, queues, item):
    """A command, and the queue that it goes to."""
    ctx.set(queues.cmd.payload, item)
    ctx.set(queues.into, sum(1 << n for n, opcodes in enumerate(QUEUES.values()) if item.opcode in opcodes))


async def put(ctx, queues, item, *stalls):
    offer(ctx, queues, item)
    await put_payload(ctx, queues.cmd, item, *stalls)


def test_commands_arrive_whole():
    """Every bit that the opcode has reaches the unit, every other bit reads 0."""
    queues, rng = Queues.of(small_config(queue_depth=3)), Random(2)
    sent, got = {"load": [], "compute": [], "store": []}, {"load": [], "compute": [], "store": []}
    todo = []
    for _ in range(12):
        opcode = rng.choice([o for o in Opcode if o not in (Opcode.START, Opcode.END)])
        values = {n: rng.getrandbits(f.width) for n, f in FIELDS.items()
                  if opcode in f.opcodes and n not in ("opcode", "magic", "wait")}
        todo.append(command(opcode, **values))
        unit = "load" if opcode.name.startswith("LOAD") else "store" if opcode == Opcode.STORE_ACT else "compute"
        sent[unit].append(todo[-1].as_bits())

    async def body(ctx):
        for item in todo:
            await put(ctx, queues, item)
        await until(ctx, queues.empty)

    simulate({"queues": queues}, body, background=[sink(getattr(queues, n), got[n], Random(3)) for n in got])
    assert {n: [g.as_bits() for g in items] for n, items in got.items()} == sent


@pytest.mark.parametrize("opcode", [o for o in Opcode if not any(o in queue for queue in QUEUES.values())])
def test_what_no_queue_takes(opcode):
    """START and END: never ready, and no queue has them."""
    queues = Queues(queue_depth=2)

    async def body(ctx):
        offer(ctx, queues, command(opcode, tag=3))
        ctx.set(queues.cmd.valid, 1)
        for _ in range(10):
            await ctx.tick()
            assert not ctx.get(queues.cmd.ready) and ctx.get(queues.empty)

    simulate({"queues": queues}, body)


def test_posts_in_one_cycle_all_count():
    queues, got = Queues.of(small_config()), []

    async def body(ctx):
        for n in range(4):
            ctx.set(queues.give[n], 0b101)
        await ctx.tick()
        for n in range(4):
            ctx.set(queues.give[n], 0)
        for n in range(5):
            await put(ctx, queues, command(Opcode.CONV, wait=0b101, tag=n))
        await ctx.tick().repeat(20)
        assert [g.tag for g in got] == [0, 1, 2, 3] and not ctx.get(queues.empty)
        for n in range(2):
            ctx.set(queues.give[n], 1 << 2 * n)
        await ctx.tick()
        await ctx.tick().repeat(5)
        assert len(got) == 5

    simulate({"queues": queues}, body, background=[sink(queues.compute, got)])


def wanting(rng, count):
    """Commands that wait for one to three semaphores, and how often each is waited for."""
    wanted, todo = [0] * SEMAPHORES, []
    for n in range(count):
        opcode = rng.choice([o for opcodes in QUEUES.values() for o in opcodes])
        wait = sum({1 << rng.randrange(SEMAPHORES) for _ in range(rng.randint(1, 3))})
        wanted = [w + (wait >> s & 1) for s, w in enumerate(wanted)]
        todo.append(command(opcode, wait=wait, tag=n))
    return todo, wanted


@pytest.mark.parametrize("depth, seed", [(1, 1), (2, 2), (5, 3)])
def test_semaphores(depth, seed):
    """Nothing goes before what it waits for is given, everything goes after; each queue keeps its order."""
    queues, rng = Queues(queue_depth=depth), Random(seed)
    todo, wanted = wanting(rng, 60)
    given, taken, got = [0] * SEMAPHORES, [0] * SEMAPHORES, {name: [] for name in QUEUES}
    gives = rng.sample([s for s, count in enumerate(wanted) for _ in range(count)], sum(wanted))

    async def send(ctx):
        for item in todo:
            await put(ctx, queues, item, rng, 0.3)

    async def give(ctx):
        while gives:
            ports = [1 << gives.pop() if gives and rng.random() < 0.2 else 0 for _ in queues.give]
            for port, mask in zip(queues.give, ports, strict=True):
                ctx.set(port, mask)
            await ctx.tick()
            given[:] = [g + sum(mask >> s & 1 for mask in ports) for s, g in enumerate(given)]
        for port in queues.give:
            ctx.set(port, 0)
        while sum(map(len, got.values())) < len(todo):
            await ctx.tick()

    def unit(name):
        stream = getattr(queues, name)

        async def process(ctx):
            fresh = True
            while True:
                ctx.set(stream.ready, rng.random() < 0.5)
                _, _, valid, ready, item = await ctx.tick().sample(stream.valid, stream.ready, stream.payload)
                if valid and fresh:
                    taken[:] = [t + (item["wait"] >> s & 1) for s, t in enumerate(taken)]
                    assert all(t <= g for t, g in zip(taken, given, strict=True)), "a semaphore that nothing has given"
                if valid and ready:
                    got[name].append(item.tag)
                fresh = not valid or ready
        return process

    simulate({"queues": queues}, send, give, background=[
        *map(unit, QUEUES), *(steady(getattr(queues, name)) for name in QUEUES)])
    expected = {name: [item.tag for item in todo if item.opcode in opcodes] for name, opcodes in QUEUES.items()}
    assert got == expected and taken == wanted


def test_one_queue_takes_a_semaphore():
    """Of three that wait for the same one, each time that it is given the first in the order of the queues has it."""
    queues, got = Queues(queue_depth=2), {name: [] for name in QUEUES}

    async def body(ctx):
        for opcode in (Opcode.STORE_ACT, Opcode.CONV, Opcode.LOAD_TAPS):
            await put(ctx, queues, command(opcode, wait=1))
        for count in range(len(QUEUES) + 1):
            await ctx.tick().repeat(8)
            assert [len(items) for items in got.values()] == [int(n < count) for n in range(len(QUEUES))]
            ctx.set(queues.give[0], 1)
            await ctx.tick()
            ctx.set(queues.give[0], 0)

    simulate({"queues": queues}, body, background=[sink(getattr(queues, name), got[name]) for name in QUEUES])


def test_what_waits():
    """The tag of what waits, in the order of the queues; whether semaphores are there; one too many."""
    queues = Queues(queue_depth=2)

    async def body(ctx):
        assert ctx.get(queues.empty)
        for opcode, tag in ((Opcode.STORE_ACT, 7), (Opcode.CONV, 6), (Opcode.LOAD_TAPS, 5)):
            await put(ctx, queues, command(opcode, wait=1, tag=tag))
            assert not ctx.get(queues.empty)
            await ctx.tick()
            assert ctx.get(queues.waiting) == tag
        ctx.set(queues.wait, 2)
        await ctx.tick()
        assert not ctx.get(queues.met)
        ctx.set(queues.give[0], 2)
        for n in range(SEMAPHORE_MAX):
            await ctx.tick()
            assert ctx.get(queues.met) == (n > 0)
        ctx.set(queues.give[0], 0)
        await ctx.tick().repeat(4)
        assert not ctx.get(queues.overflow)
        ctx.set(queues.give[0], 2)
        await ctx.tick()
        ctx.set(queues.give[0], 0)
        ctx.set(queues.wait, 0)
        await put(ctx, queues, command(Opcode.POOL, wait=2))        # it takes one, too late
        await ctx.tick().repeat(10)
        assert ctx.get(queues.overflow)
        ctx.set(queues.clear, 1)
        await ctx.tick()
        ctx.set(queues.clear, 0)
        assert ctx.get(queues.empty) and not ctx.get(queues.met)

    simulate({"queues": queues}, body)


def test_parameters():
    check_parameters(Queues, dict(queue_depth=2), [("queue_depth", 0, "1 or more")])


@pytest.mark.parametrize("wait", [0, 1])
def test_latency(wait):
    """From the giving of a semaphore, or for a command without one from its entry, to the unit that sees it."""
    queues = Queues.of(small_config())

    async def body(ctx):
        offer(ctx, queues, command(Opcode.CONV, wait=wait))
        ctx.set(queues.cmd.valid, 1)
        if wait:
            await ctx.tick().repeat(5)
            ctx.set(queues.give[0], 1)
        cycles = 0
        while not ctx.get(queues.compute.valid):
            await ctx.tick()
            ctx.set(queues.cmd.valid, 0)
            ctx.set(queues.give[0], 0)
            cycles += 1
        assert cycles == TOKEN

    simulate({"queues": queues}, body)
