"""Ratios of number systems as text."""

import pytest

from quant import Ratio
from spec.errors import AlloyError


def test_a_ratio_as_text():
    assert Ratio.parse("35:60:5") == Ratio(35, 60, 5) and Ratio.parse("0:1:0.5") == Ratio(0, 1, 0.5)


@pytest.mark.parametrize("text", ["", "1:2", "1:2:3:4", "a:b:c", "-1:2:3", "0:0:0"])
def test_what_is_no_ratio(text):
    with pytest.raises(AlloyError, match=f"the ratio '{text}' is not three shares PoT-4:fixed-4:fixed-8"):
        Ratio.parse(text)
