r"""The two distributions that PyMC lacks in batched form, and the coordinates of their values.

    Sigma_k ~ InverseWishart(nu_k, Psi_k)        mu_k | Sigma_k ~ N(m_k, Sigma_k / kappa_k)

Both densities are written with the whitener W of the covariance, W'W = Sigma^-1, for all
components at once. The coordinates in which values are sampled are free and have no units: those
of Sigma are the entries of Bartlett's triangle S, W = S A with A the whitener of Psi, and those of
mu count standard deviations of the data.
"""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.shape_utils import rv_size_is_none
from pymc.logprob.transforms import Transform
from pytensor.tensor.variable import TensorVariable

from bayes_gmm.inference.pytensor_op import covariance, product, whitener
from bayes_gmm.model.normal import LOG_2PI

LOG_2 = float(np.log(2))
LOG_PI = float(np.log(np.pi))


def normal_log_density(
    value: TensorVariable, mean: TensorVariable, sigma: TensorVariable
) -> TensorVariable:
    r"""Log density of the multivariate normal, log N(x; mu, Sigma).

    .. math:: \log|W| - \tfrac12 \lVert W (x - \mu) \rVert^2 - \tfrac{D}{2} \log 2\pi

    Parameters
    ----------
    value, mean : TensorVariable (..., D)
    sigma : TensorVariable (..., D, D)

    Returns
    -------
    TensorVariable (...)
    """
    w = whitener(sigma)
    whitened = (w * (value - mean)[..., None, :]).sum(axis=-1)
    return (pt.log(_diagonal(w)) - 0.5 * whitened**2 - 0.5 * LOG_2PI).sum(axis=-1)


def normal_draws(mean: TensorVariable, sigma: TensorVariable, size: Any) -> TensorVariable:
    """Draws of the multivariate normal."""
    return pm.MvNormal.dist(mean, cov=sigma, size=size)


def mean_log_density(
    value: TensorVariable, mean: TensorVariable, precision: TensorVariable, sigma: TensorVariable
) -> TensorVariable:
    r"""Log density of the component means, log N(mu; m, Sigma / kappa).

    Parameters
    ----------
    value, mean : TensorVariable (K, D)
    precision : TensorVariable (K,)
    sigma : TensorVariable (K, D, D)

    Returns
    -------
    TensorVariable (K,)
    """
    root = pt.sqrt(precision)[..., None]
    n_features = mean.type.shape[-1]
    in_units_of_sigma = normal_log_density(root * value, root * mean, sigma)
    return in_units_of_sigma + 0.5 * n_features * pt.log(precision)


def mean_draws(
    mean: TensorVariable, precision: TensorVariable, sigma: TensorVariable, size: Any
) -> TensorVariable:
    """Draws of the component means."""
    return pm.MvNormal.dist(mean, cov=sigma / precision[..., None, None], size=size)


def inverse_wishart_log_density(
    value: TensorVariable, degrees_of_freedom: TensorVariable, scale: TensorVariable
) -> TensorVariable:
    r"""Log density of the inverse Wishart distribution.

    .. math:: (\nu + D + 1) \log|W| - \tfrac12 \mathrm{tr}(\Psi W^\top W)
        + \tfrac{\nu}{2} \log|\Psi| - \tfrac{\nu D}{2} \log 2 - \log\Gamma_D(\tfrac{\nu}{2})

    Parameters
    ----------
    value : TensorVariable (K, D, D)
    degrees_of_freedom : TensorVariable (K,)
    scale : TensorVariable (K, D, D)

    Returns
    -------
    TensorVariable (K,)

    References
    ----------
    Murphy (2012), Machine Learning: A Probabilistic Perspective, eq. 4.165.
    """
    n_features = scale.type.shape[-1]
    w, factor = whitener(value), pt.linalg.cholesky(scale)
    log_det = pt.log(_diagonal(w)).sum(axis=-1)
    trace = (product(w, factor) ** 2).sum(axis=(-2, -1))
    halves = 0.5 * (degrees_of_freedom[..., None] - np.arange(n_features))
    log_gamma = pt.gammaln(halves).sum(axis=-1) + n_features * (n_features - 1) / 4 * LOG_PI
    log_normalizer = (
        degrees_of_freedom * pt.log(_diagonal(factor)).sum(axis=-1)
        - 0.5 * degrees_of_freedom * n_features * LOG_2
        - log_gamma
    )
    return (degrees_of_freedom + n_features + 1) * log_det - 0.5 * trace + log_normalizer


