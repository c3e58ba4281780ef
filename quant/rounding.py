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

__all__ = ["Spread", "cholesky", "gram", "round_weights", "round_nearest", "rounded", "search_scales", "nearest",
           "level_tables", "level_ends"]

Tables = list[tuple[torch.Tensor, torch.Tensor]]        # of :func:`level_tables`

DAMPING = 0.01          # of the mean of the Hessian's diagonal
DEAD = 2.0 ** -10       # scale of a filter of zeros, relative to the largest, where 0 is no level
IDLE = 1e-6             # of the mean importance: what matters less has no say in a filter's range
SMALLER = 12            # further scales that are tried, for filters whose largest weights matter little
MANY = 4096             # values from which a table of the levels of all halves of whole numbers is worth making
SEEN = 640              # weights of a filter, at most, that tell which scale is the best
NEAR = 1 << 16          # values whose temporary tensors stay near the processor
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


def _halves(table):
    """The nearest of whole levels to every half of a whole number from the first level to the last: (2 * (last - first)
    + 1,). Their borders are such halves, so that what is below twice a value tells its level."""
    halves = torch.arange(2 * float(table[0]), 2 * float(table[-1]) + 1, device=table.device) / 2
    return table[torch.bucketize(halves, (table[1:] + table[:-1]) / 2, right=True)]


