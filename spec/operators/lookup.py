"""A function of each code alone: a table."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import AlloyError
from .operator import Operator, register

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["CODES", "Lookup"]

CODES = 256         # of a table


@register
@dataclass(frozen=True, kw_only=True, eq=False)
class Lookup(Operator):
    """``table[code]`` of each code.

    Attributes
    ----------
    table : uint8 array (256,), codes of the output; the input has no codes for the last ones if it has fewer bits.
    """
    table: np.ndarray
    kind = "lookup"

    def shape(self, network: "Network") -> tuple[int, int, int]:
        return network.tensors[self.input].shape

    def check(self, network: "Network") -> None:
        super().check(network)
        bits = network.tensors[self.output].bits
        if self.table.shape != (CODES,) or int(self.table.min()) < 0 or int(self.table.max()) >> bits:
            raise AlloyError(f"layer {self.name} has a table that is not {CODES} codes of the {bits} bits of its "
                             "output")

    def run(self, network: "Network", *codes: np.ndarray) -> np.ndarray:
        return self.table.astype(np.int64)[codes[0]]

    def lower(self, builder: Any) -> None:
        builder.lookup(self, self.table.astype(np.uint8))
