r"""Densities and draws, in PyTensor, of the covariances under the families that are not conjugate.

They are the densities of `IndependentPrior` and `HierarchicalPrior`, written with the whitener W,
W'W = Sigma^-1, for all components at once.
"""

from typing import Any

import numpy as np
import pymc as pm
import pytensor.tensor as pt
from pytensor.tensor.variable import TensorVariable

from bayes_gmm.inference.pymc.distributions import log_multivariate_gamma
from bayes_gmm.inference.pymc.pytensor_op import diagonal, product, whitener
from bayes_gmm.model.normal import LOG_2PI

LOG_2 = float(np.log(2))
LOG_PI = float(np.log(np.pi))


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
    root = pt.linalg.cholesky(scale) @ _triangle(q, (), n_features)
    triangles = _triangle(nu[:, None], (nu.shape[0],), n_features)
    inverse = pt.linalg.solve_triangular(
        triangles, pt.broadcast_to(pt.eye(n_features), triangles.shape), lower=True, b_ndim=2
    )
    factor = product(pt.broadcast_to(root, triangles.shape), inverse.mT)
    return product(factor, factor.mT)


def _triangle(degrees: TensorVariable, batch: tuple, n_features: int) -> TensorVariable:
    """Lower triangular T with T T' ~ Wishart(degrees, I)."""
    chi_squares = pm.ChiSquared.dist(degrees - np.arange(n_features), size=(*batch, n_features))
    normals = pm.Normal.dist(0.0, 1.0, size=(*batch, n_features, n_features))
    return pt.tril(normals, -1) + np.eye(n_features) * pt.sqrt(chi_squares)[..., None]
