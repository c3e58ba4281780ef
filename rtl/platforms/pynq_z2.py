"""TUL PYNQ-Z2: clock, lights, buttons, switches, Pmods."""

from amaranth.build import Attrs, Clock, Connector, Pins, Resource
from amaranth.vendor import XilinxPlatform

__all__ = ["PYNQZ2Platform"]

LVCMOS33 = Attrs(IOSTANDARD="LVCMOS33")


class PYNQZ2Platform(XilinxPlatform):
    device = "xc7z020"
    package = "clg400"
    speed = "1"
    default_clk = "clk125"
    resources = [
        Resource("clk125", 0, Pins("H16", dir="i"), Clock(125e6), LVCMOS33),
        *(Resource("led", n, Pins(pin, dir="o"), LVCMOS33) for n, pin in enumerate("R14 P14 N16 M14".split())),
        *(Resource("button", n, Pins(pin, dir="i"), LVCMOS33) for n, pin in enumerate("D19 D20 L20 L19".split())),
        *(Resource("switch", n, Pins(pin, dir="i"), LVCMOS33) for n, pin in enumerate("M20 M19".split())),
    ]
    connectors = [
        Connector("pmod", 0, "Y18 Y19 Y16 Y17 - - U18 U19 W18 W19 - -"),
        Connector("pmod", 1, "W14 Y14 T11 T10 - - V16 W16 V12 W13 - -"),
    ]
