r"""How far quantities move if the prior, or the likelihood, is raised to another power.

    d E_alpha q / d alpha = cov(q, log p(theta)),        at alpha = 1

so that to first order E q moves by -cov / 2 if the prior counts half as much. Normal scores of q in
its place say the same of the quantiles, whatever the tails of q are. The log prior is a sum of
three parts, each of which can be scaled alone. And of weights and means a prior says where it
expects them, so that it can contradict the data: under the prior

    kappa_k (mu_kj - m_kj)^2 / Sigma_kjj ~ chi-squared(1),        phi_k ~ Beta(a_k, a_0 - a_k),

and where the draws lie in the tails of that, prior and data disagree (Evans & Moshonov, 2006). A
scale of covariances is not tested so. It is chosen for its order of magnitude, and the default one
is that of all data, wider than a component on purpose.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from scipy import stats
from scipy.stats import norm, rankdata

from bayes_gmm.model.normal import cholesky
from bayes_gmm.model.prior_family import PriorFamily
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.posterior.draws import Draws, Scalar

CONSTANT = 1e-12  # relative spread of what does not vary
POWERS = (0.99, 1.01)
WEIGHTS, MEANS, COVARIANCES = "weights", "means", "covariances"


class Conflict(NamedTuple):
    """A parameter for which the prior contradicts the draws.

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


def effects(
    values: np.ndarray,
    log_prior: np.ndarray,
    log_likelihood: np.ndarray,
    parts: dict[str, np.ndarray],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Compute how quantities move if the prior, or the likelihood, is power-scaled.

    Which of the quantities vary (Q,), and of these: mean and sd; sensitivities to prior and
    likelihood; prior_shift and likelihood_shift of the mean in the user's units; widening of the
    95% interval as a share; prior_effect on an end of it in sds; the part of the prior that shifts
    the mean most.

    Shapes: values (chain, draw, Q), log_prior, log_likelihood, each of parts (chain, draw).
    """
    mean, sd = values.mean(axis=(0, 1)), values.std(axis=(0, 1))
    # The spread of what is constant, such as the weight of a single component, is rounding.
    varies = np.isfinite(sd) & (sd > CONSTANT * np.abs(values).max(axis=(0, 1)))
    # The distance has no unit, and standardized values keep it from underflow.
    standardized = (values[..., varies] - mean[varies]) / sd[varies]
    scaled = {"prior": log_prior, "likelihood": log_likelihood}
    columns = {"mean": mean[varies], "sd": sd[varies]}
    columns |= {name: _sensitivity(standardized, one) for name, one in scaled.items()}
    columns |= {
        f"{name}_shift": sd[varies] * _shift_if_halved(standardized, one)
        for name, one in scaled.items()
    }
    scores = _normal_scores(values[..., varies])
    columns["widening"] = _shift_if_halved(scores**2, log_prior) / 2
    wider = np.maximum(columns["widening"], 0)
    columns["prior_effect"] = np.abs(_shift_if_halved(scores, log_prior)) + 2 * wider
    by_part = {part: np.abs(_shift_if_halved(standardized, one)) for part, one in parts.items()}
    largest = np.argmax([*by_part.values(), np.zeros(varies.sum())], axis=0)
    columns["part"] = np.array([*by_part, ""], dtype=object)[largest]
    return varies, columns


def _sensitivity(standardized: np.ndarray, log_density: np.ndarray) -> np.ndarray:
    """Cumulative Jensen-Shannon distance per doubling of the power (Q,), as ArviZ computes it."""
    values = np.moveaxis(standardized, 2, 0)

    def weights(alpha: float) -> np.ndarray:
        weight = np.exp(array_stats.power_scale_lw(log_density, alpha=alpha, axis=[-2, -1]))
        return np.broadcast_to(weight / weight.sum(), values.shape)

    low, high = POWERS
    return array_stats.power_scale_sense(values, weights(low), weights(high), low, high)


def _shift_if_halved(standardized: np.ndarray, log_density: np.ndarray) -> np.ndarray:
    r"""How far the means move if a log density counts half as much, to first order, in sds (Q,).

    The derivative of :math:`\mathrm{E}_\alpha q` by alpha is the covariance with the log density.
    """
    centered = log_density - log_density.mean()
    return -0.5 * np.einsum("cdq,cd->q", standardized, centered) / log_density.size


def _normal_scores(values: np.ndarray) -> np.ndarray:
    """Put the normal quantiles of their ranks in the place of values (chain, draw, Q)."""
    flat = values.reshape(-1, values.shape[-1])
    ranks = rankdata(flat, axis=0)
    return norm.ppf((ranks - 0.375) / (len(flat) + 0.25)).reshape(values.shape)


def log_prior_parts(
    prior: ConjugatePrior | StructuredPrior | PriorFamily, draws: Draws
) -> dict[str, np.ndarray]:
    """Split the log prior of draws.

    Draws are numbered as the prior numbers its components; the density of means is given the
    covariances.

    Shapes: -> each (chain, draw).
    """
    factors = cholesky(draws.covariances, "covariances")
    parts = prior.log_density_by_part(draws.weights, draws.means, factors)
    shape = draws.weights.shape[:2]
    return {
        name: np.reshape(part, (*shape, -1)).sum(axis=-1)
        for name, part in zip((WEIGHTS, MEANS, COVARIANCES), parts, strict=True)
    }


def conflicts(prior: ConjugatePrior, draws: Draws, scalars: Sequence[Scalar]) -> list[Conflict]:
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


def _means(prior: ConjugatePrior, draws: Draws) -> tuple[np.ndarray, ...]:
    """Expected means, their prior sds, posterior means and tail probabilities, each (K, D)."""
    shape = draws.means.shape[2:]
    variances = np.einsum("...kjj->...kj", draws.covariances)
    with np.errstate(divide="ignore"):
        sd = np.sqrt(variances / prior.mean_precision[:, None])
    tail = 2 * stats.norm.sf(np.abs(draws.means - prior.mean) / sd)
    by_draw = (sd, draws.means, tail)
    return np.broadcast_to(prior.mean, shape), *(one.mean(axis=(0, 1)) for one in by_draw)


def _weights(prior: ConjugatePrior, draws: Draws) -> tuple[np.ndarray, ...]:
    """Expected weights, their prior sds, posterior means and tail probabilities, each (K,)."""
    own, total = prior.concentration, prior.concentration.sum()
    if len(own) == 1:
        return (np.empty(0),) * 4
    marginal = stats.beta(own, total - own)
    below = marginal.cdf(draws.weights).mean(axis=(0, 1))
    tail = 2 * np.minimum(below, 1 - below)
    return marginal.mean(), marginal.std(), draws.weights.mean(axis=(0, 1)), tail
