"""Fetch, checks, queues, semaphores, END, errors and the watchdog, with models of the units."""

from random import Random

import pytest

from rtl.bus import ReadPort
from rtl.control import Control
from spec.commands import Error, Opcode, pack

from ..axi_models import AxiMemory, simulate, small_config, until
from ..command_models import out_fields, start, tensor_view
from ..parameters import check_parameters
from .test_check import BEYOND, LIMITS

BASE, SIZE, AT = 0x1000, 0x8000, 0x200
VIEW = tensor_view(4, 2, 3, 1)[0]
CONV = dict(rows=2, cols=3, taps=1, groups=1, depth=1, tiles=2, pitch=3, acc_first=1, acc_last=1, **out_fields(VIEW))
ACT = dict(dram=0x400, stride=64, rows=2, cols=3, **out_fields(VIEW))
END = pack(Opcode.END)


class Bench:
    """Control with its read port, a DRAM with the program, and units that take ``delay`` cycles for a command."""
    def __init__(self, program, seed=0, delay=5, latency=6, **config):
        self.config = small_config(**config)
        self.dut, self.port = Control.of(self.config), ReadPort.of(self.config)
        self.dram, self.rng, self.delay = AxiMemory(seed=seed, latency=latency), Random(seed), delay
        self.log, self.stuck = [], set()
        self.write(program)

    def write(self, program, first=None):
        """Put the program into DRAM, behind the START of this configuration or ``first``."""
        program = [start(self.config) if first is None else first, *program]
        data = b"".join(program)
        self.dram.bytes[BASE + AT:BASE + AT + len(data)] = data
        self.count = len(program)

    def unit(self, name):
        stream, idle = getattr(self.dut, name), getattr(self.dut, f"{name}_idle")
        give = getattr(self.dut, f"{name}_give")

        async def process(ctx):
            ctx.set(idle, 1)
            while True:
                ctx.set(stream.ready, 1)
                _, _, valid, clear, item = await ctx.tick().sample(stream.valid, self.dut.clear, stream.payload)
                ctx.set(stream.ready, 0)
                if not valid:
                    continue
                self.log.append(("take", name, item.tag))
                ctx.set(idle, 0)
                left = self.rng.randint(1, self.delay)
                while (left or name in self.stuck) and not clear:
                    left -= left > 0
                    _, _, clear = await ctx.tick().sample(self.dut.clear)
                if not clear:
                    self.log.append(("give", name, item.tag))
                    ctx.set(give, item.give)
                    await ctx.tick()
                    ctx.set(give, 0)
                ctx.set(idle, 1)
        return process

    def run(self, testbench):
        d, p = self.dut, self.port

        async def body(ctx):
            for name, value in (("base", BASE), ("size", SIZE), ("cmd_offset", AT), ("cmd_count", self.count)):
                ctx.set(getattr(d, name), value)
            await ctx.tick()
            await testbench(ctx)

        simulate({"control": d, "port": p}, body, join=[(d.req, p.req), (p.data, d.data)],
                 wires=[(d.clear, p.stop), (p.error, d.read_error), (p.idle, d.ports_idle)],
                 background=[self.dram.read_slave(p.bus), *(self.unit(n) for n in ("load", "compute", "store"))])

    async def start(self, ctx, limit=3000):
        """Start and wait for the end; the state as (done, error, code, tag)."""
        d = self.dut
        ctx.set(d.start, 1)
        await ctx.tick()
        ctx.set(d.start, 0)
        for _ in range(limit):
            await ctx.tick()
            if not ctx.get(d.busy):
                return tuple(ctx.get(s) for s in (d.done, d.error, d.code, d.tag))
            early = ctx.get(d.error) or ctx.get(d.done)
            assert self.dram.dead or not early, "the result is there before the engine is idle"
        raise TimeoutError("the engine stays busy")

    def check(self, expected):
        result = []

        async def body(ctx):
            result.append(await self.start(ctx))
        self.run(body)
        assert result == [expected]


def chain(count):
    """load -> compute -> store through semaphores 0 and 1, with 2 and 3 giving room back."""
    out = [pack(Opcode.LOAD_TAPS, tag=0, count=1, give=0b1100), pack(Opcode.LOAD_TAPS, tag=1, count=1, give=0b1100)]
    for n in range(count):
        out += [pack(Opcode.LOAD_ACT, tag=10 + n, wait=4, give=1, **ACT),
                pack(Opcode.CONV, tag=30 + n, wait=1 | 8, give=2 | 4, **CONV),
                pack(Opcode.STORE_ACT, tag=50 + n, wait=2, give=8, **ACT)]
    return out + [pack(Opcode.END, tag=99)]


