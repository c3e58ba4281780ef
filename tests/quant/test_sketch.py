"""What a network will be made of before anything is calibrated."""

import numpy as np
import torch

import boards
from quant.imports import trace
from quant.recipes import VARIANTS
from quant.sketch import sketch


def test_filters_are_in_no_order():
    """Kind: a network that is slow for the order of its filters alone; recipes choose them by what they lose."""
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 96, 3), torch.nn.ReLU(), torch.nn.Conv2d(96, 96, 1)).eval()
    network, plan, _ = sketch(trace(model, (3, 8, 8)), VARIANTS["alloy"], boards.get("zcu102").config)
    for node in network.nodes:
        assert (node.scheme == plan.schemes[node.name]).all()
        assert len(np.flatnonzero(np.diff(node.scheme.astype(int)))) > 10
