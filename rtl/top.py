"""The whole engine, and its Verilog."""

from amaranth.back import rtlil
from amaranth.hdl import Cat, ClockDomain, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from .bus import AXI4LiteSignature, AXI4ReadSignature, AXI4WriteSignature, ReadArbiter, ReadPort, Skid, Slice, WritePort
from .compute import Compute
from .control import BUS_ADDR_BITS, Control, Registers
from .memory import Banks
from .move import Load, Store
from .prim import Library, act_write_port, feed_port, join_ports, loaded_ports, place
from .tools import to_verilog

__all__ = ["Engine", "Pins", "generate", "port_names", "TOP"]

TOP = "alloy"
PLAIN = ("irq", "trace_valid", "trace_event", "trace_tag")


def _engine_members(config):
    return {"s_axi": In(AXI4LiteSignature(BUS_ADDR_BITS)),
            "r_axi": Out(AXI4ReadSignature(config.addr_bits, config.port_bits)).array(config.ports),
            "w_axi": Out(AXI4WriteSignature(config.addr_bits, config.port_bits)),
            "irq": Out(1), "trace_valid": Out(1), "trace_event": Out(2), "trace_tag": Out(16)}


class Engine(wiring.Component):
    """AXI4-Lite slave ``s_axi``, AXI4 read ports ``r_axi[i]`` and write port ``w_axi`` (Verilog: ``m{i}_axi``, ``m0_axi``),
    interrupt and trace, as the units drive them: :class:`Pins` goes around it.

    ``trace_*`` is one event per cycle at most: 0 a convolution issued its first k-step, 1 its last, 2 a compute command is
    complete (its outputs can be read); 2 wins over the others.
    """

    def __init__(self, config):
        self.config = config
        super().__init__(_engine_members(config))

    def elaborate(self, platform):
        m = Module()
        c = self.config
        registers, control = Registers.of(c, digest=int(c.digest, 16)), Control(c)
        load, store = Load(c), Store.of(c)
        banks, compute, arbiter = Banks.of(c), Compute(c), ReadArbiter.of(c)
        reads, write = [ReadPort.of(c) for _ in range(c.ports)], WritePort.of(c)
        for name, unit in (("registers", registers), ("control", control), ("load", load), ("store", store),
                           ("banks", banks), ("compute", compute), ("arbiter", arbiter), ("write_port", write),
                           *((f"read_port{i}", port) for i, port in enumerate(reads))):
            place(m, name, unit, platform)

        # Read ports: 0 is shared by command fetch (first) and load unit, the others carry weights only.
        for i, port in enumerate(reads):
            user = (arbiter.req, arbiter.data) if i == 0 else (load.req[i], load.data[i])
            _join(m, user[0], port.req)
            _join(m, port.data, user[1])
            connect(m, port.bus, flipped(self.r_axi[i]))
        for i, (req, taken) in enumerate(((control.req, control.data), (load.req[0], load.data[0]))):
            _join(m, req, arbiter.user_req[i])
            _join(m, arbiter.user_data[i], taken)
        connect(m, write.bus, flipped(self.w_axi))
        connect(m, flipped(self.s_axi), registers.bus)
        for source, target in ((control.load, load.cmd), (control.compute, compute.cmd), (control.store, store.cmd),
                               (store.req, write.req), (store.data, write.data), (store.gather, banks.store), (load.act, banks.load)):
            _join(m, source, target)

        m.d.comb += [
            *(getattr(control, n).eq(getattr(registers, n))
              for n in ("start", "abort", "base", "size", "cmd_offset", "cmd_count", "watchdog")),
            *(getattr(registers, n).eq(getattr(control, n))
              for n in ("busy", "done", "error", "code", "tag", "cycles", "commands")),
            load.base.eq(control.window), store.base.eq(control.window), store.done.eq(write.done),
            control.load_post.eq(load.post), control.store_post.eq(store.post),
            control.post_post.eq(compute.post), control.feed_post.eq(compute.feed),
            control.load_idle.eq(load.idle), control.store_idle.eq(store.idle), control.compute_idle.eq(compute.idle),
            control.load_error.eq(load.error), control.store_error.eq(store.error),
            control.read_error.eq(Cat(p.error for p in reads).any()), control.write_error.eq(write.error),
            control.ports_idle.eq(Cat(*(p.idle for p in reads), write.idle).all()),
            control.progress.eq(load.progress | store.progress | compute.progress),
            *(u.clear.eq(control.clear) for u in (load, store, compute, arbiter)),
            *(p.stop.eq(control.clear) for p in (*reads, write)),
            registers.inc_array.eq(compute.accumulates), registers.inc_load.eq(load.moving),
            registers.inc_store.eq(store.moving), registers.inc_post.eq(compute.write_en)]

        # Tables, weights and activation memories.
        join_ports(m, loaded_ports(c), load, compute)
        join_ports(m, feed_port(c), compute, banks)
        m.d.comb += [
            banks.post_en.eq(compute.gather_en), banks.post_place.eq(compute.gather),
            compute.gathered.eq(banks.gathered), store.g_data.eq(banks.gathered), store.g_valid.eq(banks.store_valid)]
        join_ports(m, act_write_port(c), compute, banks)

        m.d.sync += self.irq.eq(registers.irq)
        m.d.comb += [self.trace_valid.eq(compute.trace_valid), self.trace_event.eq(compute.trace_event),
                     self.trace_tag.eq(compute.trace_tag)]
        return m