def inverse_wishart_draws(
    degrees_of_freedom: TensorVariable, scale: TensorVariable, size: Any
) -> TensorVariable:
    r"""Draws of the inverse Wishart distribution by Bartlett's decomposition.

    S is lower triangular, with S_ii^2 ~ chi2(nu - D + i) for i = 1..D and S_ij ~ N(0, 1) below the
    diagonal; then S A is the whitener of the draw.

    Parameters
    ----------
    degrees_of_freedom : TensorVariable (K,)
    scale : TensorVariable (K, D, D)
    size : None or tuple

    Returns
    -------
    TensorVariable (K, D, D)

    References
    ----------
    Bartlett (1933), Proc. R. Soc. Edinburgh 53; Smith & Hocking (1972), Algorithm AS 53.
    """
    n_features = scale.type.shape[-1]
    batch = tuple(degrees_of_freedom.shape) if rv_size_is_none(size) else tuple(size)
    degrees = degrees_of_freedom[..., None] - n_features + 1 + np.arange(n_features)
    chi_squares = pm.ChiSquared.dist(degrees, size=(*batch, n_features))
    normals = pm.Normal.dist(0.0, 1.0, size=(*batch, n_features, n_features))
    triangle = pt.tril(normals, -1) + np.eye(n_features) * pt.sqrt(chi_squares)[..., None]
    return covariance(product(triangle, whitener(scale)))


class BartlettCoordinates(Transform):
    r"""Free coordinates of covariances: log S_ii, then S_ij below the diagonal, row by row.

    Under the prior they are independent, and S_ij is standard normal. The Jacobian of the chain
    coordinates -> S -> W = S A -> W'W -> Sigma is a product of powers of diagonals:

    .. math:: \left|\frac{\partial\Sigma}{\partial u}\right| = 2^D \prod_{i=1}^D
        S_{ii} \, A_{ii}^{D - i + 1} \, W_{ii}^{i - 2 (D + 1)}

    Parameters
    ----------
    scale_whitener : ndarray (K, D, D)
        A, lower triangular with A'A = Psi^-1.
    """

    name = "bartlett"
    ndim_supp = 2

    def __init__(self, scale_whitener: np.ndarray):
        self.scale_whitener = scale_whitener
        self.n_features = scale_whitener.shape[-1]
        self.below = np.tril_indices(self.n_features, -1)

    def forward(self, value: TensorVariable, *inputs: Any) -> TensorVariable:
        """Covariances (K, D, D) to free coordinates (K, D (D + 1) / 2)."""
        triangle = product(whitener(value), pt.as_tensor(np.linalg.inv(self.scale_whitener)))
        diagonal = pt.log(pt.diagonal(triangle, axis1=-2, axis2=-1))
        return pt.concatenate([diagonal, triangle[..., *self.below]], axis=-1)

    def backward(self, value: TensorVariable, *inputs: Any) -> TensorVariable:
        """Free coordinates (K, D (D + 1) / 2) to covariances (K, D, D)."""
        n_features, n_below = self.n_features, len(self.below[0])
        diagonal, entries = value[..., :n_features], value[..., n_features:]
        triangle = np.eye(n_features) * pt.exp(diagonal)[..., None]
        if n_below:
            # A sum over one-hot matrices: cheaper to compile than writing into an array.
            places = np.zeros((n_below, n_features, n_features))
            places[np.arange(n_below), *self.below] = 1
            triangle += (entries[..., None, None] * places).sum(axis=-3)
        return covariance(product(triangle, pt.as_tensor(self.scale_whitener)))

    def log_jac_det(self, value: TensorVariable, *inputs: Any) -> TensorVariable:
        """Log Jacobian determinant of `backward`, (K,)."""
        n_features = self.n_features
        row = np.arange(1, n_features + 1)
        power = row - 2 * (n_features + 1)
        log_scale = np.log(np.einsum("kii->ki", self.scale_whitener))
        constant = n_features * LOG_2 + log_scale @ (n_features - row + 1 + power)
        return constant + (value[..., :n_features] * (power + 1)).sum(axis=-1)


class Standardized(Transform):
    """Free coordinates of means: (mu - origin) / scale.

    Parameters
    ----------
    origin, scale : ndarray (D,)
    """

    name = "standardized"
    ndim_supp = 1

    def __init__(self, origin: np.ndarray, scale: np.ndarray):
        self.origin, self.scale = origin, scale

    def forward(self, value: TensorVariable, *inputs: Any) -> TensorVariable:
        """Means (K, D) to free coordinates (K, D)."""
        return (value - self.origin) / self.scale

    def backward(self, value: TensorVariable, *inputs: Any) -> TensorVariable:
        """Free coordinates (K, D) to means (K, D)."""
        return self.origin + self.scale * value

    def log_jac_det(self, value: TensorVariable, *inputs: Any) -> TensorVariable:
        """Log Jacobian determinant of `backward`, (K,)."""
        return pt.zeros(value.shape[:-1]) + np.log(self.scale).sum()


def _diagonal(triangle: TensorVariable) -> TensorVariable:
    """Diagonal of lower triangular matrices; unlike a view, its gradient needs no assignment."""
    return (triangle * pt.eye(triangle.shape[-1])).sum(axis=-1)
