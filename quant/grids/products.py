"""Products of a map and a number for each of its channels (squeeze-and-excite): the engine's weight and shift for what
the source computes with a real multiplier."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from math import floor, log2

import numpy as np

from spec.numerics import round_shift
from spec.operators.lookup import CODES, Lookup
from spec.operators.scaling import SHIFT, WEIGHT, Scaling

from .draft import Draft, Key
from .emit import Finding, codes_tensor, finding_of
from .values import Codes, Grid

__all__ = ["scaled"]

NONE = np.zeros(0, np.uint8)
WIDE = 1.5          # from the real multiplier to one that the engine has, at most


@dataclass(frozen=True, eq=False)
class _Choice:
    """``weight`` and ``shift`` of a :class:`Scaling`, and the tables that take the rest of the multiplier: of the codes
    of the factor, or of those that it makes. ``codes``: what comes of each code of the map and of the factor."""
    weight: int
    shift: int
    codes: np.ndarray
    factor: np.ndarray = field(default_factory=lambda: NONE)
    table: np.ndarray = field(default_factory=lambda: NONE)


def scaled(draft: Draft[Key], x: Codes, factor: Codes, right: np.ndarray, grid: Grid, name: str, where: str,
           root: tuple[Codes, np.ndarray] | None = None) -> Codes:
    """Append what multiplies each channel of ``x`` by its number in ``factor``, (C, 1, 1), as near to ``right`` as can
    be: the code of ``grid`` for each code of ``x`` and of ``factor``.

    ``root``: the tensor that ``factor`` is a function of, and its code for each code of that, if there is one.
    """
    choices = list(_choices(x.grid, factor.grid, grid, right))
    off = [np.abs(one.codes - right) for one in choices]
    best = min(range(len(choices)), key=lambda at: (off[at].max(), (off[at] > 0).mean()))
    choice, apart = choices[best], off[best]
    name, read = draft.unique(name), factor.name
    if choice.factor.size:
        source, values = root or (factor, np.arange(len(choice.factor)))
        read, table = draft.unique(f"{name}_factor"), np.zeros(CODES, np.uint8)
        table[:len(values)] = choice.factor[values]
        # The file has the factor itself in its place; what comes of that is said of the product.
        finding = Finding(where, 0.0, 0, f"{where} has a factor that takes a part of its scale", read,
                          lambda network, codes, change=0.0: values[codes])
        draft.append(Lookup(name=read, input=source.name, output=read, table=table),
                     codes_tensor(read, factor.shape, Grid(factor.grid.scale, factor.grid.origin, 0, CODES - 1)),
                     finding)
    node = Scaling(name=name, input=x.name, factor=read, output=name, weight=choice.weight, shift=choice.shift,
                   lo=0 if choice.table.size else int(right.min()),
                   hi=CODES - 1 if choice.table.size else int(right.max()), table=choice.table)
    draft.append(node, codes_tensor(name, x.shape, grid), finding_of(
        where, name, float((apart > 0).mean()), int(apart.max()),
        source=lambda network, codes, numbers, change=0.0: right[codes, numbers]))
    return Codes(name, grid, x.shape)


def _choices(x: Grid, factor: Grid, grid: Grid, right: np.ndarray) -> Iterator[_Choice]:
    """Everything that may be the nearest."""
    ratio = x.scale * factor.scale / grid.scale
    least, most = int(right.min()), int(right.max())
    map_codes, numbers = (np.arange(count) - one.origin for count, one in zip(right.shape, (x, factor), strict=True))
    for weight, more in product(range(1, WEIGHT + 1), (0, 1)):
        shift = floor(log2(weight / ratio)) + more
        rest = ratio * 2.0 ** shift / weight
        if not 1 <= shift <= SHIFT or not 1 / WIDE <= rest <= WIDE:
            continue
        def multiplied(factors, weight=weight, shift=shift):
            return round_shift(weight * map_codes[:, None] * factors, shift) + grid.origin
        if rest >= 1:       # codes of larger steps, which a table makes finer
            table = np.clip(np.round((np.arange(CODES) - grid.origin) * rest) + grid.origin, least, most)
            table = table.astype(np.uint8)
            yield _Choice(weight, shift, table.astype(np.int64)[np.clip(multiplied(numbers), 0, CODES - 1)],
                          table=table)
        if rest <= 1:       # the factor takes the rest
            changed = np.clip(np.round(numbers * rest) + factor.origin, 0, CODES - 1).astype(np.uint8)
            made = multiplied(changed.astype(np.int64) - factor.origin)
            yield _Choice(weight, shift, np.clip(made, least, most), factor=changed)
