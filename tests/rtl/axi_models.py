"""AXI slaves with stalls on every channel, stream helpers and a bus checker for pysim.

The models are background testbenches that see signals as they are before the clock edge and answer after it.
"""

from collections import deque
from random import Random

from amaranth.hdl import Module
from amaranth.sim import Simulator
import pytest

from spec.errors import AlloyError
from tests.waves import written

CHANNELS = {"ar": ("addr", "len", "size", "burst"), "aw": ("addr", "len", "size", "burst"),
            "w": ("data", "strb", "last")}


def small_config(**values):
    """A small engine configuration, with ``values`` changed."""
    from spec.config import EngineConfig
    defaults = dict(name="test", ic=8, pixels=4, dsp_filters=4, lut_filters=2, act_depth=64, weight_depth=32,
                    param_depth=8, tap_depth=32, ports=2, port_bits=64, burst=4, outstanding=4, queue_depth=2)
    return EngineConfig(**{**defaults, **values})


class AxiMemory:
    """DRAM behind any number of AXI4 ports.

    Parameters
    ----------
    size : bytes.
    seed : of the stalls.
    stall : probability that a channel waits in a cycle.
    latency : cycles from an address to its first data, at least.
    bad : byte addresses (start of a beat) that answer SLVERR.
    dead : no response ever comes when set.
    """
    def __init__(self, size=1 << 16, seed=0, stall=0.3, latency=3):
        self.bytes, self.rng, self.stall, self.latency = bytearray(size), Random(seed), stall, latency
        self.bad, self.dead = set(), False
        self.reads, self.writes = [], []        # bursts (address, beats)
        self.outstanding = self.most_outstanding = 0

    def fill(self, seed=1):
        self.bytes[:] = Random(seed).randbytes(len(self.bytes))

    def _flows(self):
        return self.rng.random() >= self.stall

    def read_slave(self, bus):
        size = len(bus.rdata) // 8

        async def process(ctx):
            bursts, cycle, offering, held = deque(), 0, False, None
            names = [getattr(bus, "ar" + n) for n in CHANNELS["ar"]]
            while True:
                ctx.set(bus.arready, not self.dead and self._flows())
                if not offering and bursts and bursts[0][2] <= cycle and not self.dead and self._flows():
                    addr, beats, _ = bursts[0]
                    ctx.set(bus.rvalid, 1)
                    ctx.set(bus.rdata, int.from_bytes(self.bytes[addr:addr + size], "little"))
                    ctx.set(bus.rresp, 2 if addr in self.bad else 0)
                    ctx.set(bus.rlast, beats == 1)
                    offering = True
                sampled = await ctx.tick().sample(bus.arvalid, bus.arready, bus.rvalid, bus.rready, *names)
                arvalid, arready, rvalid, rready, *address = sampled[2:]
                if held is not None:
                    assert arvalid and address == held, "the read address changed while it waited"
                held = address if arvalid and not arready else None
                if arvalid and arready:
                    addr, length, arsize, burst = address
                    assert burst == 1 and 1 << arsize == size and addr % size == 0
                    assert addr // 4096 == (addr + (length + 1) * size - 1) // 4096, "a burst crosses 4 KB"
                    self.reads.append((addr, length + 1))
                    bursts.append([addr, length + 1, cycle + self.latency])
                    self.outstanding += 1
                    self.most_outstanding = max(self.most_outstanding, self.outstanding)
                if rvalid and rready:
                    bursts[0][0] += size
                    bursts[0][1] -= 1
                    offering = False
                    ctx.set(bus.rvalid, 0)
                    if not bursts[0][1]:
                        bursts.popleft()
                        self.outstanding -= 1
                cycle += 1
        return process

    def write_slave(self, bus):
        size = len(bus.wdata) // 8

        async def process(ctx):
            addresses, beats, responses, cycle = deque(), deque(), deque(), 0
            held = {"aw": None, "w": None}
            fields = {p: [getattr(bus, p + n) for n in CHANNELS[p]] for p in held}
            offering = False
            while True:
                ctx.set(bus.awready, not self.dead and self._flows())
                ctx.set(bus.wready, not self.dead and self._flows())
                if not offering and responses and responses[0][1] <= cycle and not self.dead and self._flows():
                    ctx.set(bus.bvalid, 1)
                    ctx.set(bus.bresp, responses[0][0])
                    offering = True
                sampled = (await ctx.tick().sample(bus.awvalid, bus.awready, bus.wvalid, bus.wready, bus.bvalid,
                                                   bus.bready,
                                                   *fields["aw"], *fields["w"]))[2:]
                awvalid, awready, wvalid, wready, bvalid, bready = sampled[:6]
                values = {"aw": sampled[6:10], "w": sampled[10:]}
                for p, valid, ready in (("aw", awvalid, awready), ("w", wvalid, wready)):
                    if held[p] is not None:
                        assert valid and values[p] == held[p], f"channel {p} changed while it waited"
                    held[p] = values[p] if valid and not ready else None
                if awvalid and awready:
                    addr, length, awsize, burst = values["aw"]
                    assert burst == 1 and 1 << awsize == size and addr % size == 0
                    assert addr // 4096 == (addr + (length + 1) * size - 1) // 4096, "a burst crosses 4 KB"
                    self.writes.append((addr, length + 1))
                    addresses.append([addr, length + 1, 0])
                if wvalid and wready:
                    beats.append(values["w"])
                while addresses and beats:
                    word, strb, last = beats.popleft()
                    at = addresses[0]
                    at[1] -= 1
                    assert last == (at[1] == 0), "wlast at the wrong beat"
                    at[2] |= 2 if at[0] in self.bad else 0
                    for n in range(size):
                        if strb >> n & 1:
                            self.bytes[at[0] + n] = word >> 8 * n & 0xFF
                    at[0] += size
                    if last:
                        responses.append((at[2], cycle + self.latency))
                        addresses.popleft()
                if bvalid and bready:
                    responses.popleft()
                    offering = False
                    ctx.set(bus.bvalid, 0)
                cycle += 1
        return process


