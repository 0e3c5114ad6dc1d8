r"""Spurious optima: maxima of the likelihood that rest on a handful of rows.

The likelihood of a mixture with free variances is unbounded, and near its poles lie local maxima in
which a component hugs a few rows that happen to lie close together. They say nothing about the
population. A penalty that vanishes as N grows makes the estimate consistent,

    p(theta) = -1/N sum_k [ tr(S Sigma_k^-1) + log|Sigma_k| ],

with S the covariance of the data: it adds 2 S / N to the scatter of each component. If the
covariances adapt to that, a component of n rows loses about

    n/2 log| I + 2 / (N n) S Sigma^-1 |,

next to nothing at an ordinary size, and more than a chance pair of close rows can gain; a tight
cluster of many rows gains more than it loses. The loss is used to choose between optima, never to
move one: what is reported is a maximum of the objective itself.
"""

from collections.abc import Callable

import numpy as np

from bayes_gmm.inference.em import EMState

Worth = Callable[[EMState], float]


def objective(state: EMState) -> float:
    """Rank by the objective alone: a proper prior has its own penalty for vanishing variances.

    Parameters
    ----------
    state : EMState

    Returns
    -------
    float
    """
    return state.objective


def penalized(covariance: np.ndarray, n_rows: float) -> Worth:
    """Rank maximum-likelihood optima by the penalized likelihood of Chen & Tan, near its maximum.

    Parameters
    ----------
    covariance : ndarray (D, D)
        Of the data, in the coordinates of the pass.
    n_rows : float

    Returns
    -------
    callable
        EMState -> float, larger is better.

    References
    ----------
    Chen & Tan (2009), J. Multivariate Anal. 100, 1367-1383, with a_n = 1/n; Ciuperca, Ridolfi &
    Idier (2003), Scand. J. Statist. 30.
    """
    identity = np.eye(len(covariance))

    def worth(state: EMState) -> float:
        whitener = state.candidate.log_quadratic.whitener
        count = state.statistics.count
        relative = whitener @ covariance @ whitener.swapaxes(1, 2)
        added = 2 / (n_rows * np.maximum(count, np.finfo(float).tiny))
        log_dets = np.linalg.slogdet(identity + added[:, None, None] * relative)[1]
        return state.objective - float(count @ log_dets) / 2

    return worth
