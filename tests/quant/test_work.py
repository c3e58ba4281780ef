"""The work that is foreseen."""

import pytest
from torch import nn

from quant import trace
from quant.work import stages


def test_layers_add_up():
    """Two of the same take twice as long as one, in every stage but the first, which has pairs of them."""
    one, two = (stages(trace(nn.Sequential(*(nn.Conv2d(3, 3, 3, padding=1) for _ in range(count))), (3, 8, 8)), 40, 20,
                       mirror=False, plan=True) for count in (1, 2))
    assert one.keys() == two.keys() == {"equalize", "statistics", "plan", "layers"}
    for name in ("statistics", "plan", "layers"):
        assert sum(two[name]) == pytest.approx(2 * sum(one[name])) and sum(one[name]) > 0
