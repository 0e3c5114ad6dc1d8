r"""The distributions that PyMC lacks in batched form: densities and draws.

    Sigma_k ~ InverseWishart(nu_k, Psi_k)        mu_k | Sigma_k ~ N(m_k, Sigma_k / kappa_k)

and the covariances of `IndependentPrior` and `HierarchicalPrior`. All densities are written with
the whitener W of the covariance, W'W = Sigma^-1, for all components at once.
"""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.shape_utils import rv_size_is_none
from pytensor.tensor.variable import TensorVariable

from bayes_gmm.inference.pymc.coordinates import covariance, diagonal, product, whitener
from bayes_gmm.model.normal import LOG_2PI

LOG_2 = float(np.log(2))
LOG_PI = float(np.log(np.pi))


def normal_log_density(
    value: TensorVariable, mean: TensorVariable, sigma: TensorVariable
) -> TensorVariable:
    r"""Log density of the multivariate normal, log N(x; mu, Sigma).

    .. math:: \log|W| - \tfrac12 \lVert W (x - \mu) \rVert^2 - \tfrac{D}{2} \log 2\pi

    Shapes: value, mean (..., D), sigma (..., D, D) -> (...).
    """
    w = whitener(sigma)
    whitened = (w * (value - mean)[..., None, :]).sum(axis=-1)
    return (pt.log(diagonal(w)) - 0.5 * whitened**2 - 0.5 * LOG_2PI).sum(axis=-1)


def normal_draws(mean: TensorVariable, sigma: TensorVariable, size: Any) -> TensorVariable:
    """Draws of the multivariate normal."""
    return pm.MvNormal.dist(mean, cov=sigma, size=size)


def mean_log_density(
    value: TensorVariable, mean: TensorVariable, precision: TensorVariable, sigma: TensorVariable
) -> TensorVariable:
    r"""Log density of the component means, log N(mu; m, Sigma / kappa).

    Shapes: value, mean (K, D), precision (K,), sigma (K, D, D) -> (K,).
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

    Shapes: value (K, D, D), degrees_of_freedom (K,), scale (K, D, D) -> (K,).

    Murphy (2012), Machine Learning: A Probabilistic Perspective, eq. 4.165.
    """
    n_features = scale.type.shape[-1]
    w, factor = whitener(value), pt.linalg.cholesky(scale)
    log_det = pt.log(diagonal(w)).sum(axis=-1)
    trace = (product(w, factor) ** 2).sum(axis=(-2, -1))
    log_normalizer = (
        degrees_of_freedom * pt.log(diagonal(factor)).sum(axis=-1)
        - 0.5 * degrees_of_freedom * n_features * LOG_2
        - log_multivariate_gamma(0.5 * degrees_of_freedom, n_features)
    )
    return (degrees_of_freedom + n_features + 1) * log_det - 0.5 * trace + log_normalizer


def log_multivariate_gamma(a: TensorVariable, n_features: int) -> TensorVariable:
    r"""Log of the multivariate gamma function.

    .. math:: \log\Gamma_D(a) = \tfrac{D (D - 1)}{4} \log\pi
        + \sum_{j=0}^{D-1} \log\Gamma(a - \tfrac{j}{2})

    Shapes: a (...) -> (...).
    """
    log_gammas = pt.gammaln(a[..., None] - 0.5 * np.arange(n_features)).sum(axis=-1)
    return log_gammas + n_features * (n_features - 1) / 4 * LOG_PI


def inverse_wishart_draws(
    degrees_of_freedom: TensorVariable, scale: TensorVariable, size: Any
) -> TensorVariable:
    r"""Draws of the inverse Wishart distribution by Bartlett's decomposition.

    S is lower triangular, with S_ii^2 ~ chi2(nu - D + i) for i = 1..D and S_ij ~ N(0, 1) below the
    diagonal; then S A is the whitener of the draw.

    Shapes: degrees_of_freedom (K,), scale (K, D, D) -> (K, D, D).

    Bartlett (1933), Proc. R. Soc. Edinburgh 53; Smith & Hocking (1972), Algorithm AS 53.
    """
    n_features = scale.type.shape[-1]
    batch = tuple(degrees_of_freedom.shape) if rv_size_is_none(size) else tuple(size)
    degrees = degrees_of_freedom[..., None] - n_features + 1 + np.arange(n_features)
    return covariance(product(_triangle(degrees, batch, n_features), whitener(scale)))


def _triangle(degrees: TensorVariable, batch: tuple, n_features: int) -> TensorVariable:
    """Lower triangular T, normal below the diagonal, with T_ii^2 ~ chi2(degrees_i)."""
    chi_squares = pm.ChiSquared.dist(degrees, size=(*batch, n_features))
    normals = pm.Normal.dist(0.0, 1.0, size=(*batch, n_features, n_features))
    return pt.tril(normals, -1) + np.eye(n_features) * pt.sqrt(chi_squares)[..., None]


