"""Families of parts: one file for each vendor with everything that is only true of it.

A new one is a file beside these and its names below; an instantiated multiplier has its body in :mod:`rtl.prim.dsp`.
"""

from ..errors import AlloyError
from .amd import DSP48E1, DSP48E2, SERIES7, ULTRASCALE_PLUS, ZYNQ, ZYNQ_MPSOC
from .device import RESOURCES, Family, MemoryPort, Multiplier, Processor
from .lattice import MULT18

__all__ = ["FAMILIES", "MULTIPLIERS", "PROCESSORS", "RESOURCES", "ZYNQ", "ZYNQ_MPSOC", "Family", "MemoryPort",
           "Multiplier", "Processor", "family", "multiplier"]

MULTIPLIERS = {m.name: m for m in (DSP48E2, DSP48E1, MULT18)}
PROCESSORS = {p.core: p for p in (ZYNQ, ZYNQ_MPSOC)}
FAMILIES = {f.name: f for f in (ULTRASCALE_PLUS, SERIES7)}


def multiplier(name: str) -> Multiplier:
    """The multiplier called ``name``; :class:`AlloyError` lists the choices."""
    if name not in MULTIPLIERS:
        raise AlloyError(f"there is no multiplier {name!r}: choose {', '.join(MULTIPLIERS)}")
    return MULTIPLIERS[name]


def family(name: str) -> Family:
    """The family called ``name``; :class:`AlloyError` lists the choices."""
    if name not in FAMILIES:
        raise AlloyError(f"there is no family of parts {name!r}: choose {', '.join(FAMILIES)}")
    return FAMILIES[name]
