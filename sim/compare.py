"""Where two runs first differ."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Difference", "first_difference"]


@dataclass(frozen=True)
class Difference:
    """The first wrong value of the first wrong layer, and where the engine computes it: :meth:`compiler.program.Layer.place`."""
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
        return (f"layer {self.layer}: tensor {self.tensor}, filter tile {tile}, slot {slot}, strip {strip}, pixel tile {pixel_tile}, "
                f"channel {c}, row {y}, column {x}: expected {self.expected}, got {self.got} ({self.wrong} of {self.size} values differ)")


def first_difference(program, expected, got):
    """Compare codes (C, H, W) by tensor, in the order of the layers; None if all are equal.

    Parameters
    ----------
    program : compiler.Program, for the place of a value in the engine's work.
    expected, got : dict from tensor name to codes; only tensors in ``got`` are compared.
    """
    for layer in program.layers:
        if layer.output not in got:
            continue
        wrong = np.argwhere(np.asarray(expected[layer.output]) != np.asarray(got[layer.output]))
        if len(wrong):
            at = tuple(int(v) for v in wrong[0])
            return Difference(layer.name, layer.output, layer.place(*at), at, int(expected[layer.output][at]), int(got[layer.output][at]),
                              len(wrong), expected[layer.output].size)
    return None
