"""The specification of the pass: readable NumPy, composed from the book.

A kernel takes a block of rows in the user's units, brings it to the coordinates of the
log-quadratic functions, (x - origin) / scale, and returns the sufficient statistics there. Every
other kernel has this signature, and a test holds it to this one.
"""

import numpy as np

from bayes_gmm.model.parameters import LogQuadratic
from bayes_gmm.model.statistics import SufficientStatistics, from_log_quadratic


def accumulate(
    x: np.ndarray,
    origin: np.ndarray,
    scale: np.ndarray,
    log_quadratic: LogQuadratic,
    weights: np.ndarray | None = None,
) -> SufficientStatistics:
    """Expected sufficient statistics of a block of rows.

    Parameters
    ----------
    x : ndarray (N, D)
        Rows in the user's units.
    origin, scale : ndarray (D,)
        The coordinates of the pass are (x - origin) / scale.
    log_quadratic : LogQuadratic
        In those coordinates.
    weights : ndarray (N,), optional
        How often each row counts; once by default.

    Returns
    -------
    SufficientStatistics
    """
    return from_log_quadratic((x - origin) / scale, log_quadratic, weights)