async def put(ctx, stream, payload, rng=None, stall=0.3):
    """Offer one payload, after a random pause."""
    while rng is not None and rng.random() < stall:
        await ctx.tick()
    ctx.set(stream.payload, payload)
    ctx.set(stream.valid, 1)
    await ctx.tick().until(stream.ready)
    ctx.set(stream.valid, 0)


async def get(ctx, stream, rng=None, stall=0.3):
    """Take one payload, after a random pause."""
    while rng is not None and rng.random() < stall:
        await ctx.tick()
    ctx.set(stream.ready, 1)
    payload, = await ctx.tick().sample(stream.payload).until(stream.valid)
    ctx.set(stream.ready, 0)
    return payload


def sink(stream, items, rng=None, stall=0.3):
    """Background testbench that appends every payload to ``items``."""
    async def process(ctx):
        while True:
            ctx.set(stream.ready, rng is None or rng.random() >= stall)
            _, _, valid, ready, payload = await ctx.tick().sample(stream.valid, stream.ready, stream.payload)
            if valid and ready:
                items.append(payload)
    return process


def steady(stream):
    """Background testbench that fails when a stream takes back or changes what it offers."""
    async def process(ctx):
        held = None
        while True:
            _, _, valid, ready, payload = await ctx.tick().sample(stream.valid, stream.ready, stream.payload)
            if held is not None:
                assert valid and payload == held, "an offered payload changed"
            held = payload if valid and not ready else None
    return process


def watch(signals, items, when):
    """Background testbench that appends the values of ``signals`` in each cycle in which ``when`` is 1."""
    async def process(ctx):
        while True:
            _, _, hit, *values = await ctx.tick().sample(when, *signals)
            if hit:
                items.append(tuple(values))
    return process


async def until(ctx, signal, limit=5000):
    """Wait until ``signal`` is 1, and one cycle more so that background testbenches have seen what led to it."""
    for _ in range(limit):
        if ctx.get(signal):
            await ctx.tick()
            return
        await ctx.tick()
    raise TimeoutError(f"nothing happened for {limit} cycles")


def connect(m, source, sink_stream):
    """Join two streams by hand (both are plain interfaces of submodules)."""
    m.d.comb += [sink_stream.payload.eq(source.payload), sink_stream.valid.eq(source.valid),
                 source.ready.eq(sink_stream.ready)]


def refusal(cls, /, **parameters):
    """What the :class:`AlloyError` says with which a component refuses its parameters."""
    with pytest.raises(AlloyError) as caught:
        unused(cls, **parameters)
    return str(caught.value)


def unused(cls, /, **parameters):
    """A component that is not run."""
    part = cls.__new__(cls)
    part._MustUse__silence = True
    part.__init__(**parameters)
    return part


def simulate(parts, *testbenches, background=(), join=(), wires=(), limit=20_000):
    """Run ``testbenches`` against ``parts`` (name to component).

    The streams of ``join`` and the signals of ``wires`` are connected, from first to second.
    """
    m = Module()
    for name, part in parts.items():
        m.submodules[name] = part
    for source, target in join:
        connect(m, source, target)
    m.d.comb += [target.eq(source) for source, target in wires]

    async def watchdog(ctx):
        for _ in range(limit):
            await ctx.tick()
        raise TimeoutError(f"the test did not finish in {limit} cycles")

    sim = Simulator(m)
    sim.add_clock(1e-6)
    for process in testbenches:
        sim.add_testbench(process)
    for process in (*background, watchdog):
        sim.add_testbench(process, background=True)
    with written(sim):
        sim.run()
