"""Where two runs first differ."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spec.program import Program

__all__ = ["Difference", "first_difference"]


@dataclass(frozen=True)
class Difference:
    """The first wrong value of the first wrong layer; ``place`` is where the engine computes it (``Layer.place``)."""
    layer: str
    tensor: str
    place: tuple
    coordinate: tuple
    expected: int
    got: int
    wrong: int
    size: int

    def __str__(self):
        (c, y, x), (tile, slot, strip, pixel_tile) = self.coordinate, self.place
        return (f"layer {self.layer}: tensor {self.tensor}, filter tile {tile}, slot {slot}, strip {strip}, "
                f"pixel tile {pixel_tile}, channel {c}, row {y}, column {x}: expected {self.expected}, got {self.got} "
                f"({self.wrong} of {self.size} values differ)")


def first_difference(program: Program, expected: Mapping[str, np.ndarray],
                     got: Mapping[str, np.ndarray]) -> Difference | None:
    """Compare codes (C, H, W) by tensor, in the order of the layers; None if all are equal.

    Parameters
    ----------
    program : compiler.Program, for the place of a value in the engine's work.
    expected, got : dict from tensor name to codes; only tensors in ``got`` are compared.
    """
    for layer in program.layers:
        if layer.output not in got:
            continue
        right, found = (np.asarray(codes[layer.output]) for codes in (expected, got))
        wrong = np.argwhere(right != found)
        if len(wrong):
            at = tuple(int(v) for v in wrong[0])
            return Difference(layer.name, layer.output, layer.place(*at), at, int(right[at]), int(found[at]),
                              len(wrong),
                              right.size)
    return None
