"""Nodes of what a file computes: what is said of them counts every sum."""

import numpy as np

from quant.grids.emit import average
from quant.grids.values import Codes, Grid, Sum
from spec.operators.windows import Window


def test_averages_are_compared_over_all_sums():
    """Codes 0 to 3 in windows that count 1, 2 or 4 of them, which are 4, 7 and 13 sums, in steps of two: of each kind
    one is a half that goes to the even code below."""
    window, scale = Window(kernel=(2, 2), padding=(1, 1)), 0.25
    counted = window.over(np.ones((1, 1, 3, 3), np.int64), 0).sum((4, 5))[0, 0]
    made = Sum("layer a", "a", Codes("x", Grid(scale, 0, 0, 3), (2, 3, 3)), np.ones((2, 1, 2, 2), np.int64), window,
               np.full(2, scale), np.zeros(2), divisors=counted)
    node, tensor, finding = average(made, Grid(2 * scale, 0, 0, 3), "y")
    assert node.mults.shape == counted.shape == (4, 4) and tensor.shape == (2, 4, 4)
    assert (finding.share, finding.most) == (3 / 24, 1)
