r"""The LKJ distribution of a correlation matrix: p(R) proportional to |R|^(eta - 1).

eta = 1 is uniform over all correlation matrices; the larger eta, the closer R is to the identity.
"""

import numpy as np
from scipy.special import gammaln

LOG_PI = float(np.log(np.pi))


def log_constant(eta: float, n_features: int) -> float:
    r"""Log of the constant c in p(R) = c |R|^(eta - 1).

    .. math:: \log c = \sum_{k=1}^{D-1} \log\Gamma\left(\eta + \tfrac{D-1}{2}\right)
        - \log\Gamma\left(\eta + \tfrac{D-1-k}{2}\right) - \tfrac{k}{2} \log\pi

    Parameters
    ----------
    eta : float
    n_features : int
        D.

    Returns
    -------
    float

    References
    ----------
    Lewandowski, Kurowicka & Joe (2009), J. Multivariate Anal. 100, theorem 5.
    """
    k = np.arange(1, n_features)
    most = eta + 0.5 * (n_features - 1)
    return float((gammaln(most) - gammaln(most - 0.5 * k) - 0.5 * k * LOG_PI).sum())


def sample_factor(eta: float, n_features: int, rng: np.random.Generator) -> np.ndarray:
    r"""Draw the Cholesky factor of a correlation matrix, row by row.

    A row points in a uniform direction of the rows before it, and the square of its length there
    is r_i^2 ~ Beta(i/2, eta + (D - 1 - i)/2) for i = 1..D-1; its last entry makes its length one.

    Parameters
    ----------
    eta : float
    n_features : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray (D, D)
        Lower triangular.

    References
    ----------
    Lewandowski, Kurowicka & Joe (2009), sec. 3.2, the onion method.
    """
    factor = np.tril(rng.standard_normal((n_features, n_features)), -1)
    i = np.arange(1, n_features)
    squared = np.append(0.0, rng.beta(0.5 * i, eta + 0.5 * (n_features - 1 - i)))
    factor[1:] *= np.sqrt(squared[1:] / (factor[1:] ** 2).sum(axis=1))[:, None]
    factor[np.diag_indices(n_features)] = np.sqrt(1 - squared)
    return factor
