r"""Coordinates in which a posterior is sampled: free, without units, calm under the prior.

    phi_k = exp(v_k) / sum_j exp(v_j)        v_1 .. v_K-1, with sum_k v_k = 0
    Sigma_k = (W_k' W_k)^-1, W_k = S_k A_k   log S_ii, then S_ij below the diagonal, row by row
    mu_k                                     as it is, in the coordinates of the pass

A_k is the whitener of the prior's scale, A'A = Psi^-1. That makes S the triangle of Bartlett's
decomposition: under the prior its entries are independent, S_ii^2 ~ chi2(nu - D + i) and
S_ij ~ N(0, 1). The whitener that a pass over the rows needs is S A as it stands; no matrix is
factored or inverted. The gradient follows by Fisher's identity from the statistics of that pass.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from bayes_gmm.model.normal import LOG_2PI, cholesky, inverse_factors
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.prior_family import log_dirichlet
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics

LOG_2 = float(np.log(2))


class Parts(NamedTuple):
    """Free coordinates taken apart, for any number of points at once."""

    log_weights: np.ndarray  # (..., K), log phi
    triangle: np.ndarray  # (..., K, D, D), S
    means: np.ndarray  # (..., K, D)


class FreeCoordinates:
    """The map between parameters and free coordinates u (P,), and the posterior density of u.

    The prior is a proper one, in the coordinates of the pass. P = K - 1 + K D (D + 1) / 2 + K D.
    Bartlett (1933), Proc. R. Soc. Edinburgh 53; Smith & Hocking (1972), Algorithm AS 53.
    """

    def __init__(self, prior: ConjugatePrior):
        prior.require_proper()
        n_components, n_features = prior.mean.shape
        self.prior = prior
        self.scale_whitener = inverse_factors(cholesky(prior.scale, "scale"))  # A, (K, D, D)
        # nu - D + i, the degrees of freedom of S_ii^2, (K, D)
        self.degrees = prior.degrees_of_freedom[:, None] - n_features + 1 + np.arange(n_features)
        self.below = np.tril_indices(n_features, -1)
        self.size = n_components - 1 + n_components * n_features * (n_features + 3) // 2
        alpha, degrees = prior.concentration, self.degrees
        of_weights = log_dirichlet(alpha) + np.log(n_components)
        log_triangle = ((1 - degrees / 2) * LOG_2 - gammaln(degrees / 2)).sum()
        log_triangle -= n_components * len(self.below[0]) * LOG_2PI / 2
        log_normal = n_features / 2 * (np.log(prior.mean_precision) - LOG_2PI).sum()
        self.log_constant = of_weights + log_triangle + log_normal + self._log_diagonal().sum()

    def _log_diagonal(self) -> np.ndarray:
        """Log determinants of the A_k, (K,)."""
        return np.log(np.einsum("kii->ki", self.scale_whitener)).sum(axis=1)

    def split(self, free: np.ndarray) -> Parts:
        """Take free coordinates apart. free (..., P)."""
        (n_components, n_features), batch = self.prior.mean.shape, free.shape[:-1]
        edges = [n_components - 1, self.size - n_components * n_features]
        ratios, triangles, means = np.split(free, edges, axis=-1)
        logits = np.concatenate([ratios, -ratios.sum(axis=-1, keepdims=True)], axis=-1)
        entries = triangles.reshape(*batch, n_components, -1)
        triangle = np.zeros((*batch, n_components, n_features, n_features))
        diagonal = np.arange(n_features)
        triangle[..., diagonal, diagonal] = np.exp(entries[..., :n_features])
        triangle[..., *self.below] = entries[..., n_features:]
        log_weights = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
        return Parts(log_weights, triangle, means.reshape(*batch, n_components, n_features))

    def of(self, parameters: Parameters) -> np.ndarray:
        """Free coordinates (P,) of parameters whose weights are positive."""
        log_weights = np.log(parameters.weights)
        triangle = inverse_factors(parameters.choleskys) @ np.linalg.inv(self.scale_whitener)
        diagonal = np.log(np.einsum("kii->ki", triangle))
        entries = np.concatenate([diagonal, triangle[:, *self.below]], axis=1)
        ratios = (log_weights - log_weights.mean())[:-1]
        return np.concatenate([ratios, entries.ravel(), parameters.means.ravel()])

    def parameters(self, free: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Parameters at free coordinates.

        free (..., P) -> weights, means, covariances (..., K), (..., K, D), (..., K, D, D).
        """
        log_weights, triangle, means = self.split(free)
        factor = np.linalg.inv(triangle @ self.scale_whitener)
        return np.exp(log_weights), means, factor @ factor.swapaxes(-1, -2)

    def log_quadratic(self, free: np.ndarray) -> LogQuadratic:
        """Where the pass is taken: log joint densities of a row and each label, as functions of it.

        free (P,).
        """
        log_weights, triangle, means = self.split(free)
        log_det = np.log(np.einsum("kii->ki", triangle)).sum(axis=1) + self._log_diagonal()
        offset = log_weights + log_det - means.shape[1] / 2 * LOG_2PI
        return LogQuadratic(offset, means, triangle @ self.scale_whitener)

    def log_prior(self, free: np.ndarray) -> np.ndarray:
        r"""Log prior density of free coordinates, the Jacobian included.

        .. math:: \sum_k \alpha_k \log\phi_k + \sum_{k,i} \left[(m_{ki} + 1) \log S_{kii}
            - \tfrac12 S_{kii}^2\right] - \tfrac12 \sum_{k,i>j} S_{kij}^2
            - \tfrac12 \sum_k \kappa_k \lVert W_k (\mu_k - m_k) \rVert^2 + c

        free (..., P) -> (...).
        """
        log_weights, triangle, means = self.split(free)
        log_diagonal = np.log(np.einsum("...kii->...ki", triangle))
        distance = (means - self.prior.mean)[..., None]
        whitened = (triangle @ (self.scale_whitener @ distance))[..., 0]
        return (
            (self.prior.concentration * log_weights).sum(axis=-1)
            + ((self.degrees + 1) * log_diagonal).sum(axis=(-2, -1))
            - 0.5 * (triangle**2).sum(axis=(-3, -2, -1))
            - 0.5 * (self.prior.mean_precision * (whitened**2).sum(axis=-1)).sum(axis=-1)
            + self.log_constant
        )

    def gradient(self, free: np.ndarray, statistics: SufficientStatistics) -> np.ndarray:
        r"""Gradient of the log posterior density, log-likelihood plus `log_prior`.

        With n, F and T the statistics about mu_k, d = mu_k - m_k and c = n + alpha,

        .. math::
            \partial/\partial v_j &= (c_j - \phi_j \textstyle\sum_k c_k)
                - (c_K - \phi_K \textstyle\sum_k c_k) \\
            \partial/\partial \log S_{ii} &= n + 1 + m_i - S_{ii} (S P)_{ii}, \qquad
                P = I + A (T + \kappa d d^\top) A^\top \\
            \partial/\partial S_{ij} &= -(S P)_{ij} \\
            \partial/\partial \mu_k &= W^\top W (F - \kappa d)

        The rows count as if they were added to the identity, where the prior's scale stood.

        free (P,), and statistics of the pass at `log_quadratic(free)` -> (P,). Fisher's identity:
        Dempster, Laird & Rubin (1977); see `bayes_gmm.model.score`.
        """
        log_weights, triangle, means = self.split(free)
        prior, a = self.prior, self.scale_whitener
        total = statistics.count + prior.concentration
        excess = total - np.exp(log_weights) * total.sum()
        distance = means - prior.mean
        pull = prior.mean_precision[:, None] * distance
        added = statistics.second + pull[:, :, None] * distance[:, None, :]
        product = triangle @ (np.eye(len(a[0])) + a @ added @ a.swapaxes(1, 2))
        own = np.einsum("kii,kii->ki", triangle, product)
        diagonal = statistics.count[:, None] + 1 + self.degrees - own
        entries = np.concatenate([diagonal, -product[:, *self.below]], axis=1)
        whitener = triangle @ a
        slope = np.einsum("kij,kil,kl->kj", whitener, whitener, statistics.first - pull)
        return np.concatenate([(excess - excess[-1])[:-1], entries.ravel(), slope.ravel()])

    def counts(self, free: np.ndarray, gradient: np.ndarray, n_rows: float) -> np.ndarray:
        """Expected number of rows in each component, read off the gradient.

        The first K - 1 entries of the gradient and the sum N determine them.

        free, gradient (..., P) -> (..., K).
        """
        alpha = self.prior.concentration
        slope = gradient[..., : len(alpha) - 1]
        excess = np.concatenate([slope, np.zeros((*slope.shape[:-1], 1))], axis=-1)
        excess -= excess.mean(axis=-1, keepdims=True)
        return np.exp(self.split(free).log_weights) * (n_rows + alpha.sum()) + excess - alpha
