r"""Variational Bayes: what a distribution of the parameters expects, and its distance to the prior.

A distribution q of the family of the conjugate prior expects of a row and its label

    log rho_k(x) = E log{phi_k N(x; mu_k, Sigma_k)}
                 = E log phi_k + 1/2 E log|Sigma_k^-1| - D/2 log 2 pi - D / (2 kappa_k)
                   - 1/2 (x - m_k)' E Sigma_k^-1 (x - m_k).

These functions are log-quadratic, so the pass of EM takes them. Its responsibilities r are the best
q(z) given q(theta), and its log normalizer gives the lower bound of the log evidence exactly,

    ELBO = sum_n log sum_k rho_k(x_n) - KL(q, prior)  <=  log p(x).

Given r, the best q(theta) is `prior.posterior(statistics)`. Alternating the two is coordinate
ascent, and no step lowers the bound (Bishop, 2006, sec. 10.2; Attias, 1999).
"""

from typing import NamedTuple

import numpy as np
from scipy.special import digamma

from bayes_gmm.model.normal import LOG_2PI
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures.prior import StructuredPrior


class Expected(NamedTuple):
    """Expectations under q."""

    log_weights: np.ndarray  # E log phi_k, (K,)
    log_det: np.ndarray  # E log|Sigma_k^-1|, (K,)
    parameters: Parameters  # E phi_k, E mu_k, and the inverses of E Sigma_k^-1
    log_quadratic: LogQuadratic  # log rho_k

    @classmethod
    def under(cls, q: StructuredPrior) -> "Expected":
        """Expectations under q; raises InputError if a scale is not positive definite."""
        counted, n_features = q.counted, q.counted.n_features
        alpha, kappa = counted.concentration, counted.mean_precision
        log_weights = digamma(alpha) - digamma(alpha.sum())
        log_det, covariances = q.expectations()
        parameters = Parameters.trusted(alpha / alpha.sum(), counted.mean, covariances)
        offset = log_weights + 0.5 * (log_det - n_features * (LOG_2PI + 1 / kappa))
        functions = parameters.log_quadratic()._replace(offset=offset)
        return cls(log_weights, log_det, parameters, functions)


def divergence(q: StructuredPrior, prior: StructuredPrior, expected: Expected) -> float:
    r"""Kullback-Leibler divergence of q from the prior, both of one conjugate family.

    .. math::
        \mathrm{KL}(q, p) = E_q \log q(\theta) - E_q \log p(\theta)
        = \log \frac{Z_p}{Z_q} + \langle \eta_q - \eta_p, E_q T(\theta) \rangle

    with the expected sufficient statistics :math:`E \log \phi_k`, :math:`E \log|\Sigma_k^{-1}|` and
    :math:`E \Sigma_k^{-1}`; the normal densities of the means are integrated out,

    .. math:: \mathrm{KL}(\mu_k \mid \Sigma_k) = \tfrac D2 \left( \log \frac{\kappa_q}{\kappa_p}
        + \frac{\kappa_p}{\kappa_q} - 1 \right)
        + \tfrac{\kappa_p}{2} (m_q - m_p)^\top E \Sigma_k^{-1} (m_q - m_p).
    """
    own, other, n_features = q.counted, prior.counted, prior.counted.n_features
    whitener = expected.log_quadratic.whitener
    ratio = other.mean_precision / own.mean_precision
    distance = np.einsum("kij,kj->ki", whitener, own.mean - other.mean)
    squared = (distance**2).sum(axis=1)
    trace = np.einsum("kij,kij->k", whitener @ (own.scale - other.scale), whitener)
    of_means = 0.5 * (n_features * (ratio - 1) + other.mean_precision * squared)
    of_covariances = 0.5 * ((q.power - prior.power) * expected.log_det - trace)
    of_weights = (own.concentration - other.concentration) @ expected.log_weights
    constant = q.log_normalizer - prior.log_normalizer
    return float(constant + of_weights + (of_means + of_covariances).sum())


def expected_log_joint(functions: LogQuadratic, statistics: SufficientStatistics) -> float:
    r"""Expectation of the log joint density of rows and labels under the labels of a pass.

    .. math:: \sum_{nk} r_{nk} \log \rho_k(x_n) = \sum_k \left[ n_k \, \mathrm{offset}_k
        - \tfrac12 \mathrm{tr}(W_k M_k W_k^\top) \right]

    with M_k the second moments about the centers of these functions. Plus the entropy of r it is a
    lower bound of the log likelihood, which is exact where r are its own responsibilities.
    """
    count, shift = statistics.count, functions.center - statistics.center
    whitened = np.einsum("kij,kj->ki", functions.whitener, shift)
    first = np.einsum("kij,kj->ki", functions.whitener, statistics.first)
    squared = (functions.whitener @ statistics.second) * functions.whitener
    moments = squared.sum() - (whitened * (2 * first - count[:, None] * whitened)).sum()
    return float(count @ functions.offset - 0.5 * moments)
