"""Verilog of the engine, with the names of its ports."""

import re
from typing import Any

from amaranth.back import rtlil

from spec.config import EngineConfig

from .prim import Library
from .tools import to_verilog
from .top import PLAIN, Pins

__all__ = ["generate", "port_names", "TOP"]

TOP = "alloy"


def port_names(pins: Pins) -> dict[str, Any]:
    """Verilog port name -> signal, in AXI's names, bus by bus."""
    first, *others = pins.r_axi
    out = {n: getattr(pins, n) for n in ("aclk", "aresetn")} | _members("s_axil", pins.s_axi)
    out |= _members("m_axi_0", first) | _members("m_axi_0", pins.w_axi)
    for i, bus in enumerate(others, 1):
        out |= _members(f"m_axi_{i}", bus)
    return out | {n: getattr(pins, n) for n in PLAIN}


def _members(prefix, bus):
    return {f"{prefix}_{name}": getattr(bus, name) for name in bus.signature.members}


def generate(config: EngineConfig) -> dict[str, str]:
    """Verilog of the engine for ``config``: a dict of file name to text; every distinct module is there once."""
    library = Library()
    pins = Pins(config)
    names = port_names(pins)
    text = rtlil.convert(pins, name=TOP, platform=library, emit_src=False,
                         ports={name: (signal, None) for name, signal in names.items()})
    text = to_verilog(library.rtlil() + "\n" + text)
    # Amaranth puts inputs before outputs: bus by bus is how they are read and connected.
    return {f"{TOP}.v": re.sub(rf"^module {TOP}\([^)]*\)", f"module {TOP}(\n    " + ",\n    ".join(names) + ")", text,
                               flags=re.M)}
