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

which is a permanent (`complete_data`).
"""

from math import lgamma
from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from scipy.special import logsumexp

from bayes_gmm.kernels.permanents import MOST
from bayes_gmm.model.normal import cholesky
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.posterior.complete_data import CompleteData
from bayes_gmm.posterior.draws import Draws

LIMIT = 0.7
FEWEST = 25  # draws, of which five are a tail
CONSTANT = 1e-6  # nats; ratios that differ by less are the same but for rounding


class Gap(NamedTuple):
    """How far q is from the posterior."""

    k: float  # the Pareto shape of the ratios; nan of too few draws
    limit: float  # above which they say nothing but that
    divergence: float  # KL(q, posterior), in nats, as far as the draws reach
    left_out: float  # share of the posterior in other modes, of which no draw comes


def gap(log_ratio: np.ndarray, log_mass: np.ndarray) -> Gap:
    """Measure log importance ratios (chain, draw) of independent draws.

    No ratio tells of a mode that q is not about. But other optima of the lower bound were found,
    each of which bounds the mass of its mode; log_mass (O,) has them all, that of q first.
    """
    log_ratio = log_ratio.ravel()
    limit = min(1 - 1 / np.log10(max(log_ratio.size, FEWEST)), LIMIT)
    left_out = 1 - float(np.exp(log_mass[0] - logsumexp(log_mass)))
    if not np.isfinite(log_ratio).all():
        return Gap(np.inf, limit, np.inf, left_out)
    if log_ratio.size < FEWEST:
        return Gap(np.nan, limit, np.nan, left_out)
    if np.ptp(log_ratio) < CONSTANT:
        return Gap(0.0, limit, 0.0, left_out)
    log_weights, k = array_stats.psislw(-log_ratio)
    # Smoothed weights sum to one; the least ratio, which is not smoothed, has their unit.
    least = np.argmin(log_ratio)
    log_evidence = log_ratio[least] - log_weights[least] - np.log(log_ratio.size)
    return Gap(float(k), limit, float(log_evidence - log_ratio.mean()), left_out)


def log_densities(q: StructuredPrior, draws: Draws, *, exchangeable: bool = True) -> np.ndarray:
    """Log density of q at draws (chain, draw), averaged over all orders of the components.

    Components that the prior tells apart have one order. For more than `MOST` it is that of the
    order q is about, over K!, as if the orders were far apart.
    """
    n_components = q.counted.n_components
    weights, means, covariances = (array.reshape(-1, *array.shape[2:]) for array in draws)
    symmetric = exchangeable and n_components <= MOST
    found = CompleteData.of_conjugate([q]).log_densities(
        weights, means, cholesky(covariances, "covariances"), symmetric=symmetric
    )
    if exchangeable and not symmetric:
        found -= lgamma(n_components + 1)
    return found.reshape(draws.weights.shape[:2])
