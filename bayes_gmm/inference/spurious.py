r"""Spurious optima: maxima of the likelihood that rest on a handful of rows.

The likelihood of a mixture with free variances is unbounded, and near its poles lie local maxima
in which a component hugs a few rows that happen to lie close together. They say nothing about the
population. A penalty that vanishes as N grows,

    p(theta) = -1/N sum_k [ tr(S Sigma_k^-1) + log|Sigma_k| - log|S| - D ],

with S the covariance of the data, makes the estimate consistent; it is minute for a component of
ordinary size and large for one whose variance has all but gone. It is used to choose between
optima, never to move one: what is reported is the maximum of the objective itself.
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
    """Rank maximum-likelihood optima by the penalized likelihood of Chen & Tan.

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
    log_det = np.linalg.slogdet(covariance)[1]

    def worth(state: EMState) -> float:
        whitener = state.candidate.log_quadratic.whitener
        trace = ((whitener @ covariance) * whitener).sum(axis=(1, 2))
        log_dets = -2 * np.log(np.einsum("kii->ki", whitener)).sum(axis=1)
        excess = trace + log_dets - log_det - len(covariance)
        return state.objective - float(excess.sum()) / n_rows

    return worth
