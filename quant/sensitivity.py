"""What a change of each filter's weights does to its output and to the loss, from real images and without labels."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional as F

from spec.operators.convolution import ConvLayer

from .graph import Graph, check_images, check_values, compute
from .ptq import columns
from .ranges import encode_, search_range
from .rounding import Spread, gram, round_weights, rounded

__all__ = ["Statistics", "collect", "compensated", "divergences", "filter_errors"]

Change = tuple[str, torch.Tensor | None, int | None]        # of :func:`divergences`

POSITIONS = 8192
BATCH = 25
SOME = 32               # images that divergences are measured with, the last ones; of few images a quarter
SHOWN = 10              # images for each class, below which no image tells a class from another
CODED = 100_000         # values that the step of a tensor is searched with


@dataclass
class Statistics:
    """Of one convolution with G groups of F filters and K weights in each filter.

    ``hessian`` (G, K, K): mean of x x^T over kernel windows x. ``fisher`` (G, F, K, K) times a vector is
    :meth:`fisher_product`; ``gain`` (G * F,): mean square of the loss's gradient at the filter's outputs.
    """
    hessian: torch.Tensor
    gain: torch.Tensor
    windows: torch.Tensor       # (G, N, K)
    gradients: torch.Tensor     # (G, N, F)
    images: int                 # that the windows are from, batch after batch

    def fisher_product(self, vectors: torch.Tensor) -> torch.Tensor:
        """``E[g_f^2 x x^T] v_f`` for vectors (G, F, K): the Fisher block (Gauss-Newton approximation of the Hessian) of
        each filter."""
        along = torch.einsum("gnk,gfk->gnf", self.windows, vectors) * self.gradients.square()
        return torch.einsum("gnf,gnk->gfk", along, self.windows) / self.windows.shape[1]

    def largest_eigenvalues(self, rounds: int = 12, seed: int = 0) -> torch.Tensor:
        """Largest eigenvalue of every filter's Fisher block by power iteration: (G * F,)."""
        shape = (*self.gradients.shape[::2], self.windows.shape[2])
        vectors = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        value = torch.zeros(shape[:2])
        for _ in range(rounds):
            vectors = vectors / vectors.norm(dim=2, keepdim=True).clamp_min(1e-20)
            product = self.fisher_product(vectors)
            value, vectors = (vectors * product).sum(2), product
        return value.reshape(-1)


def _forward(graph, x):
    """Every tensor, and the output of every convolution before addition and ReLU."""
    tensors, raw = {graph.input: x}, {}
    for layer in graph.layers:
        out = layer.apply(torch, *(tensors[name] for name in layer.sources))
        check_values(layer, out)
        if layer.weighted:
            raw[layer.name] = out
        tensors[layer.output] = layer.finish(out, tensors.get(layer.residual))
    return tensors, raw


def _loss(graph, outputs, generator):
    """The loss of ``outputs`` (rows, features) at targets drawn from the network's own answers, a sum over the images.

    Cross entropy with classes drawn from the logits; outputs that are no logits are means of a normal distribution as
    wide as they are spread.
    """
    if graph.logits:
        answers = torch.multinomial(F.softmax(outputs.detach(), 1), 1, generator=generator)[:, 0]
        return F.cross_entropy(outputs, answers, reduction="sum")
    return (outputs * torch.randn(outputs.shape, generator=generator)).sum() / _spread(outputs.detach())


def _spread(outputs):
    """Standard deviation of outputs (rows, features), all together; 1 where there is none."""
    spread = outputs.std() if outputs.numel() > 1 else torch.zeros(())
    return spread if spread > 0 else torch.ones(())


def _distance(graph, changed, exact):
    """Kullback-Leibler divergence (nats) of changed outputs (rows, features) from exact ones, a sum over the images;
    for outputs that are no logits of normal distributions as wide as the exact ones are spread."""
    if graph.logits:
        return float(F.kl_div(F.log_softmax(changed, 1), F.log_softmax(exact, 1), log_target=True, reduction="sum"))
    return float(((changed - exact) / _spread(exact)).square().sum() / 2)