@pytest.mark.parametrize("port_bits, delay", [(32, 40), (64, 1), (128, 40), (256, 1)])
def test_program(port_bits, delay):
    bench = Bench(chain(8), seed=port_bits, delay=delay, port_bits=port_bits)

    async def body(ctx):
        for _ in range(2):
            bench.log.clear()
            assert await bench.start(ctx) == (1, 0, 0, 0)
            assert ctx.get(bench.dut.commands) == bench.count and ctx.get(bench.dut.cycles) > 100
            for name, first in (("load", 10), ("compute", 30), ("store", 50)):
                taken = [t for e, u, t in bench.log if e == "take" and u == name and t >= 10]
                assert taken == list(range(first, first + 8))
            when = {(e, t): n for n, (e, _, t) in enumerate(bench.log)}
            for n in range(8):
                assert when["give", 10 + n] < when["take", 30 + n] and when["give", 30 + n] < when["take", 50 + n]
                if n >= 2:
                    assert when["give", 28 + n] < when["take", 10 + n] and when["give", 48 + n] < when["take", 30 + n]
            assert len(bench.log) == 2 * (bench.count - 2)
    bench.run(body)


def test_semaphore_overflow():
    bench = Bench([pack(Opcode.CONV, wait=1, tag=5, **CONV), END])

    async def body(ctx):
        ctx.set(bench.dut.compute_release, 2)
        assert await bench.start(ctx) == (0, 1, Error.SEMAPHORE, 5)
    bench.run(body)


def test_waiting_commands_do_not_block_the_port():
    """Commands that cannot go on must not keep their data in the read port: the load unit's data comes behind it."""
    program = [pack(Opcode.LOAD_TAPS, count=1)] + [pack(Opcode.CONV, wait=1, tag=n, **CONV) for n in range(24)] + [END]
    bench, seen = Bench(program, latency=1), []
    bench.stuck = {"load"}

    async def body(ctx):
        d = bench.dut
        ctx.set(d.start, 1)
        await ctx.tick()
        ctx.set(d.start, 0)
        for _ in range(600):
            _, _, valid, ready = await ctx.tick().sample(d.data.valid, d.data.ready)
            assert ready or not valid
            seen.append(valid)
        assert sum(seen) % 16 == 0 and 0 < sum(seen) < bench.count * 16
    bench.run(body)


def test_end_waits_for_units():
    bench = Bench([pack(Opcode.CONV, tag=1, **CONV), END], delay=400, seed=5)
    bench.check((1, 0, 0, 0))
    assert bench.log == [("take", "compute", 1), ("give", "compute", 1)]


