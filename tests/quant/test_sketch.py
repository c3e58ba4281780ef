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


def test_layers_have_orders_of_their_own():
    """Kind: layers that meet in one tensor, whose one order of channels suits them all as no recipe's filters do."""
    model = torch.nn.Sequential(*(torch.nn.Conv2d(64, 64, 1) for _ in range(3))).eval()
    network, _, _ = sketch(trace(model, (64, 8, 8)), VARIANTS["alloy"], boards.get("zcu102").config)
    first, *others = (np.asarray(node.scheme) for node in network.nodes)
    assert all((np.bincount(first) == np.bincount(other)).all() and (first != other).any() for other in others)
