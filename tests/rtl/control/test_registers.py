"""The AXI4-Lite slave: every register of the table, write order, strobes, unknown addresses, interrupts."""

from random import Random

import pytest

from rtl.control import Registers
from spec.registers import ID, REGISTERS, VERSION

from ..axi_models import simulate, small_config
from ..parameters import check_parameters

AT = {r.name: r.offset for r in REGISTERS}


async def write(ctx, bus, addr, value, strb=15, rng=None):
    """One write; address, data and response come in random order and with random pauses."""
    rng = rng or Random(0)
    start = {"aw": rng.randrange(4), "w": rng.randrange(4), "b": rng.randrange(6)}
    ctx.set(bus.awaddr, addr), ctx.set(bus.wdata, value), ctx.set(bus.wstrb, strb)
    left, cycle = {"aw", "w", "b"}, 0
    while left:
        for name, signal in (("aw", bus.awvalid), ("w", bus.wvalid), ("b", bus.bready)):
            ctx.set(signal, name in left and cycle >= start[name])
        _, _, *hit, resp = await ctx.tick().sample(bus.awvalid & bus.awready, bus.wvalid & bus.wready,
                                                   bus.bvalid & bus.bready,
                                                   bus.bresp)
        left -= {name for name, h in zip(("aw", "w", "b"), hit, strict=True) if h}
        cycle += 1
        assert cycle < 100, "the write hangs"
    for signal in (bus.awvalid, bus.wvalid, bus.bready):
        ctx.set(signal, 0)
    return resp


async def read(ctx, bus, addr, pause=0):
    ctx.set(bus.araddr, addr), ctx.set(bus.arvalid, 1)
    await ctx.tick().until(bus.arready)
    ctx.set(bus.arvalid, 0)
    for _ in range(pause):
        await ctx.tick()
    ctx.set(bus.rready, 1)
    data, resp = await ctx.tick().sample(bus.rdata, bus.rresp).until(bus.rvalid)
    ctx.set(bus.rready, 0)
    return data, resp


def run(testbench, *background, **values):
    config = small_config(**values)
    registers = Registers.of(config)

    async def body(ctx):
        await testbench(ctx, registers)
    simulate({"registers": registers}, body, background=[b(registers) for b in background])


def test_constants_and_state():
    async def body(ctx, r):
        for name, value in (("busy", 1), ("error", 1), ("code", 0x5A), ("tag", 0xBEEF), ("commands", 77)):
            ctx.set(getattr(r, name), value)
        assert await read(ctx, r.bus, AT["ID"]) == (ID, 0)
        assert await read(ctx, r.bus, AT["VERSION"], 3) == (VERSION, 0)
        assert await read(ctx, r.bus, AT["DIGEST"]) == (small_config().digest_word, 0)
        assert await read(ctx, r.bus, AT["STATUS"]) == (0xBEEF_5A05, 0)
        assert await read(ctx, r.bus, AT["COMMANDS"]) == (77, 0)
        ctx.set(r.cycles, (5 << 32) | 0xFFFF_FFFF)
        assert await read(ctx, r.bus, AT["CYCLES_LO"]) == (0xFFFF_FFFF, 0)
        ctx.set(r.cycles, 6 << 32)
        assert await read(ctx, r.bus, AT["CYCLES_HI"]) == (5, 0)
    run(body)


@pytest.mark.parametrize("addr_bits", [32, 40, 64])
def test_writes(addr_bits):
    async def body(ctx, r):
        rng = Random(addr_bits)
        kept = {"IRQ_ENABLE": 3, "BASE_LO": 0xFFFF_F000, "BASE_HI": (1 << addr_bits - 32) - 1,
                "CMD_OFFSET": 0xFFFF_FF80}
        state = {x.name: x.init for x in REGISTERS if x.access == "rw"}
        for _ in range(40):
            name, value, strb = rng.choice(list(state)), rng.getrandbits(32), rng.choice([15, 15, rng.randrange(16)])
            assert await write(ctx, r.bus, AT[name], value, strb, rng) == 0
            mask = sum(255 << 8 * n for n in range(4) if strb >> n & 1)
            state[name] = ((state[name] & ~mask) | (value & mask)) & kept.get(name, 0xFFFF_FFFF)
            assert await read(ctx, r.bus, AT[name]) == (state[name], 0)
        assert ctx.get(r.base) == state["BASE_LO"] | state["BASE_HI"] << 32
        for port, name in (("size", "SIZE"), ("cmd_offset", "CMD_OFFSET"), ("cmd_count", "CMD_COUNT"),
                           ("watchdog", "WATCHDOG")):
            assert ctx.get(getattr(r, port)) == state[name]
    run(body, addr_bits=addr_bits)


