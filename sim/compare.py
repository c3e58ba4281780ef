"""Where two runs first differ."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from spec.config import EngineConfig
from spec.program import Program

from .origin import Origin, Origins

__all__ = ["Difference", "first_difference"]


@dataclass(frozen=True)
class Difference:
    """The first wrong value of the first wrong layer; ``made_at`` is where the engine computes it (``Layer.made_at``),
    ``origin`` the command that does; None if it is not asked for, or none does."""
    layer: str
    tensor: str
    made_at: tuple
    coordinate: tuple
    expected: int
    got: int
    wrong: int
    size: int
    origin: Origin | None = None

    def __str__(self):
        command = "" if self.origin is None else f", {self.origin}"
        (c, y, x), (tile, slot, strip, pixel_tile) = self.coordinate, self.made_at
        return (f"layer {self.layer}: tensor {self.tensor}, filter tile {tile}, slot {slot}, strip {strip}, "
                f"pixel tile {pixel_tile}, channel {c}, row {y}, column {x}{command}: expected {self.expected}, "
                f"got {self.got} ({self.wrong} of {self.size} values differ)")


def first_difference(program: Program, expected: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray],
                     config: EngineConfig | None = None) -> Difference | None:
    """Compare codes (C, H, W) by tensor, in the order of the layers; None if all are equal. With the engine's
    ``config`` the command that computes the first wrong value is looked for.

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
            origin = None if config is None else Origins(program, config).of(layer.output, *at)
            return Difference(layer.name, layer.output, layer.made_at(*at), at, int(right[at]), int(found[at]),
                              len(wrong), right.size, origin)
    return None
