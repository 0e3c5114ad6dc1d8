r"""How far the data are from replicates of them, over one statistic and over all of them at once.

A statistic's deviation is measured in its own spread among the replicates, separately above and
below their median since few statistics are symmetric:

    d = (T - median) / (q84 - median) above,   (median - T) / (median - q16) below.

The largest d over all statistics has a distribution among the replicates, whatever the number of
statistics and however they hang together. Against it each statistic's p-value is adjusted, so that
the smallest one is the p-value of the data as a whole (the directional quantile envelope test).

References
----------
Myllymaki et al. (2017), Global envelope tests for spatial processes, JRSS B 79.
"""

import numpy as np

UPPER, LOWER = 0.8413, 0.1587  # one standard deviation to each side of a normal distribution


def p_values(replicated: np.ndarray, observed: np.ndarray, upper_only: np.ndarray) -> np.ndarray:
    """Posterior predictive p-values, one statistic at a time.

    Parameters
    ----------
    replicated : ndarray (S, M)
    observed : ndarray (M,)
    upper_only : ndarray of bool (M,)
        Statistics that only surprise when they are large; for the others p is two-sided.

    Returns
    -------
    ndarray (M,)
        At least 1 / (S + 1): the data count as one more replicate.
    """
    n = len(replicated) + 1
    above = (1 + (replicated >= observed).sum(axis=0)) / n
    below = (1 + (replicated <= observed).sum(axis=0)) / n
    return np.where(upper_only, above, np.minimum(1, 2 * np.minimum(above, below)))


def adjusted_p_values(
    replicated: np.ndarray, observed: np.ndarray, upper_only: np.ndarray
) -> np.ndarray:
    """P-values that hold for all statistics jointly.

    Parameters
    ----------
    replicated, observed, upper_only
        As in `p_values`.

    Returns
    -------
    ndarray (M,)
        How often the largest deviation of a data set is as large as that of this statistic.
    """
    # The data count as one more replicate, so that the test is exact where they are one.
    together = deviations(np.vstack([replicated, observed]), upper_only)
    largest = together.max(axis=1)
    return (largest[:, None] >= together[-1]).sum(axis=0) / len(together)


def deviations(values: np.ndarray, upper_only: np.ndarray) -> np.ndarray:
    """Distance of every row from the median of all rows, in units of their spread on that side.

    Parameters
    ----------
    values : ndarray (R, M)
    upper_only : ndarray of bool (M,)
        Statistics whose small values are no deviation.

    Returns
    -------
    ndarray (R, M)
        Infinite where nearly all rows agree on one value and this one differs.
    """
    lower, middle, upper = np.quantile(values, (LOWER, 0.5, UPPER), axis=0)
    difference = values - middle
    spread = np.where(difference > 0, upper - middle, middle - lower)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(difference == 0, 0.0, np.abs(difference) / spread)
    return np.where(upper_only & (difference < 0), 0.0, distance)
