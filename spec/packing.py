"""How many products share one multiplier, and the proof that they do not disturb each other.

Four products: ``(w0 + w1*2^(2f)) * (a0 + a1*2^f)`` has ``w0*a0, w0*a1, w1*a0, w1*a1`` at bits 0, f, 2f, 3f. Two
products: ``w * (a0 + a1*2^f)``. A chain of ``n`` slices adds before anything is split. Each field is biased by
``2^(f-1)`` at the head of the chain, which makes every field sum unsigned: no field borrows from the one above. (After
Xilinx WP486 and WP521.)
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

from .devices import multiplier
from .errors import AlloyError
from .systems import DIGIT_MAX

__all__ = ["Packing", "solve", "columns", "EVEN_WEIGHT", "ODD_WEIGHT"]

EVEN_WEIGHT = (-DIGIT_MAX - 1, DIGIT_MAX)       # digit range of an even filter slot
ODD_WEIGHT = (-DIGIT_MAX, DIGIT_MAX)            # of an odd slot
CHAIN_MAX = 8


@dataclass(frozen=True, kw_only=True)
class Packing:
    """One packing: ``products`` (4 or 2) per slice, fields of ``field`` bits, chains of ``chain`` slices."""
    device: str
    act_bits: int
    products: int
    field: int
    chain: int

    @property
    def offsets(self) -> tuple[int, ...]:
        """Bit offset of each product: filter-major (w0a0, w0a1, w1a0, w1a1) or (a0, a1)."""
        return tuple(self.field * i for i in range(self.products))

    @property
    def bias(self) -> int:
        """The constant that the head of a chain adds."""
        return sum(1 << offset + self.field - 1 for offset in self.offsets)

    def worst(self) -> list[tuple[str, int, int, int, int]]:
        """Proof: a list of (what, smallest, largest, lower bound, upper bound), all of which must nest."""
        top = (1 << self.act_bits) - 1
        ports, f, n = multiplier(self.device), self.field, self.chain
        wide, narrow, total, field = (
            (-(1 << b - 1), (1 << b - 1) - 1) for b in (ports.wide, ports.narrow, ports.total, f))
        acts = (0, top + (top << f))
        sums = [(n * w[0] * top, n * w[1] * top) for w in (EVEN_WEIGHT, ODD_WEIGHT)]
        rows: list[tuple] = [(f"sum of {n} products, {name} slot", *s, *field)
                for name, s in zip(("even", "odd"), sums, strict=True)]
        if self.products == 4:
            weights = tuple(e + (o << 2 * f) for e, o in zip(EVEN_WEIGHT, ODD_WEIGHT, strict=True))
            rows += [("weights on the wide port", *weights, *wide), ("activations on the narrow port", *acts, *narrow)]
        else:
            rows += [("activations on the wide port", *acts, *wide),
                     ("weight on the narrow port", *EVEN_WEIGHT, *narrow)]
        return rows + [("biased sum", 0, (1 << f * self.products) - 1, *total)]

    def holds(self) -> bool:
        """True if every range of :meth:`worst` lies inside its bounds."""
        return all(low <= least and most <= high for _, least, most, low, high in self.worst())


@cache
def solve(device: str, act_bits: int, chain: int | None = None) -> Packing:
    """The packing with most products, then the longest chain (or exactly ``chain``).

    Raises :class:`AlloyError` if nothing fits the device's multiplier.
    """
    multiplier(device)      # refuses one that is not there
    if act_bits < 1:
        raise AlloyError(f"activation digits of {act_bits} bits hold nothing: use 1 or more")
    if chain is not None and chain < 1:
        raise AlloyError(f"a chain of {chain} multipliers adds nothing: use 1 or more")
    for products in (4, 2):
        for n in range(CHAIN_MAX, 0, -1) if chain is None else [chain]:
            top = n * -EVEN_WEIGHT[0] * ((1 << act_bits) - 1)
            packing = Packing(device=device, act_bits=act_bits, products=products, chain=n,
                              field=(top - 1).bit_length() + 1)
            if packing.holds():
                return packing
    raise AlloyError(f"products of 4-bit weights and {act_bits}-bit activations in chains of {chain or 1} do not fit "
                     f"{device}: use a shorter chain or smaller activation digits")


def columns(config: Any) -> list[int]:
    """Filter slots of each column of the array, from left to right: two where slots share multipliers, then one."""
    return [2] * (config.dsp_filters // 2) + [1] * config.lut_filters