def collect(graph: Graph, images: torch.Tensor, *, seed: int = 0,
            report: Callable[[str], None] | None = None) -> dict[str, Statistics]:
    """:class:`Statistics` of every convolution of a float graph for real inputs (N, C, H, W).

    The gradients are those of the loss at answers drawn from the network's own, whose mean square is the diagonal of
    the Fisher information (Kunstner et al., NeurIPS 2019, section 2). Those of a classifier's last layer are averaged
    over the classes if there are fewer than :data:`SHOWN` images for each: a class that none shows would seem to be
    worth nothing, and others will ask for it. ``report`` is called with a line of text after each batch.
    """
    check_images(graph, images)
    generator = torch.Generator().manual_seed(seed)
    parts: dict[str, list[tuple[torch.Tensor, torch.Tensor]]] = {layer.name: [] for layer in graph.weighted}
    for at in range(0, len(images), BATCH):
        some = images[at:at + BATCH]
        for name, pair in _slopes(graph, some, max(1, POSITIONS * len(some) // len(images)), generator):
            parts[name].append(pair)
        if report:
            report(f"statistics of layers, {min(at + BATCH, len(images))} of {len(images)} images")
    out = {}
    classes = {layer.name: len(layer.weight) for layer in graph.weighted if graph.logits
               and layer.output == graph.output}
    for name in list(parts):
        windows, slopes = (torch.cat(pieces, 1) for pieces in zip(*parts.pop(name), strict=True))
        if len(images) < SHOWN * classes.get(name, 0):
            slopes = slopes.square().mean((0, 2), keepdim=True).sqrt().expand_as(slopes).contiguous()
        hessian = gram(windows)
        out[name] = Statistics(hessian, slopes.square().mean(1).reshape(-1), windows, slopes, len(images))
    return out


def _slopes(graph, images, share, generator):
    """Of every convolution its name, and kernel windows (G, N, K) and the loss's gradients (G, N, F) at ``share``
    positions of some images; the tensors that these take are gone before the next images come."""
    tensors, raw = _forward(graph, images.clone().requires_grad_())
    loss = _loss(graph, graph.answers(tensors[graph.output]), generator)
    grads, inputs = torch.autograd.grad(loss, list(raw.values())), {name: x.detach() for name, x in tensors.items()}
    del tensors, raw, loss
    for layer, grad in zip(graph.weighted, grads, strict=True):
        total = len(images) * grad.shape[2] * grad.shape[3]
        picks = torch.randperm(total, generator=generator)[:share]
        flat = grad.permute(0, 2, 3, 1).reshape(total, layer.groups, -1)[picks].transpose(0, 1)
        yield layer.name, (columns(inputs[layer.input], layer, picks), flat)


def _measured(images):
    return min(SOME, max(1, images // 4))


@torch.no_grad()
def divergences(graph: Graph, images: torch.Tensor, changes: Sequence[Change], *,
                report: Callable[[int, int], None] | None = None) -> np.ndarray:
    """How far the answers of the float network move when one thing alone is changed: divergence (nats), mean over
    images.

    Parameters
    ----------
    images : real inputs (N, C, H, W), of which the last are taken (:data:`SOME`).
    changes : list of (layer name, weight, bits). The layer has this weight, if not None, and its output, which a ReLU
        bounds, codes of this many bits, if not None.
    report : called with (batch, batches).

    Returns
    -------
    float64 array (changes,).
    """
    total, images = np.zeros(len(changes)), images[-_measured(len(images)):]
    for index, at in enumerate(range(0, len(images), BATCH)):
        exact = _forward(graph, images[at:at + BATCH])[0]
        answers = graph.answers(exact[graph.output])
        for number, (name, weight, bits) in enumerate(changes):
            moved: dict[str, torch.Tensor] = {}
            for layer in graph.layers:
                if layer.name != name and not set(layer.inputs) & set(moved):
                    continue
                out = compute(layer, exact | moved, **({"weight": weight} if layer.name == name and weight is not None
                                                       else {}))
                if layer.name == name and bits is not None:
                    some, top = out.flatten()[::-(-out.numel() // CODED)], (1 << bits) - 1
                    step = search_range(some, some, 0, top)
                    out = encode_(out.div_(step), 0, top).mul_(step)
                moved[layer.output] = out
            total[number] += _distance(graph, graph.answers(moved[graph.output]), answers)
        if report:
            report(index + 1, -(-len(images) // BATCH))
    return total / len(images)


def compensated(layer: ConvLayer, statistics: Statistics, schemes: Sequence[np.ndarray]) -> list[torch.Tensor]:
    """The weights of a layer as :func:`quant.ptq.reconstruct` would leave them, for each of several number systems
    (list of uint8 (F,)).

    They have not seen the images with which :func:`divergences` measures, for a layer of many weights learns images by
    heart; those decide whether compensated rounding beats rounding to nearest. (With less than a batch of other images
    there is no choice but to let them see all.)
    """
    groups, count, size = statistics.windows.shape
    weight, images = layer.weight.reshape(groups, -1, size), statistics.images
    others = (images - _measured(images)) // BATCH * BATCH or images
    seen = statistics.windows[:, :count * others // images]
    held = statistics.windows[:, -(count * _measured(images) // images):]
    hessian, out = gram(seen), []
    importance = hessian.diagonal(dim1=1, dim2=2)[:, None].expand_as(weight).reshape(-1, size)
    spread = Spread.of(hessian)
    for scheme in schemes:
        scale, nearest = rounded(weight.reshape(-1, size), scheme, importance + 1e-12, steps=20)
        both = nearest.reshape(weight.shape), round_weights(weight, scale.reshape(groups, -1), scheme, spread)[0]
        errors = [float((held @ (change - weight).transpose(1, 2)).square().sum()) for change in both]
        out.append(both[int(np.argmin(errors))].reshape(layer.weight.shape))
    return out


def filter_errors(layer: ConvLayer, statistics: Statistics, scheme: int,
                  codebook: np.ndarray | None = None) -> torch.Tensor:
    """``(w - Q(w))^T H (w - Q(w))`` of every filter rounded to nearest in one number system: (G * F,).

    It is the mean squared change of the filter's output, E of Sun et al. (FILM-QNN, FPGA 2022, section 4.2) squared.
    """
    groups, size = statistics.hessian.shape[:2]
    weight = layer.weight.reshape(groups, -1, size)
    flat = weight.reshape(-1, size)
    importance = statistics.hessian.diagonal(dim1=1, dim2=2)[:, None].expand_as(weight).reshape(-1, size)
    schemes = torch.full((len(flat),), int(scheme)).numpy()
    change = (flat - rounded(flat, schemes, importance + 1e-12, codebook)[1]).reshape(groups, -1, size)
    return ((change @ statistics.hessian) * change).sum(2).clamp_min(0).reshape(-1)
