"""Integer programs of the recipes, solved exactly by HiGHS (scipy.optimize.milp)."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from spec.errors import AlloyError

__all__ = ["choose"]


def choose(costs: Sequence[np.ndarray], uses: Sequence[np.ndarray], limits: np.ndarray, what: str) -> np.ndarray:
    """One option for each item at the least total cost within all limits.

    Parameters
    ----------
    costs : list of arrays (options of item i,). uses : list of arrays (resources, options of item i). limits :
        (resources,).
    what : what is being chosen, for the error.

    Returns
    -------
    int array, the option of each item.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp       # not before: alloy check imports this file, too
    from scipy.sparse import coo_array
    sizes = [len(c) for c in costs]
    start = np.concatenate([[0], np.cumsum(sizes)])
    every = np.arange(start[-1])
    one = coo_array((np.ones(start[-1]), (np.repeat(np.arange(len(costs)), sizes), every)))
    used = coo_array(np.concatenate(uses, 1))
    # Costs of very different size confuse the solver's tolerances.
    flat = np.concatenate(costs).astype(float)
    result = milp(flat / max(flat.max(), 1e-300), integrality=np.ones(start[-1]), bounds=Bounds(0, 1),
                  options={"mip_rel_gap": 1e-6},
                  constraints=[LinearConstraint(one.tocsr(), 1, 1), LinearConstraint(used.tocsr(), -np.inf, limits)])
    if result.x is None:
        raise AlloyError(f"there is no choice of {what} within the budget of "
                         f"{', '.join(f'{v:g}' for v in np.atleast_1d(limits))}: raise it")
    return np.array([int(np.argmax(result.x[a:b])) for a, b in pairwise(start)])
