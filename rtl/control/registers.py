"""AXI4-Lite register slave, built from the table in :mod:`spec.registers`."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib.wiring import In, Member, Out
from amaranth.utils import ceil_log2

from spec.registers import ID, REGISTERS, SPACE, VERSION

from ..bus import AXI4LiteSignature
from ..prim import Block, Parameter

__all__ = ["Registers", "BUS_ADDR_BITS"]

BUS_ADDR_BITS = 12      # one 4 KB page, the smallest that a system can map
OKAY, SLVERR = 0, 2


class Registers(Block):
    """Registers of the engine.

    Address and data of a write may come in either order. Reading or writing an address without a register gives SLVERR;
    writing a read-only register does nothing. Reading CYCLES_LO keeps the high half for the next read of CYCLES_HI.
    ``done`` and ``error`` raise an interrupt when they rise. One access every 2 cycles.

    Parameters
    ----------
    addr_bits : of a DRAM address.
    digest_word : of the configuration, as the register DIGEST shows it.

    Members
    -------
    bus : AXI4-Lite, 32 bits, byte addresses.
    start, abort : one cycle, after the one in which the host writes the bit.
    base, size, cmd_offset, cmd_count, watchdog : what the host has set.
    irq : level, while an enabled interrupt is pending.
    busy, done, error, code, tag, cycles, commands : state of the engine, shown as it is.
    inc_array, inc_load, inc_store, inc_post : counted; what starts a program clears the counters.
    """

    addr_bits = Parameter(32, high=64)
    digest_word = Parameter(0, high=0xFFFF_FFFF)

    def members(self) -> dict[str, Member]:
        return {
            "bus": In(AXI4LiteSignature(BUS_ADDR_BITS)),
            "start": Out(1), "abort": Out(1), "base": Out(self.addr_bits), "size": Out(32), "cmd_offset": Out(32),
            "cmd_count": Out(32), "watchdog": Out(32), "irq": Out(1),
            "busy": In(1), "done": In(1), "error": In(1), "code": In(8), "tag": In(16), "cycles": In(64),
            "commands": In(32), "inc_array": In(1), "inc_load": In(1), "inc_store": In(1), "inc_post": In(1)}

    def _stored(self):
        """One signal for each register that the host sets; only the bits that mean something."""
        out = {r.name: Signal(32, name=r.name.lower(), init=r.init) for r in REGISTERS if r.access == "rw"}
        masks = {r.name: sum(b.mask for b in r.bits) or 0xFFFF_FFFF for r in REGISTERS}
        masks["BASE_LO"] &= ~0xFFF
        masks["BASE_HI"] = (1 << self.addr_bits - 32) - 1
        masks["CMD_OFFSET"] &= ~0x7F
        return out, masks

    def elaborate(self, platform):
        m = Module()
        stored, masks = self._stored()
        m.d.comb += [
            self.base.eq(Cat(stored["BASE_LO"], stored["BASE_HI"])), self.size.eq(stored["SIZE"]),
            self.cmd_offset.eq(stored["CMD_OFFSET"]), self.cmd_count.eq(stored["CMD_COUNT"]),
            self.watchdog.eq(stored["WATCHDOG"])]

        cycles_hi, pending = Signal(32), Signal(2)
        counters = {n: Signal(32, name=f"{n}_cycles") for n in ("array", "load", "store", "post")}
        fresh = Signal()
        m.d.comb += fresh.eq(self.start & ~self.abort & ~self.busy)
        for name, counter in counters.items():
            with m.If(fresh):
                m.d.sync += counter.eq(0)
            with m.Else():
                m.d.sync += counter.eq(counter + getattr(self, f"inc_{name}"))
        shown = {
            "ID": Const(ID, 32), "VERSION": Const(VERSION, 32), "DIGEST": Const(self.digest_word, 32),
            "CTRL": Const(0, 32), "STATUS": Cat(self.busy, self.done, self.error, Const(0, 5), self.code, self.tag),
            "IRQ_STATUS": pending, "CYCLES_LO": self.cycles[:32], "CYCLES_HI": cycles_hi, "COMMANDS": self.commands,
            **{f"{n.upper()}_CYCLES": c for n, c in counters.items()}, **stored}

        self._read(m, shown, cycles_hi)
        write = self._write(m)
        byte = [write["strb"][n].replicate(8) for n in range(4)]
        with m.If(write["valid"]):
            for r in REGISTERS:
                if r.access == "rw":
                    with m.If(write["addr"] == r.offset >> 2):
                        new = (write["data"] & Cat(byte)) | (stored[r.name] & ~Cat(byte))
                        m.d.sync += stored[r.name].eq(new & masks[r.name])
        acts = write["data"] & Cat(byte)
        at = {r.name: r.offset >> 2 for r in REGISTERS}
        m.d.sync += [
            self.start.eq(write["valid"] & (write["addr"] == at["CTRL"]) & acts[0]),
            self.abort.eq(write["valid"] & (write["addr"] == at["CTRL"]) & acts[1])]

        events, before, cleared = Cat(self.done, self.error), Signal(2), Signal(2)
        m.d.comb += cleared.eq(Mux(write["valid"] & (write["addr"] == at["IRQ_STATUS"]), acts[:2], 0))
        m.d.sync += [before.eq(events), pending.eq((pending & ~cleared) | (events & ~before)),
                     self.irq.eq((pending & stored["IRQ_ENABLE"][:2]).any())]
        return m

    def _read(self, m, shown, cycles_hi):
        bus = self.bus
        word = bus.araddr[2:]
        m.d.comb += bus.arready.eq(~bus.rvalid | bus.rready)
        with m.If(bus.arvalid & bus.arready):
            m.d.sync += [bus.rvalid.eq(1), bus.rdata.eq(0), bus.rresp.eq(SLVERR)]
            with m.Switch(word):
                for r in REGISTERS:
                    with m.Case(r.offset >> 2):
                        m.d.sync += [bus.rdata.eq(shown[r.name]), bus.rresp.eq(OKAY)]
                        if r.name == "CYCLES_LO":
                            m.d.sync += cycles_hi.eq(self.cycles[32:])
        with m.Elif(bus.rready):
            m.d.sync += bus.rvalid.eq(0)

    def _write(self, m):
        """Joins address and data; the write happens in the cycle in which ``valid`` is 1."""
        bus = self.bus
        have_addr, have_data = Signal(), Signal()
        write = {"valid": Signal(name="write_valid"), "addr": Signal(BUS_ADDR_BITS - 2, name="write_addr"),
                 "data": Signal(32, name="write_data"), "strb": Signal(4, name="write_strb")}
        m.d.comb += [bus.awready.eq(~have_addr), bus.wready.eq(~have_data),
                     write["valid"].eq(have_addr & have_data & (~bus.bvalid | bus.bready))]
        with m.If(bus.awvalid & bus.awready):
            m.d.sync += [have_addr.eq(1), write["addr"].eq(bus.awaddr[2:])]
        with m.If(bus.wvalid & bus.wready):
            m.d.sync += [have_data.eq(1), write["data"].eq(bus.wdata), write["strb"].eq(bus.wstrb)]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(write["valid"]):
            m.d.sync += [have_addr.eq(0), have_data.eq(0), bus.bvalid.eq(1), bus.bresp.eq(SLVERR)]
            with m.Switch(write["addr"]):
                with m.Case(*(r.offset >> 2 for r in REGISTERS)):
                    m.d.sync += bus.bresp.eq(OKAY)
        return write


assert SPACE <= 1 << BUS_ADDR_BITS and ceil_log2(SPACE) >= max(r.offset for r in REGISTERS).bit_length()
