r"""How large R-hat is by chance alone, so that sound chains are not accused.

R-hat compares the means of M half chains. If all sample one distribution, with E effective draws
between them, R-hat is above one by no more than the error of these means,

    R-hat^2 - 1  ~  (M / E) chi^2_(M-1) / (M - 1),

which is 0.01 in R-hat at E = 400 and four chains. E has to be counted within the chains: the usual
effective sample size shrinks when chains disagree, and would excuse them.
"""

import numpy as np
from scipy.stats import chi2

from bayes_gmm.posterior.convergence import convergence

FALSE_ALARMS = 0.001  # of sound samples, over all the quantities that are looked at


def rhat_limit(values: np.ndarray, n_looked_at: int) -> np.ndarray:
    r"""Largest R-hat that chance explains.

    .. math:: \sqrt{1 + \frac{M}{E} \frac{q}{M - 1}}, \qquad
        P(\chi^2_{M-1} > q) = \frac{\alpha}{2 Q}

    with :math:`\alpha` = 0.001 and Q the number of quantities: the largest of 2 Q values of R-hat,
    of each quantity and of its distance from the median, stays below it in 999 samples of 1000.

    Parameters
    ----------
    values : ndarray (chain, draw, P)
    n_looked_at : int
        Q, of which these may be a part.

    Returns
    -------
    ndarray (P,)
        Infinite where a quantity is constant within every chain.

    References
    ----------
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

    Parameters
    ----------
    values : ndarray (chain, draw, P)
    rhat : ndarray (P,)
    threshold : float

    Returns
    -------
    ndarray (P,)
        The limit that is exceeded; nan where none is.
    """
    exceeded = np.full(len(rhat), np.nan)
    suspects = np.flatnonzero(np.nan_to_num(rhat, nan=0.0) > threshold)
    if suspects.size:
        limits = np.maximum(threshold, rhat_limit(values[..., suspects], len(rhat)))
        # A quantity that stands still in every chain, each at another value, has no error.
        limits = np.where(np.isinf(rhat[suspects]) | np.isinf(limits), threshold, limits)
        exceeded[suspects] = np.where(rhat[suspects] > limits, limits, np.nan)
    return exceeded
