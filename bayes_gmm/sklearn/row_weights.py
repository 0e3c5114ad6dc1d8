"""The scale of row weights, which a likelihood does not have and a prior does.

A maximum of sum_n w_n log p(x_n) stays where it is if every weight is multiplied by the same
number. But a search says what an empty component is, what a start holds, and when EM has converged
in rows and in nats, so that it needs weights of a known scale. Under a prior the scale is part of
the model: the sum of the weights says how many rows there are against it.
"""

import numpy as np

from bayes_gmm.errors import InputError

MOST_UNITS = 12  # of which the smallest weight may consist
LARGEST_COUNT = 1e6
ROUNDING = 1e-6  # how far from a whole number a weight in these units may be


def scale_free(weights: np.ndarray) -> np.ndarray:
    """Give weights a scale that depends on their ratios alone.

    Parameters
    ----------
    weights : ndarray (N,)
        Non-negative.

    Returns
    -------
    ndarray (N,)
        The smallest whole numbers in these ratios, so that counts of repeated rows stay counts; if
        there are none, weights whose mean is one over the rows that count.
    """
    counted = weights > 0
    if not counted.any():
        return weights
    relative = weights / weights[counted].min()
    if relative.max() <= LARGEST_COUNT / MOST_UNITS:
        for units in range(1, MOST_UNITS + 1):
            counts = np.rint(units * relative)
            if np.abs(units * relative - counts).max() < ROUNDING:
                return counts
    share = weights / weights.max()  # whose sum neither overflows nor underflows
    return share * (np.count_nonzero(counted) / share.sum())


def enough(weights: np.ndarray) -> np.ndarray:
    """Check that weights under a prior add up to two rows at least.

    Parameters
    ----------
    weights : ndarray (N,)

    Returns
    -------
    ndarray (N,)
        The same.

    Raises
    ------
    InputError
        If they don't.
    """
    total = weights.sum()
    if total < 2:
        raise InputError(
            f"sample_weight sums to {total:g}, which under a prior is the number of rows: multiply "
            f"it so that it sums to {np.count_nonzero(weights)}, or to at least 2"
        )
    return weights
