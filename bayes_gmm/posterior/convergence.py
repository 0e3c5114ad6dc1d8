r"""R-hat and effective sample size of many scalars at once, whatever their units.

    R-hat^2 = (W (n - 1)/n + B/n) / W       between-chain (B) against within-chain (W) variance

The rank-normalized split R-hat and the bulk and tail ESS of Vehtari et al. (2021), computed by
ArviZ on values that are first standardized: ArviZ takes a spread below 1e-15 for a constant,
which the covariance of a small unit is not.

R-hat compares the means of M half chains. If all sample one distribution, with E effective draws
between them, R-hat is above one by no more than the error of these means,

    R-hat^2 - 1  ~  (M / E) chi^2_(M-1) / (M - 1),

which is 0.01 in R-hat at E = 400 and four chains. E has to be counted within the chains: the usual
effective sample size shrinks when chains disagree, and would excuse them.
"""

from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from scipy.stats import chi2

FEWEST_DRAWS = 8  # two split halves of a chain need four draws each
TAILS = (0.05, 0.95)


FALSE_ALARMS = 0.001  # of sound samples, over all the quantities that are looked at


class Convergence(NamedTuple):
    """Diagnostics of P scalars; nan of constants, of too few draws, and where not asked for."""

    rhat: np.ndarray  # rhat, ess_bulk, ess_tail: (P,)
    ess_bulk: np.ndarray
    ess_tail: np.ndarray


def convergence(values: np.ndarray, measures: Collection[str] = Convergence._fields) -> Convergence:
    """Compute R-hat and effective sample sizes of draws.

    One chain is compared with itself, first half against second half. Measures that are not asked
    for are left out, which saves their time.

    Shapes: values (chain, draw, P).
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


def frequencies(counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the numbers 1, 2, ... among draws, and their Monte Carlo standard errors.

    Each is the mean of an indicator, whose variance is divided by its effective sample size. The
    error of a number that all draws have, or none, is not known.

    Shapes: counts (chain, draw) -> (M,), (M,).
    """
    drawn = (counts[..., None] == np.arange(1, counts.max() + 1)).astype(float)
    share = drawn.mean(axis=(0, 1))
    effective = convergence(drawn, ["ess_bulk"]).ess_bulk
    return share, np.sqrt(share * (1 - share) / effective)


def rhat_limit(values: np.ndarray, n_looked_at: int) -> np.ndarray:
    r"""Largest R-hat that chance explains.

    .. math:: \sqrt{1 + \frac{M}{E} \frac{q}{M - 1}}, \qquad
        P(\chi^2_{M-1} > q) = \frac{\alpha}{2 Q}

    with :math:`\alpha` = 0.001 and Q the number of quantities: the largest of 2 Q values of R-hat,
    of each quantity and of its distance from the median, stays below it in 999 samples of 1000.

    Infinite where a quantity is constant within every chain.

    Shapes: values (chain, draw, P) -> (P,).

    Vehtari et al. (2021), Bayesian Analysis 16, sec. 4; Gelman & Rubin (1992), Statist. Sci. 7.
    """
    within = np.stack([convergence(chain[None], ["ess_bulk"]).ess_bulk for chain in values])
    effective = np.nansum(within, axis=0)
    n_halves = max(2 * len(values), 4)  # one chain is cut into two, and these into halves
    quantile = chi2.isf(FALSE_ALARMS / (2 * n_looked_at), n_halves - 1)
    with np.errstate(divide="ignore"):
        return np.sqrt(1 + n_halves / effective * quantile / (n_halves - 1))


def too_large(values: np.ndarray, rhat: np.ndarray, threshold: float) -> np.ndarray:
    """Find quantities whose R-hat exceeds a threshold, and what chance explains.

    What is returned is the limit that is exceeded; nan where none is.

    Shapes: values (chain, draw, P), rhat (P,) -> (P,).
    """
    exceeded = np.full(len(rhat), np.nan)
    suspects = np.flatnonzero(np.nan_to_num(rhat, nan=0.0) > threshold)
    if suspects.size:
        limits = np.maximum(threshold, rhat_limit(values[..., suspects], len(rhat)))
        # A quantity that is constant in every chain, at different values, has no error.
        limits = np.where(np.isinf(rhat[suspects]) | np.isinf(limits), threshold, limits)
        exceeded[suspects] = np.where(rhat[suspects] > limits, limits, np.nan)
    return exceeded
