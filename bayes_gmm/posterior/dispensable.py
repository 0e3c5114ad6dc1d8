r"""Whether a component is redundant, by BIC and by the draws.

Two components are merged into one with their joint weight, mean and covariance, which keeps the
moments of the whole mixture; if components share parts of their covariances, all covariances get
the M-step for data distributed as the mixture. The merged mixture is not refitted, and the best
mixture of K - 1 components has a higher likelihood; so if merging lowers BIC, K - 1 components have
a BIC that is at least as low. None of this depends on whether chains have converged. But BIC
ignores the prior, and penalizes too much with many features and few rows: converged draws can
overrule it.

A mixture of K components with an empty one is a mixture of K - 1 components, so the posterior
probability of an empty component gives the Bayes factor between the two, under the prior of the
draws:

    P(n_k = 0 | x) = c p(x | K - 1) / p(x | K),
    c = P(n_k = 0) = Gamma(K a) Gamma(K a - a + N) / {Gamma(K a + N) Gamma(K a - a)},

with a the concentration of the weights. It can be estimated without a draw with an empty component:
given its parameters, a component is empty with probability prod_n (1 - r_nk). It is the ratio that
`posterior.evidence` estimates from a posterior of each K, for which a verdict cannot wait; a test
holds the two together.
"""

from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.special import gammaln
from scipy.stats import beta

from bayes_gmm.data import Observations
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.model.mixture import mixture_moments
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.posterior.draws import Draws

SAVING = 6  # of BIC, from which the evidence against a component is strong: 20 to 1 (Raftery, 1995)
REACHED = 0.99  # share of the empty components that are looked for, those of the smallest weights


class Merger(NamedTuple):
    """Two components, and the decrease of BIC if they are merged."""

    one: int
    other: int
    saving: float  # By how much BIC falls; negative if it rises


def dispensable(
    point: Parameters,
    draws: Draws,
    log_likelihood: np.ndarray,
    observations: Observations,
    structure: Structure,
    prior: ConjugatePrior | None,
) -> tuple[Merger | None, bool]:
    """Find two components whose merging lowers BIC, and whether the draws support both.

    Draws are informative only under a conjugate prior that is the same for all components.
    """
    found = best_merger(point, draws, log_likelihood, observations, structure)
    if found is None or not found.saving > SAVING:
        return None, False
    if prior is None or not prior.is_exchangeable:
        return found, False
    odds = np.exp(SAVING / 2)
    concentration = prior.concentration[0]
    return found, borne_out(draws, log_likelihood, concentration, observations, odds)


def best_merger(
    point: Parameters,
    draws: Draws,
    log_likelihood: np.ndarray,
    x: np.ndarray | Observations,
    structure: Structure = UNCONSTRAINED,
) -> Merger | None:
    r"""Find the two components whose merger lowers BIC the most, or raises it the least.

    .. math:: \mathrm{BIC}_K - \mathrm{BIC}_{K-1}
        = (p_K - p_{K - 1}) \log N - 2 \{L(\theta) - L(\theta_{\mathrm{merged}})\}

    If more than half of the draws have a higher likelihood than the point, which those about a mode
    don't, the best of them takes its place.

    Shapes: log_likelihood (chain, draw), x (N, D).

    A pass over the rows for each of the K (K - 1) / 2 pairs, which is little beside the thousands
    of passes that the draws took.

    Schwarz (1978); Fraley & Raftery (2007), J. Classification 24, for BIC at the mode.
    """
    if point.n_components == 1:
        return None
    # Rows were checked when they were sampled; here their scale only sets the coordinates.
    observations = structure.standardized(
        Observations.of(x, spread=np.ones(point.n_features), missing="mar")
    )
    expect = expectation(observations)
    to_standard = -observations.origin / observations.scale, 1 / observations.scale
    log_unit = observations.log_volume

    def likelihood(theta: Parameters) -> float:
        return expect(theta.log_quadratic()).log_normalizer

    theta = point.rescale(*to_standard)
    before = likelihood(theta)
    if np.median(log_likelihood) + log_unit > before:
        best = np.unravel_index(np.argmax(log_likelihood), log_likelihood.shape)
        theta = Parameters(*(array[best] for array in draws)).rescale(*to_standard)
        before = likelihood(theta)
    pairs = list(combinations(range(theta.n_components), 2))
    after = [likelihood(merged(theta, *pair, structure)) for pair in pairs]
    k, n_features = theta.means.shape
    fewer = structure.n_free(k, n_features) - structure.n_free(k - 1, n_features)
    price = fewer * np.log(observations.total_weight)
    place = int(np.argmax(after))
    return Merger(*pairs[place], float(price - 2 * (before - after[place])))