def _join(m, source, target):
    """Connect two streams of equal payload."""
    m.d.comb += [target.payload.eq(source.payload), target.valid.eq(source.valid), source.ready.eq(target.ready)]


class Pins(wiring.Component):
    """The engine as a system sees it: one clock ``aclk``, one reset ``aresetn``; no output depends on an input within a
    cycle, and the AXI outputs are registers or never change.

    ``aresetn`` is active low and synchronous: a rising edge of ``aclk`` at which it is low resets everything.
    Write data goes out a cycle later than in :class:`Engine`. Throughput: one beat each cycle on every channel.
    """

    def __init__(self, config):
        self.config = config
        super().__init__({"aclk": In(1), "aresetn": In(1), **_engine_members(config)})

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = sync = ClockDomain()
        sync.clk = self.aclk
        m.d.comb += sync.rst.eq(~self.aresetn)
        engine = Engine(self.config)
        place(m, "engine", engine, platform)
        for channel in ("aw", "w", "ar"):
            m.submodules[f"s_axi_{channel}"] = skid = Skid(_width(self.s_axi, channel))
            _channel(m, self.s_axi, engine.s_axi, channel, skid)
        for channel in ("b", "r"):
            _channel(m, engine.s_axi, self.s_axi, channel)
        for inner, outer in zip(engine.r_axi, self.r_axi):
            _channel(m, inner, outer, "ar")
            _channel(m, outer, inner, "r")
        _channel(m, engine.w_axi, self.w_axi, "aw")
        m.submodules.w_axi_w = register = Slice(_width(self.w_axi, "w"))
        _channel(m, engine.w_axi, self.w_axi, "w", register)
        _channel(m, self.w_axi, engine.w_axi, "b")
        m.d.comb += [getattr(self, name).eq(getattr(engine, name)) for name in PLAIN]
        return m


def _payload(bus, channel):
    """All fields of a channel but valid and ready."""
    names = [n for n in bus.signature.members if n.startswith(channel)]
    return Cat(getattr(bus, n) for n in names if n not in (f"{channel}valid", f"{channel}ready"))


def _width(bus, channel):
    return len(_payload(bus, channel))


def _channel(m, source, target, channel, register=None):
    """A channel of a bus from ``source`` to ``target``, through a register slice if one is given."""
    hops = [(_payload(bus, channel), getattr(bus, f"{channel}valid"), getattr(bus, f"{channel}ready")) for bus in (source, target)]
    if register is not None:
        hops[1:1] = [(side.payload, side.valid, side.ready) for side in (register.i, register.o)]
    for (payload, valid, ready), (next_payload, next_valid, next_ready) in zip(hops[::2], hops[1::2]):
        m.d.comb += [next_payload.eq(payload), next_valid.eq(valid), ready.eq(next_ready)]


def port_names(pins):
    """Verilog port name -> signal, in AXI's names."""
    out = {}
    for i, bus in enumerate(pins.r_axi):
        out |= _members(f"m{i}_axi", bus)
    out |= _members("m0_axi", pins.w_axi) | _members("s_axi", pins.s_axi)
    return {n: getattr(pins, n) for n in ("aclk", "aresetn")} | out | {n: getattr(pins, n) for n in PLAIN}


def _members(prefix, bus):
    return {f"{prefix}_{name}": getattr(bus, name) for name in bus.signature.members}


def generate(config):
    """Verilog of the engine for ``config``: a dict of file name to text; every distinct module is there once."""
    library = Library()
    pins = Pins(config)
    text = rtlil.convert(pins, name=TOP, platform=library, emit_src=False,
                         ports={name: (signal, None) for name, signal in port_names(pins).items()})
    text = to_verilog(library.rtlil() + "\n" + text)
    return {f"{TOP}.v": text}
