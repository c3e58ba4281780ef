"""AMD ZCU102 (UG1182): clocks, lights, switches, the UART of the fabric, Pmods."""

from amaranth.build import Attrs, Clock, Connector, DiffPairs, Pins, Resource, Subsignal
from amaranth.vendor import XilinxPlatform

__all__ = ["ZCU102Platform"]

LVCMOS33 = Attrs(IOSTANDARD="LVCMOS33")


class ZCU102Platform(XilinxPlatform):
    device = "xczu9eg"
    package = "ffvb1156"
    speed = "2-e"
    default_clk = "clk125"
    resources = [
        Resource("clk125", 0, DiffPairs("G21", "F21", dir="i"), Clock(125e6), Attrs(IOSTANDARD="LVDS_25")),
        Resource("clk300", 0, DiffPairs("AL8", "AL7", dir="i"), Clock(300e6), Attrs(IOSTANDARD="DIFF_SSTL12")),
        *(Resource("led", n, Pins(pin, dir="o"), LVCMOS33)
          for n, pin in enumerate("AG14 AF13 AE13 AJ14 AJ15 AH13 AH14 AL12".split())),
        *(Resource("switch", n, Pins(pin, dir="i"), LVCMOS33)
          for n, pin in enumerate("AN14 AP14 AM14 AN13 AN12 AP12 AL13 AK13".split())),
        Resource("uart", 0, Subsignal("rx", Pins("E13", dir="i")), Subsignal("tx", Pins("F13", dir="o")), LVCMOS33),
    ]
    connectors = [
        Connector("pmod", 0, "A20 B20 A22 A21 - - B21 C21 C22 D21 - -"),
        Connector("pmod", 1, "D20 E20 D22 E22 - - F20 G20 J20 J19 - -"),
    ]
