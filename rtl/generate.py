"""Verilog of the engine, with the names of its ports."""

from typing import Any

from amaranth.back import rtlil

from spec.config import EngineConfig

from .prim import Library
from .tools import to_verilog
from .top import PLAIN, Pins

__all__ = ["generate", "port_names", "TOP"]

TOP = "alloy"


def port_names(pins: Pins) -> dict[str, Any]:
    """Verilog port name -> signal, in AXI's names."""
    out: dict[str, Any] = {}
    for i, bus in enumerate(pins.r_axi):
        out |= _members(f"m{i}_axi", bus)
    out |= _members("m0_axi", pins.w_axi) | _members("s_axi", pins.s_axi)
    return {n: getattr(pins, n) for n in ("aclk", "aresetn")} | out | {n: getattr(pins, n) for n in PLAIN}


def _members(prefix, bus):
    return {f"{prefix}_{name}": getattr(bus, name) for name in bus.signature.members}


def generate(config: EngineConfig) -> dict[str, str]:
    """Verilog of the engine for ``config``: a dict of file name to text; every distinct module is there once."""
    library = Library()
    pins = Pins(config)
    text = rtlil.convert(pins, name=TOP, platform=library, emit_src=False,
                         ports={name: (signal, None) for name, signal in port_names(pins).items()})
    text = to_verilog(library.rtlil() + "\n" + text)
    return {f"{TOP}.v": text}
