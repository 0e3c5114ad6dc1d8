r"""The three families of covariances: any matrix, one variance per feature, or one variance.

A family is what a covariance may be; which components share it, `covariance.Structure` says. Each
has conjugate densities over its own numbers,

    log p(Sigma) = -1/2 { c log|Sigma| + tr(P Sigma^-1) } + constant,

which are inverse-Wishart for matrices and inverse-gamma for variances:

    matrices    Sigma ~ IW(c - D - 1, P)
    diagonals   s_j ~ IG(c / 2 - 1, P_jj / 2)             Sigma = diag(s_1, .., s_D)
    spheres     s ~ IG(D c / 2 - 1, tr P / 2)             Sigma = s I

and under Sigma ~ IW(nu, Psi) a variance Sigma_jj is IG((nu - D + 1) / 2, Psi_jj / 2), which is the
prior of a variance in the other two.
"""

from typing import Protocol

import numpy as np
from scipy.special import gammaln, multigammaln

from bayes_gmm.model.normal import cholesky, inverse_factors


class Family(Protocol):
    """What a family knows of its covariances.

    Attributes
    ----------
    code : int
        By which compiled code tells the families apart.
    """

    code: int

    def share(self, n_features: int) -> float:
        """One over how many variances of the conjugate prior a number of the family stands for."""

    def power(self, degrees: np.ndarray, n_features: int) -> np.ndarray:
        """Return c under the conjugate prior with so many degrees of freedom, before `share`."""

    def measure(self, n_features: int) -> float:
        """How much of c is there because the density is one of variances, and not of their logs."""

    def log_integral(self, power: float, scale: np.ndarray) -> float:
        """Log of the integral of |Sigma|^(-c/2) exp(-tr(P Sigma^-1) / 2) over the family."""

    def draw(self, power: float, scale: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw R with Sigma = R R', (D, D)."""

    def coordinates(self, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Unbounded coordinates of covariances, and the log Jacobian of the map from them.

        From lower Cholesky factors (..., D, D); arrays (..., size) and (...).
        """


class Matrices:
    """Any covariance: an inverse-Wishart density over its D (D + 1) / 2 entries."""

    code = 0

    def share(self, n_features: int) -> float:
        """One: a matrix stands for itself."""
        return 1.0

    def power(self, degrees: np.ndarray, n_features: int) -> np.ndarray:
        """Return nu + D + 1."""
        return degrees + n_features + 1

    def measure(self, n_features: int) -> float:
        """Return D + 1."""
        return n_features + 1.0

    def log_integral(self, power: float, scale: np.ndarray) -> float:
        """Return the constant of the inverse-Wishart."""
        n_features = len(scale)
        degrees = power - n_features - 1
        half_log_det = np.log(np.diagonal(cholesky(scale, "scale"))).sum()
        return float(
            0.5 * degrees * n_features * np.log(2)
            + multigammaln(0.5 * degrees, n_features)
            - degrees * half_log_det
        )

    def draw(self, power: float, scale: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw by Bartlett's decomposition: R^-1 = T' L^-1 with P = L L', see `Prior.sample`."""
        n_features = len(scale)
        triangle = np.tril(rng.standard_normal((n_features, n_features)), -1)
        degrees = power - n_features - 1 - np.arange(n_features)
        triangle[np.diag_indices(n_features)] = np.sqrt(rng.chisquare(degrees))
        (whitener,) = inverse_factors(cholesky(scale[None], "scale"))
        return np.linalg.inv(triangle.T @ whitener)

    def coordinates(self, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log diagonal of L, and what is below it.

        The derivative of L L' by the entries of L is 2^D prod_i L_ii^(D-i+1), i = 1..D, and that of
        L_ii by its logarithm is L_ii.
        """
        n_features = factors.shape[-1]
        log_diagonal = _log_diagonal(factors)
        below = factors[..., *np.tril_indices(n_features, -1)]
        powers = np.arange(n_features + 1, 1, -1)
        log_jacobian = (powers * log_diagonal).sum(axis=-1) + n_features * np.log(2)
        return np.concatenate([log_diagonal, below], axis=-1), log_jacobian


class Diagonals:
    """A variance for each feature: independent inverse-gamma densities."""

    code = 1

    def share(self, n_features: int) -> float:
        """One: a variance stands for itself."""
        return 1.0

    def power(self, degrees: np.ndarray, n_features: int) -> np.ndarray:
        """Return nu - D + 3: the variance of a feature under the inverse-Wishart."""
        return degrees - n_features + 3

    def measure(self, n_features: int) -> float:
        """Return 2."""
        return 2.0

    def log_integral(self, power: float, scale: np.ndarray) -> float:
        """Return the constants of the inverse-gammas."""
        shape = 0.5 * power - 1
        return float((gammaln(shape) - shape * np.log(0.5 * np.diagonal(scale))).sum())

    def draw(self, power: float, scale: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw each variance."""
        halves = 0.5 * np.diagonal(scale)
        return np.diag(np.sqrt(halves / rng.standard_gamma(0.5 * power - 1, len(scale))))

    def coordinates(self, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log variances."""
        log_variances = 2 * _log_diagonal(factors)
        return log_variances, log_variances.sum(axis=-1)


class Spheres:
    """One variance for all features: its density is the geometric mean of those of D variances."""

    code = 2

    def share(self, n_features: int) -> float:
        """One over D."""
        return 1 / n_features

    def power(self, degrees: np.ndarray, n_features: int) -> np.ndarray:
        """Return nu - D + 3, as for one variance."""
        return degrees - n_features + 3

    def measure(self, n_features: int) -> float:
        """Return 2 / D."""
        return 2 / n_features

    def log_integral(self, power: float, scale: np.ndarray) -> float:
        """Return the constant of the inverse-gamma."""
        shape = 0.5 * len(scale) * power - 1
        return float(gammaln(shape) - shape * np.log(0.5 * np.trace(scale)))

    def draw(self, power: float, scale: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        """Draw the variance."""
        n_features = len(scale)
        gamma = rng.standard_gamma(0.5 * n_features * power - 1)
        return np.sqrt(0.5 * np.trace(scale) / gamma) * np.eye(n_features)

    def coordinates(self, factors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The log variance."""
        log_variance = 2 * _log_diagonal(factors)[..., :1]
        return log_variance, log_variance[..., 0]


MATRICES, DIAGONALS, SPHERES = Matrices(), Diagonals(), Spheres()


def _log_diagonal(factors: np.ndarray) -> np.ndarray:
    """Logarithms of the diagonals of triangles, (..., D)."""
    return np.log(np.einsum("...ii->...i", factors))
