"""AMD Kria KV260 (UG1089, UG1091): the Pmod J2. The fabric has no clock of its own on this
board: it takes the first one of the processor (UG1085), at what that is set to."""

from amaranth.build import Connector, Resource
from amaranth.hdl import ClockDomain, ClockSignal, Instance, Module, ResetSignal, Signal
from amaranth.vendor import XilinxPlatform

__all__ = ["KV260Platform"]


class KV260Platform(XilinxPlatform):
    device = "xck26"
    package = "sfvc784"
    speed = "2LV-c"
    resources: list[Resource] = []
    connectors = [Connector("pmod", 0, "H12 E10 D10 C11 - - B10 E12 D11 B11 - -")]

    def create_missing_domain(self, name: str) -> Module:
        """The domain ``sync`` of the processor's clock."""
        if name != "sync":
            return super().create_missing_domain(name)
        m = Module()
        clocks, resets = Signal(4), Signal(4)
        m.domains += ClockDomain("sync")
        m.submodules["ps"] = Instance("PS8", o_PLCLK=clocks, o_PLRESETN=resets)
        m.submodules["buffer"] = Instance("BUFG_PS", i_I=clocks[0], o_O=ClockSignal("sync"))
        m.d.comb += ResetSignal("sync").eq(0)
        return m
