"""The engine without its compute side: programs that copy tensors, with errors and aborts in between."""

from collections import deque
from random import Random

from amaranth.hdl import Module
from amaranth.lib import wiring
import pytest

from rtl.top import Engine
from spec.commands import Error, Opcode, pack, unpack

from .axi_models import AxiMemory, simulate, small_config
from .command_models import out_fields, start, tensor_view
from .control.test_registers import AT, read, write

BASE, SIZE, PROGRAM = 0x3000, 0xC000, 0x8000


class Still(wiring.Component):
    """The ports of a unit, and nothing behind them: a testbench plays it."""

    def __init__(self, unit):
        unit._MustUse__silence = True       # it is not there
        super().__init__(unit.signature)

    def elaborate(self, platform):
        return Module()


class Shell(Engine):
    """An engine whose activation memories and compute side are played by a testbench."""

    def __init__(self, config):
        super().__init__(config)
        parts = super().units()
        self.parts = parts | {name: Still(parts[name]) for name in ("banks", "compute")}

    def units(self):
        return self.parts


class Bench:
    """Everything of the engine but the compute side; the activation memories are a dict."""

    def __init__(self, config, seed):
        self.config, self.engine = config, Shell(config)
        self.dram, self.rng = AxiMemory(seed=seed, stall=0.2, latency=8), Random(seed)
        self.memory, self.weights, self.moved = {}, [], 0

    def simulate(self, testbench):
        engine = self.engine
        banks, compute, load = (engine.parts[name] for name in ("banks", "compute", "load"))

        async def memories(ctx):
            pipe = deque([None] * 2)
            ctx.set(compute.idle, 1)
            while True:
                word = pipe.popleft()
                ctx.set(banks.store.valid, word is not None)
                ctx.set(banks.store.codes.as_value(), word or 0)
                ctx.set(banks.store.place.ready, self.rng.random() < 0.7)
                ctx.set(banks.load.ready, self.rng.random() < 0.7)
                _, _, valid, ready, item, asks, taken, place, w_en, w_addr, moving = await ctx.tick().sample(
                    banks.load.valid, banks.load.ready, banks.load.payload, banks.store.place.valid,
                    banks.store.place.ready, banks.store.place.payload, compute.memories.weights.en,
                    compute.memories.weights.addr, load.moving)
                self.moved += moving
                if w_en:
                    self.weights.append(w_addr)
                pipe.append(self.memory.get((place.mem, place.bank, place.addr), 0) if asks and taken else None)
                if valid and ready:
                    codes = sum(item.data[n] << 8 * n for n in range(self.config.ic))
                    self.memory[item.place.mem, item.place.bank, item.place.addr] = codes

        reads = [self.dram.read_slave(bus) for bus in engine.r_axi]
        simulate({"engine": engine}, testbench, limit=60_000,
                 background=[memories, self.dram.write_slave(engine.w_axi), *reads])

    async def set_up(self, ctx, count, watchdog=0):
        for name, value in (("BASE_LO", BASE), ("SIZE", SIZE), ("CMD_OFFSET", PROGRAM), ("CMD_COUNT", count),
                            ("WATCHDOG", watchdog),
                            ("IRQ_ENABLE", 3)):
            await write(ctx, self.engine.s_axi, AT[name], value)

    async def command(self, ctx, value):
        await write(ctx, self.engine.s_axi, AT["CTRL"], value)

    async def finish(self, ctx):
        """Wait for the interrupt; the STATUS register."""
        for _ in range(20_000):
            await ctx.tick()
            if ctx.get(self.engine.irq):
                await write(ctx, self.engine.s_axi, AT["IRQ_STATUS"], 3)
                return (await read(ctx, self.engine.s_axi, AT["STATUS"]))[0]
        raise TimeoutError("no interrupt")


