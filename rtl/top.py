"""The whole engine: its units and the wires between them."""

from amaranth.hdl import Cat, ClockDomain, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from spec.config import EngineConfig

from .bus import AXI4LiteSignature, AXI4ReadSignature, AXI4WriteSignature, ReadArbiter, ReadPort, WritePort
from .compute import Compute
from .control import BUS_ADDR_BITS, Control, Registers
from .memory import Banks
from .move import Load, Store
from .prim import Skid, Slice, add_shared, join_streams

__all__ = ["Engine", "Pins", "PLAIN"]

PLAIN = ("irq", "trace_valid", "trace_event", "trace_tag")      # what is no bus


class _Whole(wiring.Component):
    """A component with the ports of the engine for ``config``, and ``more``."""

    def __init__(self, config, **more):
        self._config = config
        super().__init__({
            **more, "s_axi": In(AXI4LiteSignature(BUS_ADDR_BITS)),
            "r_axi": Out(AXI4ReadSignature(config.addr_bits, config.port_bits)).array(config.ports),
            "w_axi": Out(AXI4WriteSignature(config.addr_bits, config.port_bits)),
            "irq": Out(1), "trace_valid": Out(1), "trace_event": Out(2), "trace_tag": Out(16)})

    @property
    def config(self) -> EngineConfig:
        return self._config


class Engine(_Whole):
    """The units, as they drive the buses: :class:`Pins` goes around it.

    Latency and throughput are those of the units.

    Parameters
    ----------
    config : :class:`spec.config.EngineConfig`.

    Members
    -------
    s_axi : AXI4-Lite slave (Verilog: ``s_axil``).
    r_axi, w_axi : AXI4 read ports and the write port (Verilog: ``m_axi_{i}``, ``m_axi_0``).
    irq : interrupt.
    trace_valid, trace_event, trace_tag : at most one :class:`spec.registers.Trace` each cycle, and the tag of its
        command; DONE wins over the others.
    """

    def __init__(self, config):
        super().__init__(config)

    def units(self) -> dict[str, wiring.Component]:
        """All units by name. A test may put others of the same ports into their places."""
        c = self._config
        return {"registers": Registers.of(c), "control": Control.of(c), "load": Load.of(c),
                "store": Store.of(c), "banks": Banks.of(c), "compute": Compute.of(c), "arbiter": ReadArbiter.of(c),
                "write_port": WritePort.of(c), **{f"read_port{i}": ReadPort.of(c) for i in range(c.ports)}}

    def elaborate(self, platform):
        m = Module()
        units = self.units()
        for name, unit in units.items():
            add_shared(m, name, unit, platform)
        registers, control, load, store, banks, compute, arbiter, write, *reads = units.values()
        self._buses(m, control, load, arbiter, reads)
        connect(m, write.bus, flipped(self.w_axi))
        connect(m, flipped(self.s_axi), registers.bus)
        for source, target in ((control.load, load.cmd), (control.compute, compute.cmd), (control.store, store.cmd),
                               (store.req, write.req), (store.data, write.data), (load.act, banks.load)):
            join_streams(m, source, target)
        connect(m, load.memories, compute.memories)
        connect(m, compute.activations, banks.compute)
        connect(m, store.gather, banks.store)
        m.d.comb += [
            *(getattr(control, n).eq(getattr(registers, n))
              for n in ("start", "abort", "base", "size", "cmd_offset", "cmd_count", "watchdog")),
            *(getattr(registers, n).eq(getattr(control, n))
              for n in ("busy", "done", "error", "code", "tag", "cycles", "commands")),
            load.base.eq(control.window), store.base.eq(control.window), store.done.eq(write.done),
            control.load_give.eq(load.give), control.store_give.eq(store.give),
            control.compute_give.eq(compute.give), control.compute_release.eq(compute.release),
            control.load_idle.eq(load.idle), control.store_idle.eq(store.idle), control.compute_idle.eq(compute.idle),
            control.load_error.eq(load.error), control.store_error.eq(store.error),
            control.read_error.eq(Cat(p.error for p in reads).any()), control.write_error.eq(write.error),
            control.ports_idle.eq(Cat(*(p.idle for p in reads), write.idle).all()),
            control.progress.eq(load.progress | store.progress | compute.progress),
            *(u.clear.eq(control.clear) for u in (load, store, compute, arbiter)),
            *(p.stop.eq(control.clear) for p in (*reads, write)),
            registers.inc_array.eq(compute.accumulates)]
        m.d.sync += [registers.inc_load.eq(load.moving), registers.inc_store.eq(store.moving),
                     registers.inc_post.eq(compute.activations.write.en.any()), self.irq.eq(registers.irq)]
        m.d.comb += [self.trace_valid.eq(compute.trace_valid), self.trace_event.eq(compute.trace_event),
                     self.trace_tag.eq(compute.trace_tag)]
        return m

    def _buses(self, m, control, load, arbiter, reads):
        """Read port 0 is shared by command fetch (first) and load unit, the others carry weights and activations."""
        for i, port in enumerate(reads):
            user = (arbiter.req, arbiter.data) if i == 0 else (load.req[i], load.data[i])
            join_streams(m, user[0], port.req)
            join_streams(m, port.data, user[1])
            connect(m, port.bus, flipped(self.r_axi[i]))
        for i, (req, taken) in enumerate(((control.req, control.data), (load.req[0], load.data[0]))):
            join_streams(m, req, arbiter.user_req[i])
            join_streams(m, arbiter.user_data[i], taken)


class Pins(_Whole):
    """The engine as a system sees it: one clock, one reset, registers at the pins.

    No output depends on an input within a cycle, and the AXI outputs are registers or never change. Write data goes out
    a cycle later than in :class:`Engine`. Throughput: one beat each cycle on every channel.

    Parameters
    ----------
    config : :class:`spec.config.EngineConfig`.

    Members
    -------
    aclk : the clock.
    aresetn : active low and synchronous: a rising edge of ``aclk`` at which it is low resets everything.
    s_axi, r_axi, w_axi, irq, trace_valid, trace_event, trace_tag : as in :class:`Engine`.
    """

    def __init__(self, config):
        super().__init__(config, aclk=In(1), aresetn=In(1))

    def elaborate(self, platform):
        m = Module()
        m.domains.sync = sync = ClockDomain()
        sync.clk = self.aclk
        m.d.comb += sync.rst.eq(~self.aresetn)
        engine = Engine(self._config)
        add_shared(m, "engine", engine, platform)
        for channel in ("aw", "w", "ar"):
            m.submodules[f"s_axi_{channel}"] = skid = Skid(_width(self.s_axi, channel))
            _channel(m, self.s_axi, engine.s_axi, channel, skid)
        for channel in ("b", "r"):
            _channel(m, engine.s_axi, self.s_axi, channel)
        for inner, outer in zip(engine.r_axi, self.r_axi, strict=True):
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
    hops = [(_payload(bus, channel), getattr(bus, f"{channel}valid"), getattr(bus, f"{channel}ready"))
            for bus in (source, target)]
    if register is not None:
        hops[1:1] = [(side.payload, side.valid, side.ready) for side in (register.i, register.o)]
    for (payload, valid, ready), (next_payload, next_valid, next_ready) in zip(hops[::2], hops[1::2], strict=True):
        m.d.comb += [next_payload.eq(payload), next_valid.eq(valid), ready.eq(next_ready)]