def merged(
    theta: Parameters, one: int, other: int, structure: Structure = UNCONSTRAINED
) -> Parameters:
    r"""Replace two components by one with the same weight, mean and covariance.

    .. math:: \phi = \phi_a + \phi_b, \qquad \mu = \tfrac1\phi (\phi_a \mu_a + \phi_b \mu_b), \qquad
        \Sigma = \tfrac1\phi \sum_{k \in \{a, b\}}
        \phi_k \{\Sigma_k + (\mu_k - \mu)(\mu_k - \mu)^\top\}
    """
    pair = [one, other]
    total = theta.weights[pair].sum()
    shares = theta.weights[pair] / total if total > 0 else np.array([0.5, 0.5])
    mean, covariance = mixture_moments(shares, theta.means[pair], theta.covariances[pair])
    weights = np.append(np.delete(theta.weights, pair), total)
    covariances = np.append(np.delete(theta.covariances, pair, axis=0), covariance[None], axis=0)
    if not structure.is_unconstrained(theta.n_features):
        held = np.maximum(weights, np.finfo(float).tiny)
        scatter = held[:, None, None] * covariances
        covariances = structure.covariances(scatter, held, covariances)
    means = np.append(np.delete(theta.means, pair, axis=0), mean[None], axis=0)
    return Parameters(weights, means, covariances)


def borne_out(
    draws: Draws,
    log_likelihood: np.ndarray,
    concentration: float,
    x: np.ndarray | Observations,
    odds: float,
) -> bool:
    r"""Whether the draws favor K components over K - 1 by more than these odds.

    .. math:: \frac{p(x \mid K)}{p(x \mid K - 1)}
        = c \,/\, \frac{1}{S K} \sum_{sk} \prod_n \{1 - r_{nk}(\theta_s)\}

    False as well where at these odds not even one draw would be empty: that none is says little
    then.

    Shapes: log_likelihood (chain, draw), x (N, D).

    The weight of an empty component is Beta(a, K a - a + N), so that only draws with a weight about
    as small are looked at, and no more of them than it takes to settle the matter.

    Nobile (2004), Ann. Statist. 32.
    """
    n_components = draws.weights.shape[2]
    # Rows were checked when they were sampled; here their scale only sets the coordinates.
    observations = Observations.of(x, spread=np.ones(draws.means.shape[-1]))
    expect = expectation(observations)
    origin, scale, n = observations.origin, observations.scale, observations.total_weight
    height = log_likelihood + n * np.log(scale).sum()
    limit = np.exp(log_empty(concentration, n_components, n)) / odds * draws.weights.size
    if limit < 1:
        return False
    rest = (n_components - 1) * concentration + n
    small = np.argwhere(draws.weights < beta.ppf(REACHED, concentration, rest))
    total = 0.0
    for chain, draw, k in small[np.argsort(draws.weights[tuple(small.T)])]:
        theta = Parameters(*(array[chain, draw] for array in draws)).rescale(
            -origin / scale, 1 / scale
        )
        without = LogQuadratic(*(np.delete(part, k, axis=0) for part in theta.log_quadratic()))
        total += np.exp(min(expect(without).log_normalizer - height[chain, draw], 0.0))
        if total >= limit:
            return False
    return True


def log_empty(concentration: float, n_components: int, n: float) -> float:
    """Log prior probability that a given one of the components holds none of n rows."""
    total = n_components * concentration
    rest = total - concentration
    return float(gammaln(total) + gammaln(rest + n) - gammaln(total + n) - gammaln(rest))