def copy_program(bench, seed):
    """Copy tensors through the two memories in turn; weights are loaded in between. Returns what must be equal."""
    c, rng, program, equal, at = bench.config, Random(seed), [], [], 0
    for n in range(6):
        rows, cols, groups = rng.randint(1, 4), rng.randint(1, 6), rng.randint(1, 2)
        view, _ = tensor_view(c.pixels, rows, cols, groups, 0, rng.randrange(2), rng.randrange(2))
        row = cols * groups * c.act_group_bytes
        area = dict(rows=rows, cols=cols, stride=row, mem_out=n % 2, **out_fields(view))
        mine = 1 << n % 2
        program.append(pack(Opcode.LOAD_ACT, tag=10 + n, dram=at, give=mine, wait=mine << 2 if n >= 2 else 0, **area))
        program.append(pack(Opcode.LOAD_WEIGHTS, tag=30 + n, dram=0x100 * n, stride=0x40, count=rng.randint(1, 6)))
        program.append(pack(Opcode.STORE_ACT, tag=50 + n, dram=0x4000 + at, wait=mine, give=mine << 2, **area))
        equal.append((at, rows * row))
        at += rows * row + c.port_bytes * rng.randrange(4)
    assert at < 0x4000
    return [start(c), *program, pack(Opcode.END)], equal


def prepare(seed, **config):
    bench = Bench(small_config(**config), seed)
    program, equal = copy_program(bench, seed)
    bench.dram.fill(seed)
    # Padding of a group reads back as zeros, so it must be zeros.
    size, ic = bench.config.act_group_bytes, bench.config.ic
    for at, count in equal:
        for place in range(BASE + at, BASE + at + count, size):
            bench.dram.bytes[place + ic:place + size] = bytes(size - ic)
    code = b"".join(program)
    bench.dram.bytes[BASE + PROGRAM:BASE + PROGRAM + len(code)] = code
    return bench, len(program), equal


def copied(bench, equal):
    at = bench.dram.bytes
    return all(at[BASE + a:BASE + a + n] == at[BASE + 0x4000 + a:BASE + 0x4000 + a + n] for a, n in equal)


CASES = [dict(), dict(port_bits=32, ports=1, ic=5), dict(port_bits=256, ports=3, ic=33),
         dict(outstanding=1, queue_depth=1)]


@pytest.mark.parametrize("case", CASES)
def test_copy(case):
    bench, count, equal = prepare(3, **case)

    async def body(ctx):
        await bench.set_up(ctx, count, watchdog=2000)
        await bench.command(ctx, 1)
        assert await bench.finish(ctx) == 2 and copied(bench, equal)
        bus = bench.engine.s_axi
        assert (await read(ctx, bus, AT["COMMANDS"]))[0] == count
        code = bench.dram.bytes[BASE + PROGRAM:BASE + PROGRAM + 128 * count]
        commands = [unpack(bytes(code[n:n + 128])) for n in range(0, len(code), 128)]
        assert bench.weights == [k for item in commands if item["opcode"] == Opcode.LOAD_WEIGHTS
                                 for k in range(item["count"])]
        assert (await read(ctx, bus, AT["LOAD_CYCLES"]))[0] == bench.moved > 0
        assert (await read(ctx, bus, AT["STORE_CYCLES"]))[0] * bench.config.port_bytes == sum(n for _, n in equal)

    bench.simulate(body)


@pytest.mark.parametrize("seed", [0, 2, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 3))])
def test_stop_and_start_again(seed):
    """Aborts and bus errors at random times; afterwards the program runs as if nothing had been."""
    bench, count, equal = prepare(seed, **CASES[seed])
    rng = Random(seed)

    async def body(ctx):
        await bench.set_up(ctx, count, watchdog=2000)
        for n in range(4):
            if n % 4 == 1:
                bench.dram.bad = {BASE + equal[-1][0]}
            if n % 4 == 3:
                bench.dram.bad = {BASE + 0x4000 + equal[rng.randrange(len(equal))][0]}
            await bench.command(ctx, 1)
            if not bench.dram.bad:
                await ctx.tick().repeat(rng.randrange(1, 600))
                await bench.command(ctx, 2)
            status = await bench.finish(ctx)
            expected = Error.ABORT if not bench.dram.bad else Error.READ if n % 4 == 1 else Error.WRITE
            assert status & 0xFF == 4 and status >> 8 & 0xFF == expected
            assert bench.dram.outstanding == 0
            bench.dram.bad = set()
        bench.dram.bytes[BASE + 0x4000:BASE + 0x8000] = bytes(0x4000)
        await bench.command(ctx, 1)
        assert await bench.finish(ctx) == 2 and copied(bench, equal)

    bench.simulate(body)
