"""A system on a board that Amaranth has the pins of."""

from amaranth.build import Attrs, Pins, Platform, Resource, ResourceError, Subsignal
from amaranth.hdl import ClockDomain, ClockSignal, Instance, Module, Signal
from amaranth.lib import io, wiring
from amaranth.lib.cdc import ResetSynchronizer

from spec.errors import AlloyError

from .system import System

__all__ = ["Top", "pll"]

VCO = (400e6, 800e6)    # of the PLL of ECP5 (FPGA-TN-02200)
COMPARED = 10e6         # what it compares, at least


def pll(source_hz: float, wanted_hz: float) -> dict[str, int]:
    """Dividers of an EHXPLLL (reference, feedback, output) that makes ``wanted_hz`` of ``source_hz``.

    Raises :class:`AlloyError` if there are none.
    """
    output = int((VCO[0] + VCO[1]) / 2 // wanted_hz)
    for reference in range(1, int(source_hz // COMPARED) + 1):
        feedback = wanted_hz * reference / source_hz
        if feedback == int(feedback) and VCO[0] <= output * wanted_hz <= VCO[1]:
            return {"CLKI_DIV": reference, "CLKFB_DIV": int(feedback), "CLKOP_DIV": output}
    raise AlloyError(f"a PLL does not make {wanted_hz / 1e6:g} MHz of {source_hz / 1e6:g} MHz: choose another clock")


class Top(wiring.Component):
    """``system`` with the wires of the board's ``uart`` 0, or of the first two pins of its Pmod 0 (in, out) if it has
    none; ``led`` 0 shines while they talk. On ECP5 a PLL makes the system's clock, elsewhere it is the board's."""

    def __init__(self, system: System):
        self._system = system
        super().__init__({})

    def elaborate(self, platform):
        m = Module()
        m.submodules.system = system = self._system
        if getattr(platform, "family", None) == "ecp5":
            self._clock(m, platform)
        rx, tx = _wires(platform)
        m.submodules.rx, m.submodules.tx = into, out = io.Buffer("i", rx), io.Buffer("o", tx)
        m.d.comb += [system.rx.eq(into.i), out.o.eq(system.tx)]
        try:
            m.submodules.led = led = io.Buffer("o", platform.request("led", 0, dir="-"))
            m.d.comb += led.o.eq(system.busy)
        except ResourceError:
            pass            # a board without a light
        return m

    def _clock(self, m, platform):
        """The domain ``sync`` behind a PLL, in reset until that is locked."""
        source, clock, locked = Signal(name="source"), Signal(name="clock"), Signal()
        m.submodules.source = pin = io.Buffer("i", platform.request(platform.default_clk, dir="-"))
        m.d.comb += source.eq(pin.i)
        dividers = pll(platform.default_clk_frequency, self._system.clock_hz)
        m.submodules.pll = Instance(
            "EHXPLLL", i_CLKI=source, i_CLKFB=clock, i_RST=0, i_STDBY=0, i_PHASESEL0=0, i_PHASESEL1=0, i_PHASEDIR=0,
            i_PHASESTEP=0, i_PHASELOADREG=0, i_ENCLKOP=0, i_PLLWAKESYNC=0, o_CLKOP=clock, o_LOCK=locked,
            p_CLKOP_ENABLE="ENABLED", p_FEEDBK_PATH="CLKOP", p_CLKOP_CPHASE=dividers["CLKOP_DIV"] - 1, p_CLKOP_FPHASE=0,
            **{f"p_{name}": value for name, value in dividers.items()},
            a_FREQUENCY_PIN_CLKI=f"{platform.default_clk_frequency / 1e6:g}",
            a_FREQUENCY_PIN_CLKOP=f"{self._system.clock_hz / 1e6:g}")
        m.domains.sync = ClockDomain("sync")
        m.d.comb += ClockSignal("sync").eq(clock)
        m.submodules.reset = ResetSynchronizer(~locked, domain="sync")
        platform.add_clock_constraint(clock, self._system.clock_hz)


def _wires(platform: Platform):
    """(in, out) of the UART, as ports."""
    try:
        resource = platform.lookup("uart", 0)
    except ResourceError:
        standard = "IO_TYPE" if getattr(platform, "family", None) == "ecp5" else "IOSTANDARD"
        platform.add_resources([resource := Resource(
            "uart", 0, Subsignal("rx", Pins("1", dir="i", conn=("pmod", 0))),
            Subsignal("tx", Pins("2", dir="o", conn=("pmod", 0))), Attrs(**{standard: "LVCMOS33"}))])
    uart = platform.request("uart", 0, dir={part.name: "-" for part in resource.ios})
    return uart.rx, uart.tx
