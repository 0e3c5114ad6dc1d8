r"""R-hat and effective sample size of many scalars at once, whatever their units.

    R-hat^2 = (W (n - 1)/n + B/n) / W       between-chain (B) against within-chain (W) variance

The rank-normalized split R-hat and the bulk and tail ESS of Vehtari et al. (2021), computed by
ArviZ on values that are first standardized: ArviZ takes a spread below 1e-15 for a constant,
which the covariance of a small unit is not.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats

FEWEST_DRAWS = 8  # two split halves of a chain need four draws each
TAILS = (0.05, 0.95)


class Convergence(NamedTuple):
    """Diagnostics of P scalars; nan for a scalar that is constant, for too few draws, or unasked.

    Attributes
    ----------
    rhat, ess_bulk, ess_tail : ndarray (P,)
    """

    rhat: np.ndarray
    ess_bulk: np.ndarray
    ess_tail: np.ndarray


def convergence(values: np.ndarray, measures: Collection[str] = Convergence._fields) -> Convergence:
    """Compute R-hat and effective sample sizes of draws.

    Parameters
    ----------
    values : ndarray (chain, draw, P)
        One chain is compared with itself, first half against second half.
    measures : collection of str
        Which of them are needed; the others are left out, which saves their time.

    Returns
    -------
    Convergence
    """
    n_chains, n_draws, n_scalars = values.shape
    result = Convergence(*np.full((3, n_scalars), np.nan))
    usable = np.isfinite(values).all(axis=(0, 1)) & (values != values[0, 0]).any(axis=(0, 1))
    if n_draws < FEWEST_DRAWS or not usable.any():
        return result
    chosen = values[..., usable]
    # Probabilities may vary by so little that the square is nothing.
    sd = chosen.std(axis=(0, 1))
    standardized = (chosen - chosen.mean(axis=(0, 1))) / np.where(sd > 0, sd, 1.0)
    draws = np.moveaxis(standardized, -1, 0)
    half = n_draws // 2
    chains = draws if n_chains > 1 else draws[:, 0, : 2 * half].reshape(-1, 2, half)
    axes = {"chain_axis": 1, "draw_axis": 2}
    # Chains that are each constant, at different values, have W = 0: R-hat is rightly infinite.
    with np.errstate(divide="ignore", invalid="ignore"):
        if "rhat" in measures:
            result.rhat[usable] = array_stats.rhat(chains, **axes)
        if "ess_bulk" in measures:
            result.ess_bulk[usable] = array_stats.ess(draws, method="bulk", **axes)
        if "ess_tail" in measures:
            result.ess_tail[usable] = array_stats.ess(draws, method="tail", prob=TAILS, **axes)
    return result
