"""Fake quantization beside the integer network."""

import numpy as np
import torch

__all__ = ["same_as_fake"]


@torch.no_grad()
def same_as_fake(net, codes):
    """(integer network, its codes of every tensor) of a calibrated net for input ``codes``, after a look at every
    layer: fake quantization of what the integer network makes of its sources gives its codes.

    Fake quantization has real numbers of 32 bits, so where a sum lies on the border of two codes, it may find the other
    one; equal sums lie on the same border.
    """
    network = net.export()
    found = network.codes(codes)
    real = {name: (torch.from_numpy(values) - net.zeros[name]).float() * net.step(name)
            for name, values in found.items()}
    for layer in net.graph.layers:
        name = layer.output
        fake = torch.round(net.fake(layer, real) / net.step(name)).long().numpy() + net.zeros[name]
        off = np.abs(fake - found[name])
        borders = np.unique(np.stack([fake[off > 0], found[name][off > 0]]), axis=1).shape[1]
        assert borders <= 3 + off.size // 500, layer.name
        assert off.max() <= 1 or name in net.tables, layer.name
    return network, found
