"""Rounding weights to the levels of their number systems: scales, nearest levels, and errors that compensate each
other.

Compensated rounding takes column after column and spreads the error over the columns still to come (Frantar et al.,
GPTQ, ICLR 2023, equations 2 and 3, after Hassibi and Stork, Optimal Brain Surgeon, 1993). This works for any set of
levels.
"""

from typing import NamedTuple

import numpy as np
import torch

from spec.systems import SYSTEMS

__all__ = ["Spread", "round_weights", "round_nearest", "rounded", "search_scales", "nearest", "level_tables",
           "level_ends"]

Tables = list[tuple[torch.Tensor, torch.Tensor]]        # of :func:`level_tables`

DAMPING = 0.01          # of the mean of the Hessian's diagonal
DEAD = 2.0 ** -10       # scale of a filter of zeros, relative to the largest, where 0 is no level
IDLE = 1e-6             # of the mean importance: what matters less has no say in a filter's range
SMALLER = 12            # further scales that are tried, for filters whose largest weights matter little
MANY = 4096             # values from which a table of the levels of all halves of whole numbers is worth making
BLOCK = 128             # columns that are rounded between two updates of the rest


def level_tables(schemes: np.ndarray, codebook: np.ndarray | None = None) -> Tables:
    """(filters, levels) of each number system among ``schemes``, as tensors."""
    return [(torch.from_numpy(np.flatnonzero(schemes == scheme)),
             torch.from_numpy(SYSTEMS[int(scheme)].levels(codebook)).float())
            for scheme in np.unique(schemes)]


