"""Fake quantization: codes as real values, and what training is told of them."""

import torch

from .ranges import encode_

__all__ = ["coded", "calm"]


class _Coded(torch.autograd.Function):
    """One function, for training spends much of its time here."""

    @staticmethod
    def forward(ctx, x, step, zero, top, table):
        ratio = x / step
        codes = encode_(ratio.clone(), zero)
        inside = (codes >= 0) & (codes <= top)
        codes.clamp_(0, top)
        if table is not None:
            codes = table[codes.long()]
        codes.sub_(zero)
        ctx.save_for_backward(ratio, codes, inside)
        return codes * step

    @staticmethod
    def backward(ctx, gradient):
        ratio, codes, inside = ctx.saved_tensors
        passed = gradient * inside
        return passed, (gradient * codes).sub_(passed * ratio).sum(), None, None, None


def coded(x: torch.Tensor, step: torch.Tensor, zero: int, top: int, table: torch.Tensor | None) -> torch.Tensor:
    """``(codes - zero) * step`` with the codes ``clamp(floor(x / step + 1/2) + zero, 0, top)``, replaced by
    ``table[code]`` if there is a table.

    The gradients are straight-through (Esser et al., LSQ, equations 3 and 5).
    """
    return _Coded.apply(x, step, zero, top, table)


def calm(scale: torch.Tensor, count: int | torch.Tensor) -> torch.Tensor:
    """``scale`` with its gradient divided by sqrt(count): it sums over ``count`` values (Esser et al., LSQ, ICLR 2020,
    section 2.2)."""
    factor = count ** -0.5
    return scale * factor + (scale * (1 - factor)).detach()
