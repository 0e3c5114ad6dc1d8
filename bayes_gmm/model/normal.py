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

    covariance (..., D, D) -> (..., D, D). An InputError calls them `name` if one has none.
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

    factors (K, D, D) -> (K, D, D).
    """
    return np.stack([dtrtri(factor, lower=1)[0] for factor in factors])


def log_density(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> np.ndarray:
    r"""Log density of the multivariate normal, log N(x; mu, Sigma).

    .. math:: \log N(x; \mu, \Sigma) = -\tfrac{D}{2} \log 2\pi - \log|L|
        - \tfrac12 \lVert L^{-1}(x - \mu) \rVert^2, \qquad \Sigma = L L^\top

    x (N, D), mean (D,), covariance (D, D) -> (N,). Bishop (2006), Pattern Recognition and Machine
    Learning, eq. 2.43.
    """
    factor = cholesky(covariance)
    whitened = solve_triangular(factor, (x - mean).T, lower=True)
    half_log_det = np.log(np.diagonal(factor)).sum()
    return -0.5 * (len(mean) * LOG_2PI + (whitened**2).sum(axis=0)) - half_log_det


def sample(
    mean: np.ndarray, covariance: np.ndarray, n: int, rng: np.random.Generator
) -> np.ndarray:
    """Draws from the multivariate normal, x = mu + L e with e ~ N(0, I).

    mean (D,), covariance (D, D) -> (n, D).
    """
    return mean + rng.standard_normal((n, len(mean))) @ cholesky(covariance).T


def maximum_likelihood(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    r"""Maximum-likelihood estimate of one normal: the sample mean and the 1/N sample covariance.

    .. math:: \hat\mu = \frac1N \sum_n x_n, \qquad
        \hat\Sigma = \frac1N \sum_n (x_n - \hat\mu)(x_n - \hat\mu)^\top

    x (N, D) -> mean (D,), covariance (D, D). Bishop (2006), eqs. 2.121 and 2.122.
    """
    mean = x.mean(axis=0)
    residual = x - mean
    return mean, residual.T @ residual / len(x)


def bartlett(degrees: float, n_features: int, rng: np.random.Generator) -> np.ndarray:
    """Draw a lower triangular T with T T' ~ Wishart(degrees, I); see `ConjugatePrior.sample`."""
    triangle = np.tril(rng.standard_normal((n_features, n_features)), -1)
    triangle[np.diag_indices(n_features)] = np.sqrt(rng.chisquare(degrees - np.arange(n_features)))
    return triangle


def wishart_root(degrees: float, whitener: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw a root R of Sigma = R R' ~ IW(degrees, Psi), from the whitener of Psi (D, D)."""
    # Precision = B'B with B = T' whitener, so x = B^-1 e has covariance Sigma.
    return np.linalg.inv(bartlett(degrees, len(whitener), rng).T @ whitener)
