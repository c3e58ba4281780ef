"""Where two runs first differ."""

from dataclasses import dataclass

import numpy as np

__all__ = ["Difference", "first_difference"]


@dataclass(frozen=True)
class Difference:
    """The first wrong value of the first wrong layer; ``tile`` is (filter tile, pixel tile) of the engine."""
    layer: str
    tensor: str
    tile: tuple
    coordinate: tuple
    expected: int
    got: int
    wrong: int
    size: int

    def __str__(self):
        c, y, x = self.coordinate
        return (f"layer {self.layer}: tensor {self.tensor}, filter tile {self.tile[0]}, pixel tile {self.tile[1]}, channel {c}, row {y}, column {x}: "
                f"expected {self.expected}, got {self.got} ({self.wrong} of {self.size} values differ)")


def first_difference(program, config, expected, got):
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
            c, y, x = (int(v) for v in wrong[0])
            region = program.outputs[layer.output]
            position = region.order.index(c)
            return Difference(layer.name, layer.output, (position // config.slots, (y * region.width + x) // config.pixels), (c, y, x),
                              int(expected[layer.output][c, y, x]), int(got[layer.output][c, y, x]), len(wrong), expected[layer.output].size)
    return None
