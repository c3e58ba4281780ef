"""What a change of each filter's weights does to its output and to the loss, from real images and without labels."""

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from .ptq import columns, rounded

__all__ = ["Statistics", "collect", "filter_errors"]

POSITIONS = 8192


@dataclass
class Statistics:
    """Of one convolution with G groups of F filters and K weights in each filter.

    ``hessian`` (G, K, K): mean of x x^T over kernel windows x. ``fisher`` (G, F, K, K) times a vector is :meth:`fisher_product`;
    ``gain`` (G * F,): mean square of the loss's gradient at the filter's outputs.
    """
    hessian: torch.Tensor
    gain: torch.Tensor
    windows: torch.Tensor       # (G, N, K)
    gradients: torch.Tensor     # (G, N, F)

    def fisher_product(self, vectors):
        """``E[g_f^2 x x^T] v_f`` for vectors (G, F, K): the Fisher block (Gauss-Newton approximation of the Hessian) of each filter."""
        along = torch.einsum("gnk,gfk->gnf", self.windows, vectors) * self.gradients.square()
        return torch.einsum("gnf,gnk->gfk", along, self.windows) / self.windows.shape[1]

    def largest_eigenvalues(self, rounds=12, seed=0):
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
        out = layer.apply(tensors[layer.input])
        if layer.kind == "conv":
            raw[layer.name] = out
        tensors[layer.output] = layer.finish(out, tensors.get(layer.residual))
    return tensors, raw


def collect(graph, images, *, batch=25, seed=0):
    """:class:`Statistics` of every convolution of a float graph for real inputs (N, C, H, W).

    The gradients are those of the cross entropy at labels drawn from the network's own answers, whose mean square is the diagonal of
    the Fisher information (Kunstner et al., NeurIPS 2019, section 2).
    """
    generator = torch.Generator().manual_seed(seed)
    parts = {layer.name: [] for layer in graph.layers if layer.kind == "conv"}
    for at in range(0, len(images), batch):
        x = images[at:at + batch].clone().requires_grad_()
        tensors, raw = _forward(graph, x)
        logits = tensors[graph.output].flatten(1)
        answers = torch.multinomial(F.softmax(logits.detach(), 1), 1, generator=generator)[:, 0]
        grads = torch.autograd.grad(F.cross_entropy(logits, answers, reduction="sum"), list(raw.values()))
        share = max(1, POSITIONS * len(x) // len(images))
        for layer, grad in zip((la for la in graph.layers if la.kind == "conv"), grads):
            total = len(x) * grad.shape[2] * grad.shape[3]
            picks = torch.randperm(total, generator=generator)[:share]
            windows = columns(tensors[layer.input].detach(), layer, picks)
            flat = grad.permute(0, 2, 3, 1).reshape(total, layer.groups, -1)[picks].transpose(0, 1)
            parts[layer.name].append((windows, flat))
    out = {}
    for name, pieces in parts.items():
        windows, grads = (torch.cat([p[i] for p in pieces], 1) for i in range(2))
        hessian = windows.transpose(1, 2) @ windows / windows.shape[1]
        out[name] = Statistics(hessian, grads.square().mean(1).reshape(-1), windows, grads)
    return out


def filter_errors(layer, statistics, scheme, codebook=None):
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