def level_ends(tables: Tables, filters: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Lowest and highest level of each of the ``filters``, for the ``tables`` of :func:`level_tables`: two tensors
    (F,)."""
    low, high = torch.empty(2, filters)
    for rows, table in tables:
        low[rows], high[rows] = table[0], table[-1]
    return low, high


def nearest(values: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """The nearest of the sorted levels of ``table``; a tie goes to the larger one."""
    borders = (table[1:] + table[:-1]) / 2
    if values.numel() < MANY or (table != table.round()).any():
        return table[torch.bucketize(values, borders, right=True)]
    # Borders of whole levels are halves of whole numbers: what is below twice a value tells all, and many times faster.
    low, high = 2 * float(table[0]), 2 * float(table[-1])
    twice = (values * 2).floor_().nan_to_num_(high).clamp_(low, high)
    if high - low == 2 * len(table) - 2:        # consecutive numbers
        return twice.add_(1).mul_(0.5).floor_()
    of = table[torch.bucketize(torch.arange(low, high + 1, device=table.device) / 2, borders, right=True)]
    return of[twice.sub_(low).int()]


def search_scales(weight: torch.Tensor, schemes: np.ndarray, importance: torch.Tensor | None = None,
                  codebook: np.ndarray | None = None, steps: int = 60, unit: float | None = None) -> torch.Tensor:
    """Scale of each filter with the least error ``sum importance * (w - Q(w))^2``.

    Parameters
    ----------
    weight : (F, K). importance : (F, K) or (1, K), not negative; None: all alike.
    unit : if given, scales are this times a power of two.
    """
    scales, importance = torch.ones(len(weight)), torch.ones_like(weight) if importance is None else importance
    sizes = weight.abs().amax(1)
    least = float(sizes[sizes > 0].min()) if sizes.any() else 1.0
    for rows, table in level_tables(schemes, codebook):
        part, share = weight[rows], importance.expand_as(weight)[rows]
        matters = share > IDLE * share.mean(1, keepdim=True)
        full = (part.abs() * matters).amax(1) / table.abs().max()
        # A filter of zeros has any scale: none that takes bits of the others' multipliers.
        dead = least / float(table.abs().max()) if (table == 0).any() else DEAD * float(full.max()) or 1.0
        full = torch.where(full > 0, full, dead)
        # Squares of any weights are normal numbers then.
        best, part = torch.full_like(full, float("inf")), part / full[:, None]
        share = share / share.amax(1, keepdim=True).clamp_min(1e-30)
        factors = *np.linspace(0.25, 1.15, steps), *0.25 * np.logspace(-1.5, -0.1, SMALLER)
        candidates = [torch.full_like(full, factor) for factor in factors]
        if unit:
            power = torch.floor(torch.log2(full / unit))
            candidates = [unit * torch.exp2(power + shift) / full for shift in (-2, -1, 0, 1)]
        for scale in candidates:
            scale = scale[:, None]
            error = (share * (part - scale * nearest(part / scale, table)).square()).sum(1)
            better = error < best
            scales[rows] = torch.where(better, scale[:, 0] * full, scales[rows])
            best = torch.minimum(best, error)
    return scales


def round_nearest(weight: torch.Tensor, scale: torch.Tensor, schemes: np.ndarray,
                  codebook: np.ndarray | None = None) -> torch.Tensor:
    """Weights (F, K) on the nearest levels of filters of ``scale`` (F,)."""
    out = torch.empty_like(weight)
    for rows, table in level_tables(schemes, codebook):
        out[rows] = nearest(weight[rows] / scale[rows, None], table) * scale[rows, None]
    return out


def rounded(weight: torch.Tensor, schemes: np.ndarray, importance: torch.Tensor | None = None,
            codebook: np.ndarray | None = None, steps: int = 60) -> tuple[torch.Tensor, torch.Tensor]:
    """(scales (F,), weights (F, K) rounded to the nearest levels at these scales); arguments as for
    :func:`search_scales`."""
    scale = search_scales(weight, schemes, importance, codebook, steps)
    return scale, round_nearest(weight, scale, schemes, codebook)


class Spread(NamedTuple):
    """How the rounding error of a column of weights is spread over the columns still to come, which
    :func:`round_weights` takes in ``order``.

    order : (K,). inverse : (G, K, K), the upper Cholesky factor of the inverse Hessian in this order.
    """
    order: torch.Tensor
    inverse: torch.Tensor

    @classmethod
    def of(cls, hessian: torch.Tensor) -> "Spread":
        """For a Hessian (G, K, K). It takes the time; rounding does not."""
        diagonal = hessian.diagonal(dim1=1, dim2=2)
        order = diagonal.sum(0).argsort(descending=True)        # columns that matter most come first
        hessian = hessian[:, order][:, :, order].clone()
        idle = hessian.diagonal(dim1=1, dim2=2) <= 0
        damping = DAMPING * diagonal.mean(1).clamp_min(1e-12)
        hessian += torch.diag_embed(damping[:, None] + idle.float())
        return cls(order, torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(hessian)), upper=True))

    def scaled(self, factor: torch.Tensor) -> "Spread":
        """The spread where the column k of weights counts ``factor[k]`` times as much, (K,) or (G, K)."""
        return Spread(self.order, self.inverse / factor[..., None, self.order])


def round_weights(weight: torch.Tensor, scale: torch.Tensor, schemes: np.ndarray, spread: Spread,
                  codebook: np.ndarray | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights rounded column after column with compensation.

    Parameters
    ----------
    weight : (G, F, K) real; scale : (G, F); schemes : uint8 (G * F,); spread : :class:`Spread` of the Hessian.

    Returns
    -------
    (levels times scale, compensated weights just before each was rounded), both (G, F, K): the first is the second,
    rounded to nearest.
    """
    groups, filters, size = weight.shape
    tables, (order, inverse) = level_tables(schemes, codebook), spread
    weight = weight[:, :, order].clone()
    out, before, flat = torch.empty_like(weight), torch.empty_like(weight), scale.reshape(-1)
    for at in range(0, size, BLOCK):
        end = min(at + BLOCK, size)
        block, errors = weight[:, :, at:end].clone(), torch.zeros(groups, filters, end - at)
        for i in range(end - at):
            ratio = block[:, :, i].reshape(-1) / flat
            rounded = torch.empty_like(ratio)
            for rows, table in tables:
                rounded[rows] = nearest(ratio[rows], table)
            column = (rounded * flat).reshape(groups, filters)
            out[:, :, at + i], before[:, :, at + i] = column, block[:, :, i]
            error = (block[:, :, i] - column) / inverse[:, at + i, at + i, None]
            block[:, :, i:] -= error[:, :, None] * inverse[:, None, at + i, at + i:end]
            errors[:, :, i] = error
        weight[:, :, end:] -= errors @ inverse[:, at:end, end:]
    unsorted = order.argsort()
    return out[:, :, unsorted], before[:, :, unsorted]
