r"""The log density of a prior, part by part, so that it can be seen which part says what.

    log p(theta) = log p(phi) + sum_k log p(mu_k | Sigma_k) + log p(Sigma_1..K)

Each part is a density of the parameters themselves, of weights, means and covariances.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

ArrayOrNumber = np.ndarray | float


class LogPrior(NamedTuple):
    """Log prior densities of one mixture, or of many.

    Attributes
    ----------
    weights : ndarray (...)
    means : ndarray (..., K)
        Given the covariances.
    covariances : ndarray (..., K)
        Or (...), where the prior of one covariance depends on the others.
    """

    weights: ArrayOrNumber
    means: ArrayOrNumber
    covariances: ArrayOrNumber

    @property
    def total(self) -> np.ndarray:
        """The sum of all parts, (...)."""
        shape = np.shape(self.weights)
        return np.sum([np.reshape(part, (*shape, -1)).sum(axis=-1) for part in self], axis=0)


def log_dirichlet(concentration: np.ndarray) -> float:
    """Log of the constant of a Dirichlet density."""
    return float(gammaln(concentration.sum()) - gammaln(concentration).sum())


def log_powers(weights: np.ndarray, concentration: np.ndarray) -> np.ndarray:
    """Log of prod_k phi_k^(alpha_k - 1), the Dirichlet density but for its constant, (...).

    alpha = 1 makes no statement about a weight, not even about one that is zero.
    """
    excess = concentration - 1
    with np.errstate(divide="ignore"):
        log_weights = np.where(excess == 0, 0.0, np.log(weights))
    return (excess * log_weights).sum(axis=-1)
