r"""The distributions that PyMC lacks in batched form: densities and draws.

    Sigma_k ~ InverseWishart(nu_k, Psi_k)        mu_k | Sigma_k ~ N(m_k, Sigma_k / kappa_k)

All densities are written with the whitener W of the covariance, W'W = Sigma^-1, for all
components at once.
"""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pymc.distributions.shape_utils import rv_size_is_none
from pytensor.tensor.variable import TensorVariable

from bayes_gmm.inference.pymc.pytensor_op import covariance, diagonal, product, whitener
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
    chi_squares = pm.ChiSquared.dist(degrees, size=(*batch, n_features))
    normals = pm.Normal.dist(0.0, 1.0, size=(*batch, n_features, n_features))
    triangle = pt.tril(normals, -1) + np.eye(n_features) * pt.sqrt(chi_squares)[..., None]
    return covariance(product(triangle, whitener(scale)))