def independent_log_density(
    value: TensorVariable, median: TensorVariable, spread: TensorVariable, eta: TensorVariable
) -> TensorVariable:
    """Log density of covariances with log-normal standard deviations and LKJ correlations.

    Shapes: value (K, D, D), median (K, D) -> (K,).

    Returned: see `IndependentPrior.log_density_of_covariances`.
    """
    n_features = median.type.shape[-1]
    log_sd = 0.5 * pt.log(diagonal(value))
    standard = (log_sd - pt.log(median)) / spread
    log_normal = -0.5 * (standard**2 + LOG_2PI) - pt.log(spread) - log_sd
    log_jacobian = n_features * log_sd + LOG_2
    log_determinant = -2 * (pt.log(diagonal(whitener(value))) + log_sd).sum(axis=-1)
    k = np.arange(1, n_features)
    most = eta + 0.5 * (n_features - 1)
    log_constant = (pt.gammaln(most) - pt.gammaln(most - 0.5 * k) - 0.5 * k * LOG_PI).sum()
    return (log_normal - log_jacobian).sum(axis=-1) + (eta - 1) * log_determinant + log_constant


def independent_draws(
    median: TensorVariable, spread: TensorVariable, eta: TensorVariable, size: Any
) -> TensorVariable:
    """Draws of covariances with log-normal standard deviations and LKJ correlations, (K, D, D).

    The correlations come by the onion method; see `independent_prior.lkj_factor`.
    """
    n_features = median.type.shape[-1]
    sd = pm.LogNormal.dist(pt.log(median), spread, size=median.shape)
    i = np.arange(1, n_features)
    batch = (median.shape[0], n_features)
    normals = pt.tril(pm.Normal.dist(0.0, 1.0, size=(*batch, n_features)), -1)
    squared = pm.Beta.dist(
        np.append(1.0, 0.5 * i),
        pt.concatenate([[1.0], eta + 0.5 * (n_features - 1 - i)]),
        size=batch,
    )
    squared *= np.arange(n_features) > 0  # the first row has nothing before it
    length = pt.sqrt((normals**2).sum(axis=-1) + (np.arange(n_features) == 0))
    before = normals * (pt.sqrt(squared) / length)[..., None]
    factor = sd[..., None] * (before + np.eye(n_features) * pt.sqrt(1 - squared)[..., None])
    return product(factor, factor.mT)


def hierarchical_log_density(
    value: TensorVariable, nu: TensorVariable, q: TensorVariable, scale: TensorVariable
) -> TensorVariable:
    """Log density of all covariances under inverse Wisharts with a common unknown scale.

    Shapes: value (K, D, D), nu (K,), scale (D, D).

    Returned: see `HierarchicalPrior.log_density_of_covariances`.
    """
    n_features = scale.type.shape[-1]
    w, factor = whitener(value), pt.linalg.cholesky(scale)
    whitened = product(w, factor)
    precision = np.eye(n_features) + product(whitened.mT, whitened).sum(axis=0)
    log_det_of_precision = 2 * pt.log(diagonal(pt.linalg.cholesky(precision))).sum()
    log_det_w = pt.log(diagonal(w)).sum(axis=-1)
    total = q + nu.sum()
    log_constant = (
        log_multivariate_gamma(0.5 * total, n_features)
        - log_multivariate_gamma(0.5 * q, n_features)
        - log_multivariate_gamma(0.5 * nu, n_features).sum()
        + nu.sum() * pt.log(diagonal(factor)).sum()
    )
    log_kernel = ((nu + n_features + 1) * log_det_w).sum() - 0.5 * total * log_det_of_precision
    return log_constant + log_kernel


def hierarchical_draws(
    nu: TensorVariable, q: TensorVariable, scale: TensorVariable, size: Any
) -> TensorVariable:
    """Draws of inverse Wisharts with a common unknown scale, (K, D, D), by Bartlett's triangles."""
    n_features = scale.type.shape[-1]
    i = np.arange(n_features)  # T T' ~ Wishart(nu, I) where T_ii^2 ~ chi2(nu - i)
    root = pt.linalg.cholesky(scale) @ _triangle(q - i, (), n_features)
    triangles = _triangle(nu[:, None] - i, (nu.shape[0],), n_features)
    inverse = pt.linalg.solve_triangular(
        triangles, pt.broadcast_to(pt.eye(n_features), triangles.shape), lower=True, b_ndim=2
    )
    factor = product(pt.broadcast_to(root, triangles.shape), inverse.mT)
    return product(factor, factor.mT)
