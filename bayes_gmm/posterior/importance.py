r"""How far the distribution q that draws came from is from the posterior: importance ratios.

    r_s = p(x, theta_s) / q(theta_s)

If q is the posterior all ratios are the evidence. Pareto smoothing fits the tail of the ratios; its
shape k says how many moments they have, and above 0.7 q has missed so much of the posterior that
not even weights can make up for it (Yao, Vehtari, Simpson & Gelman, 2018; Vehtari et al., 2024).

The posterior of components that are alike a priori is the same in all K! orders, but q is about one
of them. A draw in which two components have changed places is likely under the posterior and
impossible under q, which says nothing about label-invariant quantities. So q is averaged over all
orders,

    q(theta) = 1/K! sum_pi prod_k q_k(phi_pi(k), mu_pi(k), Sigma_pi(k)),

which is a permanent.
"""

from math import lgamma
from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from scipy.special import logsumexp

from bayes_gmm.model.normal import cholesky
from bayes_gmm.model.prior_family import log_dirichlet
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.posterior.draws import Draws

MOST_COMPONENTS = 10  # of more, only the order that q is about is counted
LIMIT = 0.7
CONSTANT = 1e-6  # nats; ratios that differ by less are the same but for rounding


class Gap(NamedTuple):
    """How far q is from the posterior."""

    k: float  # the Pareto shape of the ratios
    limit: float  # above which they say nothing but that
    divergence: float  # KL(q, posterior), in nats, as far as the draws reach
    left_out: float  # share of the posterior in other modes, of which no draw comes


def gap(log_ratio: np.ndarray, log_mass: np.ndarray) -> Gap:
    """Measure log importance ratios (chain, draw) of independent draws.

    No ratio tells of a mode that q is not about. But other optima of the lower bound were found,
    each of which bounds the mass of its mode; log_mass (O,) has them all, that of q first.
    """
    log_ratio = log_ratio.ravel()
    limit = min(1 - 1 / np.log10(log_ratio.size), LIMIT)
    left_out = 1 - float(np.exp(log_mass[0] - logsumexp(log_mass)))
    if not np.isfinite(log_ratio).all():
        return Gap(np.inf, limit, np.inf, left_out)
    if np.ptp(log_ratio) < CONSTANT:
        return Gap(0.0, limit, 0.0, left_out)
    log_weights, k = array_stats.psislw(-log_ratio)
    # Smoothed weights sum to one; the least ratio, which is not smoothed, has their unit.
    least = np.argmin(log_ratio)
    log_evidence = log_ratio[least] - log_weights[least] - np.log(log_ratio.size)
    return Gap(float(k), limit, float(log_evidence - log_ratio.mean()), left_out)


def log_densities(q: StructuredPrior, draws: Draws, *, exchangeable: bool = True) -> np.ndarray:
    """Log density of q at draws (chain, draw), averaged over all orders of the components.

    Components that the prior tells apart have one order. For more than `MOST_COMPONENTS` it is that
    of the order q is about, over K!, as if the orders were far apart.
    """
    n_components = q.counted.n_components
    factors = cholesky(draws.covariances, "covariances")
    if not exchangeable or n_components > MOST_COMPONENTS:
        own = q.log_densities(draws.weights, draws.means, factors)
        return own - lgamma(n_components + 1) * exchangeable
    excess, log_weights = q.counted.concentration - 1, np.log(draws.weights)
    terms = np.empty((*draws.weights.shape, n_components))
    shared = np.zeros(draws.weights.shape[:2])
    for shift in range(n_components):
        order = np.roll(np.arange(n_components), shift)
        parts = q.log_density_by_part(
            draws.weights[..., order], draws.means[..., order, :], factors[..., order, :, :]
        )
        of_one = parts.means + excess * log_weights[..., order]
        if q.structure.is_common:
            shared = np.asarray(parts.covariances)
        else:
            of_one = of_one + parts.covariances
        terms[..., order, np.arange(n_components)] = of_one
    constant = log_dirichlet(q.counted.concentration) - lgamma(n_components + 1)
    return log_permanent(terms) + shared + constant


def log_permanent(log_terms: np.ndarray) -> np.ndarray:
    r"""Log of the permanent of matrices with positive entries.

    .. math:: \mathrm{perm}(A) = \sum_\pi \prod_j A_{j \pi(j)}

    by the sums over the first rows and all sets of as many columns, each from those of one row
    less: 2^K K operations, with nothing subtracted. log_terms (..., K, K) -> (...).
    """
    n = log_terms.shape[-1]
    sums = {0: np.zeros(log_terms.shape[:-2])}
    for columns in range(1, 1 << n):
        row = columns.bit_count() - 1
        parts = [
            sums[columns ^ (1 << j)] + log_terms[..., row, j] for j in range(n) if columns >> j & 1
        ]
        sums[columns] = np.logaddexp.reduce(parts)
    return sums[(1 << n) - 1]
