"""The specification of the pass: readable NumPy, composed from the book.

A kernel takes a block of rows in the user's units, brings it to the coordinates of the
log-quadratic functions, (x - origin) / scale, and returns the sufficient statistics there. Every
other kernel has this signature, and a test holds it to this one.
"""

from functools import reduce
from operator import add

import numpy as np

from bayes_gmm.model.missing import completed, marginal
from bayes_gmm.model.parameters import LogQuadratic
from bayes_gmm.model.statistics import SufficientStatistics, from_log_quadratic


def accumulate(
    x: np.ndarray,
    origin: np.ndarray,
    scale: np.ndarray,
    log_quadratic: LogQuadratic,
    weights: np.ndarray | None = None,
) -> SufficientStatistics:
    """Expected sufficient statistics of rows (N, D) in the user's units, nan where missing."""
    rows = (x - origin) / scale
    times = np.ones(len(rows)) if weights is None else weights
    statistics = []
    for observed in np.unique(~np.isnan(rows), axis=0):
        own = (np.isnan(rows) != observed).all(axis=1)
        part = rows[np.ix_(own, observed)]
        seen = from_log_quadratic(part, marginal(log_quadratic, observed), times[own])
        statistics.append(completed(seen, log_quadratic, observed))
    return reduce(add, statistics)