def nearest(values: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
    """The nearest of the sorted levels of ``table``; a tie goes to the larger one."""
    if values.numel() < MANY or (table != table.round()).any():
        return table[torch.bucketize(values, (table[1:] + table[:-1]) / 2, right=True)]
    low, high = 2 * float(table[0]), 2 * float(table[-1])
    twice = (values * 2).floor_().nan_to_num_(high).clamp_(low, high)
    if high - low == 2 * len(table) - 2:        # consecutive numbers
        return twice.add_(1).mul_(0.5).floor_()
    return _halves(table)[twice.sub_(low).int()]


class _Grid(NamedTuple):
    """The levels of many filters, to round one value of each at a time.

    low, high : (F,), twice the ends. first : (F,), where the nearest level of the half ``low / 2`` stands in
    ``halves``, those of all number systems (:func:`_halves`).
    """
    low: torch.Tensor
    high: torch.Tensor
    first: torch.Tensor
    halves: torch.Tensor

    @classmethod
    def of(cls, tables: Tables, filters: int) -> "_Grid":
        low, high = level_ends(tables, filters)
        first, halves = torch.zeros(filters), torch.zeros(0)
        for rows, table in tables:
            first[rows] = len(halves)
            halves = torch.cat([halves, _halves(table)])
        return cls(2 * low, 2 * high, first, halves)

    def nearest(self, values: torch.Tensor) -> torch.Tensor:
        """Of each filter the level nearest to its value, (F,)."""
        twice = torch.clamp((values * 2).floor_().nan_to_num_(), self.low, self.high)
        return self.halves[twice.sub_(self.low).add_(self.first).long()]


def search_scales(weight: torch.Tensor, schemes: np.ndarray, importance: torch.Tensor | None = None,
                  codebook: np.ndarray | None = None, steps: int = 60, unit: float | None = None) -> torch.Tensor:
    """Scale of each filter with the least error ``sum importance * (w - Q(w))^2``.

    Parameters
    ----------
    weight : (F, K). importance : (F, K) or (1, K), not negative; None: all alike.
    unit : if given, scales are this times a power of two.
    """
    scales, importance = torch.ones(len(weight)), torch.ones_like(weight) if importance is None else importance
    importance, size = importance.expand_as(weight), weight.shape[1]
    some, sizes = max(1, NEAR // min(size, SEEN)), weight.abs().amax(1)
    least = float(sizes[sizes > 0].min()) if sizes.any() else 1.0
    for every, table in level_tables(schemes, codebook):
        fulls = (weight[every].abs() * _matters(importance[every])).amax(1) / table.abs().max()
        # A filter of zeros has any scale: none that takes bits of the others' multipliers.
        dead = least / float(table.abs().max()) if (table == 0).any() else DEAD * float(fulls.max()) or 1.0
        fulls = torch.where(fulls > 0, fulls, dead)
        for rows, full in zip(every.split(some), fulls.split(some), strict=True):
            factors = [torch.full_like(full, factor) for factor in (
                *np.linspace(0.25, 1.15, steps), *0.25 * np.logspace(-1.5, -0.1, SMALLER))]
            if unit:
                power = torch.floor(torch.log2(full / unit))
                factors = [unit * torch.exp2(power + shift) / full for shift in (-2, -1, 0, 1)]
            share = importance[rows]
            # Squares of any weights are normal numbers then.
            part, share = weight[rows] / full[:, None], share / share.amax(1, keepdim=True).clamp_min(1e-30)
            if size > SEEN:
                part, share = _sample(part, share)
            errors = torch.stack([_error(part, share, factor[:, None], table) for factor in factors])
            scales[rows] = torch.stack(factors)[errors.argmin(0), torch.arange(len(rows))] * full
    return scales


def _sample(weight, importance):
    """Some weights of filters (F, K) and their importance, which tell of all: those that matter most, for they are
    clipped and what they are multiplied by is large, and some of the others, each of which counts for several."""
    half, square = SEEN // 2, weight.square()
    top = (importance * square.add_(square.mean(1, keepdim=True))).topk(half, sorted=False)[1]
    drawn = torch.randperm(weight.shape[1], generator=torch.Generator().manual_seed(0))[:half]
    others = torch.ones_like(weight).scatter_(1, top, 0.0)[:, drawn]
    others *= (weight.shape[1] - half) / others.sum(1, keepdim=True).clamp_min(1)
    return (torch.cat([weight.gather(1, top), weight[:, drawn]], 1),
            torch.cat([importance.gather(1, top), importance[:, drawn] * others], 1))


def _matters(importance):
    return importance > IDLE * importance.mean(1, keepdim=True)


def _error(weight, importance, scale, table):
    """``sum importance * (w - Q(w))^2`` of filters (F, K) on the levels of ``table`` times ``scale`` (F, 1): (F,)."""
    change = nearest(weight / scale, table).mul_(scale).sub_(weight)
    return change.square_().mul_(importance).sum(1)


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


def gram(columns: torch.Tensor) -> torch.Tensor:
    """Mean product of columns (G, N, K) with themselves, the Hessian of a filter that reads them: (G, K, K)."""
    # NumPy knows that such a product is symmetric, which saves half of the work.
    products = [part.T @ part for part in columns.numpy()]
    return torch.from_numpy(np.stack(products)).div_(columns.shape[1])


def cholesky(matrices: torch.Tensor) -> torch.Tensor:
    """The lower Cholesky factors of symmetric ``matrices`` (G, K, K), which are above 0: by LAPACK itself, twice as
    fast as PyTorch."""
    found = []
    for one in matrices.numpy():
        upper, fails = _lapack("potrf", one)(one.T)
        assert not fails, "matrix is not above 0"
        found.append(upper.T)
    return torch.from_numpy(np.stack(found))


def _lapack(name, like):
    from scipy.linalg import get_lapack_funcs       # not before: alloy check imports this file, and waits for it
    return get_lapack_funcs(name, (like,))


class Spread(NamedTuple):
    """How the rounding error of a column of weights is spread over the columns still to come, which
    :func:`round_weights` takes in ``order``.

    order : (K,). inverse : (G, K, K), the upper Cholesky factor of the inverse Hessian in this order. damping : (G, 1),
    what was added to the Hessian's diagonal; idle : bool (G, K), of columns that nothing is multiplied by it is more.
    """
    order: torch.Tensor
    inverse: torch.Tensor
    damping: torch.Tensor
    idle: torch.Tensor

    @classmethod
    def of(cls, hessian: torch.Tensor) -> "Spread":
        """For a Hessian (G, K, K). It takes the time; rounding does not."""
        diagonal = hessian.diagonal(dim1=1, dim2=2)
        order = diagonal.sum(0).argsort(descending=True)        # columns that matter most come first
        damping, idle = DAMPING * diagonal.mean(1, keepdim=True).clamp_min(1e-12), diagonal <= 0
        # The factor from the last column to the first: its inverse is the one that is asked for, from first to last.
        back = order.flip(0)
        hessian = hessian[:, back[:, None], back]
        hessian.diagonal(dim1=1, dim2=2).add_(damping + idle[:, back])
        factors = cholesky(hessian).numpy()
        inverse = np.stack([_lapack("trtri", one)(one.T, overwrite_c=True)[0].T for one in factors])
        return cls(order, torch.from_numpy(inverse).flip(1, 2), damping, idle)

    def error(self, weight: torch.Tensor, rounded: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
        """``c H c^T`` of the changes c from ``weight`` (G, F, K) to what :func:`round_weights` makes of it: (G, F). The
        errors that it spread are ``c`` times a Cholesky factor of the damped Hessian."""
        spread = (before - rounded)[:, :, self.order] / self.inverse.diagonal(dim1=1, dim2=2)[:, None]
        spread.masked_fill_(self.idle[:, None, self.order], 0.0)
        change = (rounded - weight).masked_fill_(self.idle[:, None], 0.0)
        return spread.square_().sum(2) - change.square_().sum(2) * self.damping


def round_weights(weight: torch.Tensor, scale: torch.Tensor, schemes: np.ndarray, spread: Spread,
                  codebook: np.ndarray | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights rounded column after column with compensation.

    Parameters
    ----------
    weight : (G, F, K) real; scale : (G, F), or (G, F, K) of each weight; schemes : uint8 (G * F,); spread :
        :class:`Spread` of the Hessian.

    Returns
    -------
    (levels times scale, compensated weights just before each was rounded), both (G, F, K): the first is the second,
    rounded to nearest.
    """
    groups, filters, size = weight.shape
    order, inverse = spread.order, spread.inverse
    grid = _Grid.of(level_tables(schemes, codebook), groups * filters)
    step = scale[:, None].expand(-1, size, -1) if scale.ndim == 2 else scale[:, :, order].transpose(1, 2)
    before = weight.transpose(1, 2)[:, order].contiguous()      # column after column: (G, K, F)
    out = torch.empty_like(before)
    for at in range(0, size, BLOCK):
        end = min(at + BLOCK, size)
        among = inverse[:, at:end, at:end].transpose(1, 2).contiguous()
        errors = torch.empty(groups, end - at, filters)
        for i in range(end - at):
            column = before[:, at + i]
            if i:
                column -= (among[:, i:i + 1, :i] @ errors[:, :i])[:, 0]
            levels = grid.nearest((column / step[:, at + i]).flatten()).reshape(groups, filters)
            torch.mul(levels, step[:, at + i], out=out[:, at + i])
            torch.div(column - out[:, at + i], among[:, i, i:i + 1], out=errors[:, i])
        before[:, end:] -= inverse[:, at:end, end:].transpose(1, 2) @ errors
    unsorted = order.argsort()
    return out[:, unsorted].transpose(1, 2), before[:, unsorted].transpose(1, 2)
