"""An engine with memory on the chip, and a host behind two wires: what a small FPGA board can be."""

from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out, connect

from spec.config import EngineConfig
from spec.errors import AlloyError
from spec.uart import PATIENCE

from ..control import BUS_ADDR_BITS
from .bridge import Bridge
from .memory import Memory
from .uart import Receiver, Transmitter

__all__ = ["System"]

OFF = 0.02              # of a bit's time


class System(wiring.Component):
    """The engine as an instance of its Verilog, ``memory_bytes`` of block RAM in the place of DRAM, from address 0 on,
    and the UART.

    Parameters
    ----------
    config : of the engine, with one memory port. memory_bytes : a power of two.
    clock_hz, baud : of the clock, and bits a second of the UART.

    Members
    -------
    rx, tx : the wires. busy : there is something on them, for a light.
    """

    def __init__(self, config: EngineConfig, *, memory_bytes: int, clock_hz: float, baud: int):
        if config.ports != 1:
            raise AlloyError(f"the engine has {config.ports} memory ports: memory on the chip has one, set ports to 1")
        self._config, self._clock_hz = config, clock_hz
        divisor = round(clock_hz / baud)
        if abs(clock_hz / baud / divisor - 1) > OFF:
            raise AlloyError(f"{baud} bits a second of a clock of {clock_hz / 1e6:g} MHz are {divisor} cycles each, "
                             f"more than {OFF:.0%} off: choose another rate")
        self._receiver, self._transmitter = Receiver(divisor=divisor), Transmitter(divisor=divisor)
        self._bridge = Bridge(patience=int(PATIENCE * clock_hz), addr_bits=BUS_ADDR_BITS)
        self._memory = Memory(size=memory_bytes, port_bits=config.port_bits, addr_bits=config.addr_bits)
        super().__init__({"rx": In(1), "tx": Out(1, init=1), "busy": Out(1)})

    @property
    def clock_hz(self) -> float:
        return self._clock_hz

    def elaborate(self, platform):
        m = Module()
        m.submodules["receiver"] = receiver = self._receiver
        m.submodules["transmitter"] = transmitter = self._transmitter
        m.submodules["bridge"] = bridge = self._bridge
        m.submodules["memory"] = memory = self._memory
        connect(m, receiver.o, bridge.i)
        connect(m, bridge.o, transmitter.i)
        connect(m, bridge.memory, memory.host)
        m.d.comb += [receiver.rx.eq(self.rx), self.tx.eq(transmitter.tx), self.busy.eq(~self.rx | ~transmitter.tx)]
        m.submodules["engine"] = Instance(
            "alloy", i_aclk=ClockSignal(), i_aresetn=~ResetSignal(allow_reset_less=True),
            **_pins("s_axil", bridge.s_axi), **_pins("m_axi_0", memory.r_axi), **_pins("m_axi_0", memory.w_axi))
        return m


def _pins(prefix, bus):
    """The pins of the engine's Verilog for a bus of a unit beside it: what that drives goes in."""
    return {f"{'i' if member.flow is Out else 'o'}_{prefix}_{name}": getattr(bus, name)
            for name, member in bus.signature.members.items()}
