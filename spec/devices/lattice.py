"""Lattice: the 18 x 18 multiplier of ECP5 (FPGA-TN-02205)."""

from .device import Multiplier

__all__ = ["MULT18"]

# A requantizer's product is one of 25 x 18 bits: two multipliers side by side.
MULT18 = Multiplier(name="mult18", wide=18, narrow=18, total=36, joined=25, cell="MULT18X18D", slow=True)
