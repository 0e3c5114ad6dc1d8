r"""The multivariate normal distribution: density, sampling and maximum likelihood.

Everything is read off the Cholesky factor L of the covariance, Sigma = L L'. With the whitened
residual w = L^-1 (x - mu),

    log N(x; mu, Sigma) = -D/2 log 2 pi - log|L| - 1/2 w'w,

and x = mu + L e is a draw when e ~ N(0, I). No inverse and no determinant is ever formed.
"""

import numpy as np
from scipy.linalg import solve_triangular
from scipy.linalg.lapack import dtrtri

from bayes_gmm.errors import InputError

LOG_2PI = float(np.log(2 * np.pi))


def cholesky(covariance: np.ndarray, name: str = "covariance") -> np.ndarray:
    """Lower Cholesky factor L of a covariance matrix, Sigma = L L', or of each in a stack.

    Parameters
    ----------
    covariance : ndarray (..., D, D)
        Symmetric positive-definite matrices.
    name : str
        What to call the matrices if one has no factor.

    Returns
    -------
    ndarray (..., D, D)
        Lower triangular, with a positive diagonal.

    Raises
    ------
    InputError
        If a matrix is not positive definite.
    """
    variances = np.einsum("...ii->...i", covariance)
    # Factoring the correlation matrix makes the answer independent of the units of each column.
    scale = np.sqrt(np.where(variances > 0, variances, 1.0))
    correlation = covariance / (scale[..., :, None] * scale[..., None, :])
    try:
        return scale[..., :, None] * np.linalg.cholesky(correlation)
    except np.linalg.LinAlgError:
        raise InputError(
            f"{name}{_first_without_factor(correlation)} is not positive definite; check that it "
            "is a covariance matrix and that no feature is a linear combination of the others"
        ) from None


def _first_without_factor(matrices: np.ndarray) -> str:
    """Return the place in a stack of the first matrix that has no factor, as [k], or nothing."""
    for place in np.ndindex(matrices.shape[:-2]):
        try:
            np.linalg.cholesky(matrices[place])
        except np.linalg.LinAlgError:
            return "".join(f"[{index}]" for index in place)
    return ""


def inverse_factors(factors: np.ndarray) -> np.ndarray:
    """Inverses of lower triangular factors, which whiten the residual: L^-1 (x - mu) ~ N(0, I).

    Parameters
    ----------
    factors : ndarray (K, D, D)
        Lower triangular.

    Returns
    -------
    ndarray (K, D, D)
        Lower triangular.
    """
    return np.stack([dtrtri(factor, lower=1)[0] for factor in factors])


def log_density(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    r"""Log density of the multivariate normal, log N(x; mu, Sigma).

    .. math:: \log N(x; \mu, \Sigma) = -\tfrac{D}{2} \log 2\pi - \log|L|
        - \tfrac12 \lVert L^{-1}(x - \mu) \rVert^2, \qquad \Sigma = L L^\top

    Parameters
    ----------
    x : ndarray (N, D)
        Rows to evaluate.
    mean : ndarray (D,)
    covariance : ndarray (D, D)

    Returns
    -------
    ndarray (N,)
        One log density per row; its unit is nats, relative to the units of x.

    References
    ----------
    Bishop (2006), Pattern Recognition and Machine Learning, eq. 2.43.

    Examples
    --------
    >>> import numpy as np
    >>> log_density(np.zeros((1, 2)), np.zeros(2), np.eye(2)).round(4)
    array([-1.8379])
    """
    factor = cholesky(covariance)
    whitened = solve_triangular(factor, (x - mean).T, lower=True)
    half_log_det = np.log(np.diagonal(factor)).sum()
    return -0.5 * (len(mean) * LOG_2PI + (whitened**2).sum(axis=0)) - half_log_det


def sample(
    mean: np.ndarray, covariance: np.ndarray, n: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws from the multivariate normal, x = mu + L e with e ~ N(0, I).

    Parameters
    ----------
    mean : ndarray (D,)
    covariance : ndarray (D, D)
    n : int
        Number of draws.
    rng : numpy.random.Generator
        Source of randomness.

    Returns
    -------
    ndarray (n, D)

    Examples
    --------
    >>> import numpy as np
    >>> sample(np.zeros(2), np.eye(2), 3, np.random.default_rng(0)).shape
    (3, 2)
    """
    return mean + rng.standard_normal((n, len(mean))) @ cholesky(covariance).T


def maximum_likelihood(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Maximum-likelihood estimate of one normal: the sample mean and the 1/N sample covariance.

    .. math:: \hat\mu = \frac1N \sum_n x_n, \qquad
        \hat\Sigma = \frac1N \sum_n (x_n - \hat\mu)(x_n - \hat\mu)^\top

    Parameters
    ----------
    x : ndarray (N, D)

    Returns
    -------
    mean : ndarray (D,)
    covariance : ndarray (D, D)
        Divided by N, not N - 1: the maximum of the likelihood, not the unbiased estimate.

    References
    ----------
    Bishop (2006), eqs. 2.121 and 2.122.

    Examples
    --------
    >>> import numpy as np
    >>> maximum_likelihood(np.array([[0.0], [2.0]]))
    (array([1.]), array([[1.]]))
    """
    mean = x.mean(axis=0)
    residual = x - mean
    return mean, residual.T @ residual / len(x)
