"""The normalization that a network was trained with, moved into its first layers: the integer network reads pixels as
they are."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike
import torch

from spec.errors import AlloyError
from spec.operators.affine import AffineLayer
from spec.operators.pool import PoolLayer

from .graph import Graph

__all__ = ["Normalization", "SCALE"]

SCALE = 1 / 255         # real value of one step of a pixel
CLOSE = 1e-6            # of a mean to 0 and 1
ROUNDING = 1e-7         # of a few operations on 32-bit numbers


@dataclass(frozen=True)
class Normalization:
    """A network was trained on ``(pixel / 255 - mean) / std``, pixels 0..255; ``mean`` and ``std`` have a value for
    each channel."""

    mean: tuple
    std: tuple

    @classmethod
    def of(cls, mean: ArrayLike | None, std: ArrayLike | None, channels: int) -> "Normalization":
        """From what a user gives: numbers or a sequence of one for each of the ``channels``, as 32-bit numbers; None
        and None are ``pixel / 255``.

        Raises :class:`AlloyError` if they cannot be what pixels from 0 to 1 were normalized with.
        """
        if (mean is None) != (std is None):
            given, other = ("mean", "std") if std is None else ("std", "mean")
            raise AlloyError(f"there is a {given} and no {other}: give both, or neither if the model was trained on "
                             "pixels from 0 to 1")
        if mean is None:
            return cls((0.0,) * channels, (1.0,) * channels)
        means, stds = (_values(name, value, channels) for name, value in (("mean", mean), ("std", std)))
        if not all(0 <= value <= 1 for value in means):
            raise AlloyError(f"the mean {_text(means)} is not that of pixels from 0 to 1: divide it (and std) by 255 "
                             "if it is that of pixels up to 255")
        if not all(value > 0 for value in stds):
            raise AlloyError(f"the std {_text(stds)} is not above 0 everywhere: give the standard deviations that the "
                             "model was trained with")
        return cls(means, stds)

    @property
    def zero(self) -> int:
        """The pixel that is nearest to the mean of all channels, so that zero padding means what it meant in
        training."""
        return round(255 * sum(self.mean) / len(self.mean))

    @property
    def padded(self) -> bool:
        """Whether that pixel is the mean of every channel: else zero padding is a little off, and what lies near the
        border of an image with it."""
        return all(abs(255 * value - self.zero) < CLOSE * 255 for value in self.mean)

    def real(self, codes: np.ndarray | torch.Tensor) -> torch.Tensor:
        """What the model reads, of pixels uint8 (N, C, H, W)."""
        mean, std = (torch.tensor(values, dtype=torch.float32)[:, None, None] for values in (self.mean, self.std))
        return (torch.as_tensor(codes).float() / 255 - mean) / std

    def before(self, graph: Graph) -> tuple["Normalization", Graph]:
        """This normalization with the one that the model begins with, and the graph without that; both as they are if
        there is none, or if both together are none of pixels."""
        first = [layer for layer in graph.layers if graph.input in layer.inputs]
        if len(first) != 1 or not isinstance(first[0], AffineLayer) or not first[0].fresh \
                or first[0].output == graph.output:
            return self, graph
        scale, offset = (values.flatten().double().numpy() for values in (first[0].weight, first[0].bias))
        if not (scale > 0).all():
            return self, graph
        std = np.array(self.std) / scale
        mean = np.array(self.mean) - offset * std
        if not ((mean > -CLOSE) & (mean < 1 + CLOSE)).all():
            return self, graph
        name = {first[0].output: graph.input}
        layers = [replace(layer, sources=tuple(name.get(one, one) for one in layer.sources),
                          residual=name.get(layer.residual, layer.residual))
                  for layer in graph.layers if layer is not first[0]]
        shapes = {tensor: shape for tensor, shape in graph.shapes.items() if tensor not in name}
        both = (tuple(_short(value) for value in values.tolist()) for values in (mean.clip(0, 1), std))
        return Normalization(*both), replace(graph, layers=layers, shapes=shapes)

    def folded(self, graph: Graph) -> Graph:
        """The same network on ``(pixel - zero) / 255``: its first convolutions have other weights and biases.

        Exact, but for pixels of zero padding if the channels' means differ. Raises :class:`AlloyError` if something
        else than a convolution reads the input.
        """
        layers = [replace(layer) for layer in graph.layers]
        mean, std = (torch.tensor(values, dtype=torch.float64) for values in (self.mean, self.std))
        offset = (self.zero / 255 - mean) / std
        scaled = {graph.input: torch.stack([std, offset])}      # of every channel, (2, C)
        plain = not offset.any() and bool((std == 1).all())
        for layer in () if plain else layers:
            if not scaled.keys() & {*layer.inputs}:
                continue
            moves = layer.keeps or layer.joins or isinstance(layer, PoolLayer) and layer.translates
            fits = layer.learned or moves and layer.output != graph.output
            if layer.residual in scaled or not fits:
                raise AlloyError(f"layer {layer.name} reads the normalized image and is no convolution, so that mean "
                                 "and std have no place: let a convolution read the image first")
            if layer.learned:
                std, offset = scaled[layer.input]
                per = layer.by_input_channel(1 / std)
                layer.bias = (layer.bias + (layer.weight * layer.by_input_channel(offset)).sum((1, 2, 3))).float()
                layer.weight = (layer.weight * per).float()
            else:       # a pool of normalized values is the normalized pool
                scaled[layer.output] = self._through(layer, scaled, graph.shapes)
        return replace(graph, layers=layers)

    @staticmethod
    def _through(layer, scaled, shapes):
        """Scales and offsets (2, C) of what a layer makes of channels that have them."""
        out = torch.stack([torch.ones(shapes[layer.output][0]), torch.zeros(shapes[layer.output][0])]).double()
        origins = layer.origins(*(shapes[name][0] for name in layer.tied))
        for name, origin in zip(layer.tied, origins, strict=True):
            first, *others = np.atleast_2d(origin)
            if name in scaled:
                if any((scaled[name][:, first] != scaled[name][:, other]).any() for other in others):
                    raise AlloyError(f"layer {layer.name} makes pixels of normalized channels of different mean and "
                                     "std, which then have no place: let a convolution read the image first")
                out[:, first >= 0] = scaled[name][:, first[first >= 0]]
        return out


def _values(name, value, channels):
    try:
        with np.errstate(over="ignore"):        # 32 bits: 0.485 is the same in a tensor as in a list
            found = np.asarray(value, np.float64).astype(np.float32).astype(np.float64)
        whole = bool(np.isfinite(found).all())
    except (TypeError, ValueError):
        raise AlloyError(f"the {name} is {value!r}: give one number for each of the {channels} channels") from None
    if found.ndim > 1 or found.size not in (1, channels) or not whole:
        raise AlloyError(f"the {name} has {found.size} value{'s' * (found.size != 1)} ({value!r}): give one finite "
                         f"number for each of the {channels} channel{'s' * (channels > 1)} of the images")
    return tuple(np.broadcast_to(found.ravel(), channels).tolist())


def _short(value):
    """``value`` as a 32-bit number, the short one that was meant if rounding alone lies between."""
    short = float(f"{value:.6g}")
    return float(np.float32(short if abs(value - short) <= ROUNDING * abs(value) else value))


def _text(values):
    return ", ".join(f"{value:g}" for value in values)
