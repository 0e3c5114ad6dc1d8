r"""Predictive density of a conjugate distribution: a mixture of Student t.

    p(x) = sum_k alpha_k / A  t(x; m_k, S_k, d_k),   d_k = nu_k - D + 1,   A = sum_k alpha_k
    S_k  = Psi_k (kappa_k + 1) / (kappa_k d_k)

of a new row, with (phi, mu, Sigma) integrated out: under the prior, given labels, or under the q of
variational Bayes.
"""

import numpy as np
from scipy.special import gammaln, logsumexp

from bayes_gmm.model.normal import cholesky, inverse_factors
from bayes_gmm.model.priors import ConjugatePrior


def log_density(
    x: np.ndarray, mean: np.ndarray, scale: np.ndarray, degrees: np.ndarray
) -> np.ndarray:
    r"""Log densities of K multivariate Student t at rows.

    .. math:: \log t(x; m, S, d) = \log \frac{\Gamma((d + D) / 2)}{\Gamma(d / 2)}
        - \tfrac D2 \log(\pi d) - \log|L|
        - \tfrac{d + D}{2} \log\left(1 + \tfrac1d \lVert L^{-1}(x - m) \rVert^2\right),
        \qquad S = L L^\top

    x (N, D), mean (K, D), scale (K, D, D), degrees (K,) -> (N, K). Bishop (2006), eq. B.68.
    """
    n_features = x.shape[1]
    whitener = inverse_factors(cholesky(scale, "scale"))
    whitened = (x - mean[:, None, :]) @ whitener.swapaxes(1, 2)
    squared = (whitened**2).sum(axis=-1).T
    half = 0.5 * (degrees + n_features)
    constant = gammaln(half) - gammaln(0.5 * degrees) - 0.5 * n_features * np.log(np.pi * degrees)
    log_det = np.log(np.einsum("kii->ki", whitener)).sum(axis=1)
    return constant + log_det - half * np.log1p(squared / degrees)


def log_predictive(q: ConjugatePrior, x: np.ndarray) -> np.ndarray:
    """Log predictive density under q at rows x (N, D) -> (N,); Murphy (2012), eq. 4.222."""
    kappa, degrees = q.mean_precision, q.degrees_of_freedom - q.n_features + 1
    spread = (kappa + 1) / (kappa * degrees)
    log_t = log_density(x, q.mean, spread[:, None, None] * q.scale, degrees)
    return logsumexp(log_t, axis=1, b=q.concentration / q.concentration.sum())
