r"""What a prior says of weights, means and covariances, held against the draws part by part.

The log prior is a sum of three parts, each of which can be scaled alone. And of weights and means a
prior says where it expects them, so that it can contradict the data: under the prior

    kappa_k (mu_kj - m_kj)^2 / Sigma_kjj ~ chi-squared(1),        phi_k ~ Beta(a_k, a_0 - a_k),

and where the draws lie in the tails of that, prior and data disagree (Evans & Moshonov, 2006). A
scale of covariances is not tested so. It is chosen for its order of magnitude, and the default one
is that of all data, wider than a component on purpose.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import stats

from bayes_gmm.model.normal import cholesky
from bayes_gmm.model.prior_family import PriorFamily
from bayes_gmm.model.priors import Prior
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.scalars import Scalar

WEIGHTS, MEANS, COVARIANCES = "weights", "means", "covariances"


class Conflict(NamedTuple):
    """Where the prior expects a parameter, and where the draws have it.

    Attributes
    ----------
    part : str
        Of the prior: weights or means.
    quantity : str
        Such as ``mean[0, eruptions]``.
    expected, prior_sd : float
        By the prior; for a mean given the component's covariance.
    found : float
        Posterior mean.
    p_value : float
        Tail probability of the draws under the prior, adjusted for the number of parameters.
    """

    part: str
    quantity: str
    expected: float
    prior_sd: float
    found: float
    p_value: float


def log_prior_parts(
    prior: Prior | StructuredPrior | PriorFamily, draws: Draws
) -> dict[str, np.ndarray]:
    """Split the log prior of draws.

    Draws are numbered as the prior numbers its components; the density of means is given the
    covariances.

    Shapes: -> (chain, draw).
    """
    factors = cholesky(draws.covariances, "covariances")
    parts = prior.log_density_by_part(draws.weights, draws.means, factors)
    shape = draws.weights.shape[:2]
    return {
        name: np.reshape(part, (*shape, -1)).sum(axis=-1)
        for name, part in zip((WEIGHTS, MEANS, COVARIANCES), parts, strict=True)
    }


def conflicts(prior: Prior, draws: Draws, scalars: Sequence[Scalar]) -> list[Conflict]:
    """Hold weights and means against what the prior expects of them.

    Evans & Moshonov (2006), Bayesian Analysis 1.
    """
    found = []
    for part, kind, columns in (
        (MEANS, "mean", _means(prior, draws)),
        (WEIGHTS, "weight", _weights(prior, draws)),
    ):
        names = [scalar.name for scalar in scalars if scalar.kind == kind]
        numbers = np.stack([column.ravel() for column in columns], axis=1).tolist()
        for name, (expected, sd, mean, p) in zip(names, numbers, strict=True):
            found.append(Conflict(part, name, expected, sd, mean, min(1.0, len(names) * p)))
    return sorted(found, key=lambda one: one.p_value)


def _means(prior: Prior, draws: Draws) -> tuple[np.ndarray, ...]:
    """Expected means, their prior sds, posterior means and tail probabilities, each (K, D)."""
    shape = draws.means.shape[2:]
    variances = np.einsum("...kjj->...kj", draws.covariances)
    with np.errstate(divide="ignore"):
        sd = np.sqrt(variances / prior.mean_precision[:, None])
    tail = 2 * stats.norm.sf(np.abs(draws.means - prior.mean) / sd)
    by_draw = (sd, draws.means, tail)
    return np.broadcast_to(prior.mean, shape), *(one.mean(axis=(0, 1)) for one in by_draw)


def _weights(prior: Prior, draws: Draws) -> tuple[np.ndarray, ...]:
    """Expected weights, their prior sds, posterior means and tail probabilities, each (K,)."""
    own, total = prior.concentration, prior.concentration.sum()
    if len(own) == 1:
        return (np.empty(0),) * 4
    marginal = stats.beta(own, total - own)
    below = marginal.cdf(draws.weights).mean(axis=(0, 1))
    tail = 2 * np.minimum(below, 1 - below)
    return marginal.mean(), marginal.std(), draws.weights.mean(axis=(0, 1)), tail
