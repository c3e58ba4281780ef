"""Options and engines that a recipe cannot do with: one sentence before any long work."""

from math import inf, nan

import pytest
from torch import nn

from quant import trace
from quant.recipes import Request, make_plan
from spec.config import EngineConfig
from spec.errors import AlloyError

BOTH = EngineConfig(name="both", ic=4, pixels=4, dsp_filters=4, lut_filters=2)


def request(config=BOTH, **options):
    """Of a network of one layer, without statistics: nothing that looks at a layer comes before a refusal."""
    return Request(trace(nn.Sequential(nn.Conv2d(2, 4, 3)), (2, 6, 6)), {}, config, options, None)


@pytest.mark.parametrize("columns", [dict(dsp_filters=4, lut_filters=0), dict(dsp_filters=0, lut_filters=2)])
def test_alloy_needs_both_kinds_of_columns(columns):
    with pytest.raises(AlloyError, match="the alloy recipe balances DSP and LUT slots: give the configuration both"):
        make_plan("alloy", request(EngineConfig(name="one", ic=4, pixels=4, **columns)))


@pytest.mark.parametrize("slack", [-0.1, inf, nan])
def test_slack_that_is_no_share(slack):
    with pytest.raises(AlloyError, match=f"a slack of {slack}: give the share of cycles beyond the fewest, 0 or more"):
        make_plan("alloy", request(slack=slack))


def test_slack_needs_cycles():
    with pytest.raises(AlloyError, match="a slack of 0.25 needs to know the cycles of a network"):
        make_plan("alloy", request(slack=0.25))


def test_a_budget_of_cycles_needs_cycles():
    with pytest.raises(AlloyError, match="a budget of cycles needs to know the cycles of a network"):
        make_plan("hbp", request(budget="cycles"))
