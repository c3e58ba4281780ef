"""Registers, control, load, store and all ports together: programs that copy tensors, with errors and aborts in between."""

from collections import deque
from random import Random

import pytest

from rtl.bus import ReadArbiter, ReadPort, WritePort
from rtl.control import Control, Registers
from rtl.move import Load, Store
from spec.commands import Error, Opcode, pack, unpack

from .axi_models import AxiMemory, simulate, small_config
from .command_models import out_fields, start, tensor_view
from .control.test_registers import AT, read, write

BASE, SIZE, PROGRAM = 0x3000, 0xC000, 0x8000


class Bench:
    """Everything of the engine but the compute side; the activation memories are a dict."""
    def __init__(self, config, seed):
        c = self.config = config
        self.dram, self.rng = AxiMemory(seed=seed, stall=0.2, latency=8), Random(seed)
        self.registers, self.control, self.load, self.store = Registers.of(c, digest=int(c.digest, 16)), Control(c), Load(c), Store.of(c)
        self.reads, self.port, self.arbiter, self.memory = [ReadPort.of(c) for _ in range(c.ports)], WritePort.of(c), ReadArbiter.of(c), {}
        self.weights = []

    def simulate(self, testbench):
        r, k, d, s, a, w = self.registers, self.control, self.load, self.store, self.arbiter, self.port
        first = self.reads[0]
        join = [(k.req, a.user_req[0]), (a.user_data[0], k.data), (d.req[0], a.user_req[1]), (a.user_data[1], d.data[0]),
                (a.req, first.req), (first.data, a.data), (k.load, d.cmd), (k.store, s.cmd), (s.req, w.req), (s.data, w.data)]
        for n, port in enumerate(self.reads[1:], 1):
            join += [(d.req[n], port.req), (port.data, d.data[n])]
        wires = [(getattr(r, n), getattr(k, n)) for n in ("start", "abort", "base", "size", "cmd_offset", "cmd_count", "watchdog")]
        wires += [(getattr(k, n), getattr(r, n)) for n in ("busy", "done", "error", "code", "tag", "cycles", "commands")]
        wires += [(k.clear, x) for x in (a.clear, d.clear, s.clear, w.stop, *(p.stop for p in self.reads))]
        wires += [(d.post, k.load_post), (s.post, k.store_post), (d.idle, k.load_idle), (s.idle, k.store_idle), (1, k.compute_idle),
                  (d.progress | s.progress, k.progress), (w.done, s.done), (w.error, k.write_error), (k.window, d.base),
                  (k.window, s.base), (d.moving, r.inc_load), (s.moving, r.inc_store)]
        anything, idle = 0, w.idle
        for port in self.reads:
            anything, idle = anything | port.error, idle & port.idle
        wires += [(anything, k.read_error), (idle, k.ports_idle)]

        async def memories(ctx):
            pipe = deque([None] * 2)
            while True:
                word = pipe.popleft()
                ctx.set(s.g_valid, word is not None)
                ctx.set(s.g_data, word or 0)
                ctx.set(s.gather.ready, self.rng.random() < 0.7)
                ctx.set(d.act.ready, self.rng.random() < 0.7)
                _, _, valid, ready, item, gvalid, gready, place, w_en, w_addr = await ctx.tick().sample(
                    d.act.valid, d.act.ready, d.act.payload, s.gather.valid, s.gather.ready, s.gather.payload, d.w_en, d.w_addr)
                if w_en:
                    self.weights.append(w_addr)
                pipe.append(self.memory.get((place.mem, place.bank, place.addr), 0) if gvalid and gready else None)
                if valid and ready:
                    codes = sum(item.data[n] << 8 * n for n in range(self.config.ic))
                    self.memory[item.place.mem, item.place.bank, item.place.addr] = codes

        parts = {"registers": r, "control": k, "load": d, "store": s, "arbiter": a, "write_port": w,
                 **{f"read_port{n}": p for n, p in enumerate(self.reads)}}
        simulate(parts, testbench, join=join, wires=wires, limit=60_000, background=[
            memories, self.dram.write_slave(w.bus), *(self.dram.read_slave(p.bus) for p in self.reads)])

    async def set_up(self, ctx, count, watchdog=0):
        for name, value in (("BASE_LO", BASE), ("SIZE", SIZE), ("CMD_OFFSET", PROGRAM), ("CMD_COUNT", count), ("WATCHDOG", watchdog),
                            ("IRQ_ENABLE", 3)):
            await write(ctx, self.registers.bus, AT[name], value)

    async def command(self, ctx, value):
        await write(ctx, self.registers.bus, AT["CTRL"], value)

    async def finish(self, ctx):
        """Wait for the interrupt; the STATUS register."""
        for _ in range(20_000):
            await ctx.tick()
            if ctx.get(self.registers.irq):
                await write(ctx, self.registers.bus, AT["IRQ_STATUS"], 3)
                return (await read(ctx, self.registers.bus, AT["STATUS"]))[0]
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
        program.append(pack(Opcode.LOAD_ACT, tag=10 + n, dram=at, post=mine, wait=mine << 2 if n >= 2 else 0, **area))
        program.append(pack(Opcode.LOAD_WEIGHTS, tag=30 + n, dram=0x100 * n, stride=0x40, count=rng.randint(1, 6)))
        program.append(pack(Opcode.STORE_ACT, tag=50 + n, dram=0x4000 + at, wait=mine, post=mine << 2, **area))
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


CASES = [dict(), dict(port_bits=32, ports=1, ic=5), dict(port_bits=256, ports=3, ic=33), dict(outstanding=1, queue_depth=1)]


@pytest.mark.parametrize("case", CASES)
def test_copy(case):
    bench, count, equal = prepare(3, **case)

    async def body(ctx):
        await bench.set_up(ctx, count, watchdog=2000)
        await bench.command(ctx, 1)
        assert await bench.finish(ctx) == 2 and copied(bench, equal)
        bus = bench.registers.bus
        assert (await read(ctx, bus, AT["COMMANDS"]))[0] == count
        code = bench.dram.bytes[BASE + PROGRAM:BASE + PROGRAM + 128 * count]
        commands = [unpack(bytes(code[n:n + 128])) for n in range(0, len(code), 128)]
        assert bench.weights == [k for item in commands if item["opcode"] == Opcode.LOAD_WEIGHTS for k in range(item["count"])]
        assert (await read(ctx, bus, AT["STORE_CYCLES"]))[0] * bench.config.port_bytes == sum(n for _, n in equal)

    bench.simulate(body)


@pytest.mark.parametrize("seed", range(4))
def test_stop_and_start_again(seed):
    """Aborts and bus errors at random times; afterwards the program runs as if nothing had been."""
    bench, count, equal = prepare(seed, **CASES[seed])
    rng = Random(seed)

    async def body(ctx):
        await bench.set_up(ctx, count, watchdog=2000)
        for n in range(8):
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
