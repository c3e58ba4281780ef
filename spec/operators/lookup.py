"""A function of each code alone: a table."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import AlloyError
from .operator import Layer, Operator, register

if TYPE_CHECKING:
    from ..network import Network

__all__ = ["CODES", "Lookup", "LookupLayer"]

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


@dataclass(eq=False, kw_only=True)
class LookupLayer(Layer):
    """``function`` of each value alone, one that PyTorch can compute, and differentiate in training."""
    function: Callable[[Any], Any]

    narrows = False
    fine = True
    channelwise = False         # channels are not scaled as those of its source

    def apply(self, torch: Any, *sources: Any) -> Any:
        """In 64 bits and in the order of memory of the source: however the function is written, its values are the same
        numbers of 32 bits, and so are sums of them."""
        out = self.function(sources[0].double()).to(sources[0])
        return out if out.stride() == sources[0].stride() else torch.empty_like(sources[0]).copy_(out)

    def signed(self, sources: bool) -> bool:
        return True

    def needs(self, live: Any) -> list[Any]:
        return [live]

    def export(self, net: Any) -> Lookup:
        return Lookup(name=self.name, input=self.input, output=self.output, table=net.table(self))
