"""Number systems of filters that nobody has looked at: as many of each as go into an engine's slots."""

import numpy as np
import pytest
from torch import nn

from quant import trace
from quant.recipes import Request, outline
from spec.config import EngineConfig
from spec.numerics import Scheme


@pytest.mark.parametrize("dsp, lut", [(4, 2), (2, 6), (6, 1), (2, 2)])
@pytest.mark.parametrize("filters", [1, 2, 3, 5, 6, 7, 8, 9, 12, 16, 31])
def test_alloy_fills_the_slots(dsp, lut, filters):
    """Those of LUTs first; then filters take two slots of DSPs each, of 8 bits, as long as all others get one."""
    config = EngineConfig(name="slots", ic=4, pixels=4, dsp_filters=dsp, lut_filters=lut)
    graph = trace(nn.Sequential(nn.Conv2d(2, filters, 3)), (2, 6, 6))
    plan = outline("alloy", Request(graph, {}, config, {}, None))
    schemes, = plan.schemes.values()
    pot, narrow, wide = (int((schemes == scheme).sum()) for scheme in (Scheme.POT4, Scheme.FIXED4, Scheme.FIXED8))
    tiles = -(-filters // config.slots)
    assert schemes.dtype == np.uint8 and pot + narrow + wide == len(schemes) == filters
    assert pot == min(filters, tiles * lut)
    left = tiles * dsp - narrow - 2 * wide
    assert left >= 0 and (narrow == 0 or left == 0)