def test_a_read_waits_for_the_one_before():
    """Data that nobody has taken yet stays, whatever is asked next."""
    async def body(ctx, r):
        bus = r.bus
        ctx.set(bus.araddr, AT["ID"]), ctx.set(bus.arvalid, 1)
        await ctx.tick()
        ctx.set(bus.araddr, AT["VERSION"])
        for _ in range(5):
            assert ctx.get(bus.rvalid) and ctx.get(bus.rdata) == ID and not ctx.get(bus.arready)
            await ctx.tick()
        ctx.set(bus.rready, 1)
        assert ctx.get(bus.arready)
        await ctx.tick()
        ctx.set(bus.arvalid, 0)
        assert ctx.get(bus.rvalid) and ctx.get(bus.rdata) == VERSION
    run(body)


def test_unknown_and_read_only():
    async def body(ctx, r):
        for addr in (0x54, 0xFC, 0x100, 0xFFC, 0x800 + AT["STATUS"]):
            assert await read(ctx, r.bus, addr) == (0, 2)
            assert await write(ctx, r.bus, addr, 1) == 2
        assert await write(ctx, r.bus, AT["ID"], 1) == 0
        assert await read(ctx, r.bus, AT["ID"]) == (ID, 0)
        assert await read(ctx, r.bus, AT["CTRL"]) == (0, 0)
    run(body)


def test_start_abort_and_counters():
    seen = []

    def pulses(r):
        async def process(ctx):
            while True:
                _, _, start, abort = await ctx.tick().sample(r.start, r.abort)
                if start or abort:
                    seen.append((start, abort))
        return process

    async def body(ctx, r):
        await write(ctx, r.bus, AT["CTRL"], 1)
        await write(ctx, r.bus, AT["CTRL"], 2)
        await write(ctx, r.bus, AT["CTRL"], 3, strb=0b1110)
        assert seen == [(1, 0), (0, 1)]
        ctx.set(r.busy, 1)
        for n, name in enumerate(("array", "load", "store", "post")):
            ctx.set(getattr(r, f"inc_{name}"), 1)
            await ctx.tick().repeat(n + 1)
            ctx.set(getattr(r, f"inc_{name}"), 0)
            assert await read(ctx, r.bus, AT[f"{name.upper()}_CYCLES"]) == (n + 1, 0)
        await write(ctx, r.bus, AT["CTRL"], 1)
        assert await read(ctx, r.bus, AT["POST_CYCLES"]) == (4, 0)
        ctx.set(r.busy, 0)
        await write(ctx, r.bus, AT["CTRL"], 1)
        assert await read(ctx, r.bus, AT["POST_CYCLES"]) == (0, 0)
    run(body, pulses)


def test_interrupts():
    async def body(ctx, r):
        ctx.set(r.done, 1)
        await ctx.tick().repeat(3)
        assert await read(ctx, r.bus, AT["IRQ_STATUS"]) == (1, 0) and not ctx.get(r.irq)
        await write(ctx, r.bus, AT["IRQ_ENABLE"], 3)
        await ctx.tick().repeat(2)
        assert ctx.get(r.irq)
        ctx.set(r.error, 1)
        await write(ctx, r.bus, AT["IRQ_STATUS"], 1)
        await ctx.tick().repeat(2)
        assert ctx.get(r.irq) and await read(ctx, r.bus, AT["IRQ_STATUS"]) == (2, 0)
        await write(ctx, r.bus, AT["IRQ_STATUS"], 2)
        await ctx.tick().repeat(2)
        assert not ctx.get(r.irq)
        ctx.set(r.done, 0)
        await ctx.tick()
        ctx.set(r.done, 1)
        await ctx.tick().repeat(3)
        assert ctx.get(r.irq)
    run(body)


def test_event_while_it_is_cleared():
    """An interrupt that comes in the very cycle in which the host clears the last one is not lost."""
    async def body(ctx, r):
        bus = r.bus
        for late in range(6):
            ctx.set(r.done, 0)
            await ctx.tick().repeat(2)
            await write(ctx, bus, AT["IRQ_STATUS"], 3)
            ctx.set(bus.awaddr, AT["IRQ_STATUS"]), ctx.set(bus.wdata, 3), ctx.set(bus.bready, 1)
            ctx.set(bus.awvalid, 1), ctx.set(bus.wvalid, 1)
            for cycle in range(8):
                ctx.set(r.done, cycle >= late)
                await ctx.tick()
                ctx.set(bus.awvalid, 0), ctx.set(bus.wvalid, 0)
            ctx.set(bus.bready, 0)
            # Cleared in cycle 1: what rises then or later stays.
            assert await read(ctx, bus, AT["IRQ_STATUS"]) == (int(late >= 1), 0), late
    run(body)


def test_parameters():
    check_parameters(Registers, dict(addr_bits=40, digest_word=7), [
        ("addr_bits", 31, "32 to 64"), ("digest_word", -1, "0 to 4294967295"),
        ("digest_word", 1 << 32, "0 to 4294967295")])
