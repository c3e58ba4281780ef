"""A model from a file: as a module, or as the integer network that it is."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
from torch import nn

from spec.errors import AlloyError, Unsupported
from spec.network import Network

from ..normalize import SCALE, Normalization
from .emit import Finding, convolution, identity_sum
from .values import Codes, Grid

__all__ = ["Model"]


@dataclass(frozen=True, eq=False)
class Model:
    """What a file of a model holds.

    Attributes
    ----------
    name : of the file, without its ending.
    shape : (C, H, W) of one image.
    module : for images (N, C, H, W); :func:`quant.quantize` takes it like any other. None if the file is quantized.
    network : the integer network, if the file is quantized: its weights, scales and zero points are taken as they are,
        there is nothing to calibrate. None otherwise.
    findings : of a quantized file, how each layer of the network compares with what the file says.
    refused : what is not supported; :data:`module` has zeros in its place, or :data:`network` leaves it out.
    """

    name: str
    shape: tuple[int, int, int]
    module: nn.Module | None = None
    network: Network | None = None
    findings: tuple[Finding, ...] = ()
    refused: tuple[Unsupported, ...] = ()

    def whole(self) -> "Model":
        """Itself; raises the first of what is refused."""
        if self.refused:
            raise self.refused[0].among(len(self.refused) - 1)
        return self

    def on_pixels(self, mean: ArrayLike | None = None, std: ArrayLike | None = None) -> "Model":
        """The same for a quantized file whose network reads the codes of its own input: a first layer makes these of
        pixels 0..255, as :func:`quant.quantize` takes them. ``mean`` and ``std`` are those of the normalization
        ``(pixel / 255 - mean) / std`` that the model was trained with.
        """
        if self.network is None:
            raise AlloyError(f"{self.name} is not quantized: give mean and std to quantize")
        old, real = self.network.tensors[self.network.input], Normalization.of(mean, std, self.shape[0])
        assert old.scale is not None
        if mean is None and (old.zero, old.bits) == (0, 8) and np.isclose(old.scale, SCALE, 1e-6):
            return self
        source = Codes("pixels", Grid(SCALE, 0, 0, 255), self.shape)
        made = identity_sum("layer normalization", "normalization", source).affine(
            1 / np.array(real.std), -np.array(real.mean) / np.array(real.std))
        node, _, finding = convolution(made, Grid(old.scale, old.zero, 0, (1 << old.bits) - 1), self.network.input)
        tensors = {"pixels": replace(old, name="pixels", bits=8, zero=0, scale=SCALE), **self.network.tensors}
        network = replace(self.network, input="pixels", tensors=tensors,
                          nodes=[replace(node, name="normalization"), *self.network.nodes])
        return replace(self, network=network, findings=(finding, *self.findings))