BAD = [
    (Error.OPCODE, b"\x06" + bytes(127)), (Error.OPCODE, b"\x00" + END[1:]), (Error.OPCODE, b"\x0b" + END[1:]),
    (Error.OPCODE, start(small_config())),
    (Error.FIELD, pack(Opcode.LOAD_TAPS, tag=7, dst=20, count=13)), (Error.FIELD, pack(Opcode.LOAD_TAPS, tag=7)),
    (Error.FIELD, pack(Opcode.LOAD_PARAMS, tag=7, dst=47, count=2)),
    (Error.FIELD, pack(Opcode.LOAD_PARAMS, tag=7, dram=4, count=2)),
    (Error.FIELD, pack(Opcode.LOAD_WEIGHTS, tag=7, dst=0xFFFF, count=1)),
    (Error.FIELD, pack(Opcode.LOAD_WEIGHTS, tag=7, count=1, stride=4)),
    (Error.FIELD, pack(Opcode.LOAD_ACT, tag=7, **{**ACT, "out_cur_bank0": 4})),
    (Error.FIELD, pack(Opcode.LOAD_ACT, tag=7, **{**ACT, "out_row_addr0": 65})),
    (Error.FIELD, pack(Opcode.STORE_ACT, tag=7, **{**ACT, "rows": 0})),
    (Error.FIELD, pack(Opcode.CONV, tag=7, **{**CONV, "taps": 5, "depth": 7})),
    (Error.FIELD, pack(Opcode.CONV, tag=7, **{**CONV, "tiles": 0})),
    (Error.FIELD, pack(Opcode.CONV, tag=7, **{**CONV, "depth": 0})),
    (Error.FIELD, pack(Opcode.CONV, tag=7, **CONV, tap_base=32)),
    (Error.FIELD, pack(Opcode.CONV, tag=7, **CONV, param_base=43)),
    (Error.FIELD, pack(Opcode.CONV, tag=7, **CONV, residual=1, mem_res=1, res_groups=0)),
    (Error.FIELD, pack(Opcode.CONV, tag=7, **{**CONV, "out_groups": 0})),
    (Error.FIELD, pack(Opcode.POOL, tag=7, rows=1, cols=1, taps=1, groups=1, **out_fields(VIEW), res_step_bank=9,
                       res_groups=1)),
    (Error.WINDOW, pack(Opcode.LOAD_TAPS, tag=7, dram=SIZE - 16, count=2)),
    (Error.WINDOW, pack(Opcode.LOAD_TAPS, tag=7, dram=0xFFFF_FFF0, count=1)),
    (Error.WINDOW, pack(Opcode.LOAD_WEIGHTS, tag=7, dram=SIZE - 64, stride=56, count=1)),
    (Error.WINDOW, pack(Opcode.LOAD_WEIGHTS, tag=7, stride=0xFFFF_FFF8, count=1)),
    (Error.WINDOW, pack(Opcode.STORE_ACT, tag=7, **{**ACT, "rows": 80, "stride": 0x1_0008})),
    (Error.FIELD, pack(Opcode.STORE_ACT, tag=7, **{**ACT, "rows": 65535, "stride": 0})),
    (Error.WINDOW, pack(Opcode.STORE_ACT, tag=7, **{**ACT, "dram": SIZE - 64 - 16})),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_bad_commands(number):
    code, item = BAD[number]
    bench = Bench([pack(Opcode.LOAD_TAPS, tag=3, count=1), item, END], seed=number)

    async def body(ctx):
        assert await bench.start(ctx) == (0, 1, code, item[4] | item[5] << 8)
        bench.write([END])
        assert await bench.start(ctx) == (1, 0, 0, 0)
    bench.run(body)


def test_last_legal_places():
    bench = Bench([
        pack(Opcode.LOAD_TAPS, dst=19, count=13, dram=SIZE - 13 * 16), pack(Opcode.LOAD_PARAMS, dst=47, count=1),
        pack(Opcode.LOAD_WEIGHTS, dst=31, count=1, dram=SIZE - 64, stride=48),
        pack(Opcode.STORE_ACT, **{**ACT, "dram": SIZE - 64 - 24}), pack(Opcode.CONV, **CONV, param_base=42),
        pack(Opcode.CONV, **{**CONV, "tiles": 1, "out_groups": 0, "param_base": 999, "acc_last": 0}),
        pack(Opcode.CONV, **{**CONV, "taps": 4, "depth": 7}, tap_base=28, weight_base=4), END])
    bench.check((1, 0, 0, 0))


@pytest.mark.parametrize("values", [dict(cmd_offset=SIZE - 128, cmd_count=2), dict(cmd_count=1 << 31),
                                    dict(base=(1 << 40) - 4096), dict(base=(1 << 40) - SIZE + 1),
                                    dict(size=AT + 2 * 128 - 1)])
def test_program_outside_window(values):
    bench = Bench([END])

    async def body(ctx):
        for name, value in values.items():
            ctx.set(getattr(bench.dut, name), value)
        await ctx.tick()
        assert await bench.start(ctx) == (0, 1, Error.WINDOW, 0) and not bench.dram.reads
        for name, value in (("base", BASE), ("size", AT + 2 * 128), ("cmd_offset", AT), ("cmd_count", 2)):
            ctx.set(getattr(bench.dut, name), value)
        await ctx.tick()
        assert await bench.start(ctx) == (1, 0, 0, 0), "a program that just fits"
    bench.run(body)


def test_no_end():
    Bench([pack(Opcode.LOAD_TAPS, count=1, tag=4)]).check((0, 1, Error.OPCODE, 4))
    Bench([]).check((0, 1, Error.OPCODE, 0))


def test_end_without_its_semaphores():
    Bench([pack(Opcode.END, wait=2, tag=6)]).check((0, 1, Error.SEMAPHORE, 6))
    Bench([pack(Opcode.LOAD_TAPS, count=1, give=2), pack(Opcode.END, wait=2, tag=6)]).check((1, 0, 0, 0))


@pytest.mark.parametrize("opcode, values",
                         [(Opcode.LOAD_TAPS, dict(count=1)), (Opcode.CONV, CONV), (Opcode.STORE_ACT, ACT)])
@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_a_semaphore_that_nothing_gives(opcode, values, count):
    """Kind: a wait for what never comes. It ends without a watchdog, when nothing is left that could give it.

    Also behind a full queue.
    """
    program = [pack(Opcode.CONV, tag=1, give=2, **CONV),
               *(pack(opcode, tag=20 + n, wait=3, **values) for n in range(count))]
    Bench([*program, pack(Opcode.END, tag=99)], delay=60).check((0, 1, Error.SEMAPHORE, 20))
    late = pack(Opcode.LOAD_TAPS, tag=50, count=1, give=1)
    if opcode != Opcode.LOAD_TAPS and count == 1:
        Bench([*program, late, pack(Opcode.END, tag=99)], delay=60).check((1, 0, 0, 0))


def test_registers_count_at_start():
    """Kind: a register that is live while a program runs."""
    bench, rng = Bench(chain(8), seed=2), Random(1)

    async def body(ctx):
        d, d_inputs = bench.dut, ("base", "size", "cmd_offset", "cmd_count", "watchdog")
        ctx.set(d.start, 1)
        await ctx.tick()
        for _ in range(3000):
            for name in d_inputs:
                ctx.set(getattr(d, name), rng.choice((0, 1, rng.getrandbits(32))))
            ctx.set(d.start, rng.randrange(2))
            if not ctx.get(d.busy):
                break
            assert ctx.get(d.window) == BASE
            await ctx.tick()
        assert ctx.get(d.done) and ctx.get(d.commands) == bench.count
        assert all(BASE + AT <= at < BASE + AT + 128 * bench.count for at, _ in bench.dram.reads)
    bench.run(body)


def test_a_program_of_another_configuration():
    """Kind: a program of another configuration runs. It stops before a unit sees a command.

    So does what has no START at all.
    """
    bench = Bench(chain(2))
    good, other = start(bench.config), start(small_config(act_depth=65))

    async def body(ctx):
        for first in (other, END, b"\0" * 128, good[:8] + bytes(120), good[:4] + b"\1" + good[5:]):
            bench.write(chain(2), first)
            expected = (1, 0, 0, 0) if first[4:8] == b"\1\0\0\xa1" else (0, 1, Error.PROGRAM, 0)
            assert await bench.start(ctx) == expected and bool(bench.log) == bool(expected[0]), first
    bench.run(body)


def test_fetch_error():
    bench = Bench(chain(4))
    bench.dram.bad = {BASE + AT + 5 * 128}

    async def body(ctx):
        done, error, code, _ = await bench.start(ctx)
        assert (done, error, code) == (0, 1, Error.READ)
        bench.dram.bad = set()
        assert await bench.start(ctx) == (1, 0, 0, 0)
    bench.run(body)


@pytest.mark.parametrize("port", ["write_error", "load_error", "store_error"])
def test_unit_errors(port):
    bench = Bench([pack(Opcode.STORE_ACT, tag=8, **ACT), END])
    bench.stuck = {"store"}

    async def raise_it(ctx):
        signal = getattr(bench.dut, port)
        ctx.set(signal, 1 if port == "write_error" else {"valid": 1, "code": Error.OPCODE, "tag": 21})

    async def body(ctx):
        d = bench.dut
        ctx.set(d.start, 1)
        await ctx.tick()
        ctx.set(d.start, 0)
        await ctx.tick().repeat(150)
        await raise_it(ctx)
        await until(ctx, d.error)
        expected = (Error.WRITE, 8) if port == "write_error" else (Error.OPCODE, 21)
        assert (ctx.get(d.code), ctx.get(d.tag), ctx.get(d.busy)) == (*expected, 0)
    bench.run(body)


@pytest.mark.parametrize("after", [0, 1, 2, 5, 20, 60, 200])
def test_abort_and_restart(after):
    bench = Bench(chain(6), seed=after)

    async def body(ctx):
        d = bench.dut
        ctx.set(d.start, 1)
        await ctx.tick()
        ctx.set(d.start, 0)
        for _ in range(after):
            await ctx.tick()
        ctx.set(d.abort, 1)
        await ctx.tick()
        ctx.set(d.abort, 0)
        await until(ctx, d.error)
        assert ctx.get(d.code) == Error.ABORT and not ctx.get(d.busy) and not ctx.get(d.done)
        assert bench.dram.outstanding == 0
        bench.log.clear()
        assert await bench.start(ctx) == (1, 0, 0, 0)
        assert len(bench.log) == 2 * (bench.count - 2)
        ctx.set(d.abort, 1)
        await ctx.tick().repeat(5)
        assert not ctx.get(d.error) and not ctx.get(d.busy)
    bench.run(body)


def test_an_abort_at_the_end():
    """Kind: an error in the very cycle in which everything is found done, and lost because it is noticed a cycle later.
    """
    async def end(bench, ctx, at):
        d, cycles = bench.dut, 0
        ctx.set(d.start, 1)
        await ctx.tick()
        ctx.set(d.start, 0)
        while ctx.get(d.busy):
            if ctx.get(d.clear):
                ends.append(cycles)
            ctx.set(d.abort, cycles == at)
            await ctx.tick()
            cycles += 1
        found.append((ctx.get(d.done), ctx.get(d.error), ctx.get(d.code)))

    ends, found = [], []
    for before in (None, 0, 1, 2, 3):
        bench = Bench([END], seed=1)
        at = None if before is None else ends[0] - before
        bench.run(lambda ctx, bench=bench, at=at: end(bench, ctx, at))
    assert found == [(1, 0, 0)] * 2 + [(0, 1, Error.ABORT)] * 3


def test_a_start_beside_an_abort_is_none():
    bench = Bench(chain(2))

    async def body(ctx):
        d = bench.dut
        ctx.set(d.start, 1)
        ctx.set(d.abort, 1)
        await ctx.tick()
        ctx.set(d.start, 0)
        ctx.set(d.abort, 0)
        for _ in range(60):
            assert not ctx.get(d.busy) and not ctx.get(d.error)
            await ctx.tick()
        assert await bench.start(ctx) == (1, 0, 0, 0)
    bench.run(body)


def test_watchdog():
    """A unit that hangs, a semaphore that never comes, and a bus that is dead even while the engine stops."""
    bench = Bench([pack(Opcode.CONV, tag=12, **CONV), END])
    bench.stuck = {"compute"}

    async def body(ctx):
        d = bench.dut
        ctx.set(d.watchdog, 100)
        assert await bench.start(ctx) == (0, 1, Error.TIMEOUT, 12)
        bench.stuck = set()
        assert await bench.start(ctx) == (1, 0, 0, 0)
        bench.write([pack(Opcode.CONV, tag=13, wait=1, **CONV), pack(Opcode.END, tag=14)])
        assert await bench.start(ctx) == (0, 1, Error.SEMAPHORE, 13)
        bench.write([pack(Opcode.CONV, tag=12, **CONV), END])
        bench.dram.dead = True
        with pytest.raises(TimeoutError):
            await bench.start(ctx, 400)
        assert ctx.get(d.error) and ctx.get(d.busy) and ctx.get(d.code) == Error.TIMEOUT
        bench.dram.dead = False
        for _ in range(100):
            await ctx.tick()
        assert not ctx.get(d.busy)
    bench.run(body)


def test_a_bus_that_dies_behind_the_end():
    """Kind: a state that nothing leads out of. Everything is done, but commands behind END are asked for and never
    come: that is an error as any other silence is."""
    bench = Bench([pack(Opcode.END, tag=7)] * 15, latency=40)

    async def body(ctx):
        d = bench.dut
        ctx.set(d.watchdog, 100)
        ctx.set(d.start, 1)
        await ctx.tick()
        ctx.set(d.start, 0)
        await until(ctx, d.clear)
        bench.dram.dead = True
        await until(ctx, d.error, 300)
        assert ctx.get(d.busy) and not ctx.get(d.done) and ctx.get(d.code) == Error.TIMEOUT and ctx.get(d.tag) == 0
        bench.dram.dead = False
        for _ in range(400):
            await ctx.tick()
        assert not ctx.get(d.busy)
        assert await bench.start(ctx) == (1, 0, 0, 0)
    bench.run(body)


def test_progress_feeds_the_watchdog():
    bench = Bench([pack(Opcode.CONV, tag=12, **CONV), END], delay=600, seed=7)

    async def body(ctx):
        ctx.set(bench.dut.watchdog, 50)
        ctx.set(bench.dut.progress, 1)
        assert await bench.start(ctx) == (1, 0, 0, 0)
    bench.run(body)


def test_parameters():
    good = LIMITS | dict(addr_bits=40, port_bits=64, beat_bits=20, queue_depth=1)
    check_parameters(Control, good, [
        *BEYOND, ("addr_bits", 16, "32 to 64"), ("port_bits", 512, "one of 32, 64, 128, 256"),
        ("beat_bits", 0, "1 or more"), ("queue_depth", 0, "1 or more")])
