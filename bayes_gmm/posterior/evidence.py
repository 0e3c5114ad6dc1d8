r"""The evidence of a number of components, log p(x | K), from draws of the posterior.

    p(x | K) = integral of p(x | theta) p(theta | K) over theta

by bridge sampling between the posterior and the mean of complete-data densities (`complete_data`).
That is made from one half of the draws and compared with the other half, and the other way round;
the estimate is the mean of both.

Of many components the mean over all orders takes too long. Then the integral is K! times that over
the mixtures whose components are in one order, the one in which they are closest to a pivot. Draws
are brought into it; proposals in another one have no part in the integral. That is exact too, but
less precise where components overlap.

Rows, draws and prior are taken in the coordinates of a pass,
(x - origin) / scale, where a density of rows is larger by the product of the scales.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import gammaln

from bayes_gmm.data import Observations
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.kernels.permanents import MOST
from bayes_gmm.kernels.sampling import sampled_statistics
from bayes_gmm.model.normal import cholesky
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.prior_family import PriorFamily
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import Structure
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.posterior.bridge import Bridge, bridge
from bayes_gmm.posterior.complete_data import CompleteData
from bayes_gmm.posterior.conditionals import Conditionals
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.pivot import match

SMALLEST_WEIGHT = np.finfo(float).tiny  # its logarithm is a number


class Estimate(NamedTuple):
    """log p(x | K), and how well it is known."""

    log_evidence: float
    standard_error: float
    effective_draws: float
    effective_proposals: float
    halves: tuple[float, float]  # the estimates from half of the draws each


def log_evidence(
    draws: Draws,
    log_likelihood: np.ndarray,
    observations: Observations,
    prior: ConjugatePrior | PriorFamily,
    structure: Structure,
    *,
    n_labellings: int,
    seed: int | None,
) -> Estimate:
    """Estimate the evidence from draws, as the sampler made them, and their log-likelihoods.

    All in the user's units. Shapes: log_likelihood (chain, draw).
    """
    observations = structure.standardized(observations)
    origin, scale = observations.origin, observations.scale
    inside = positive(
        Draws(
            draws.weights,
            (draws.means - origin) / scale,
            draws.covariances / np.outer(scale, scale),
        )
    )
    own = prior.rescale(-origin, np.ones_like(scale)).rescale(np.zeros_like(scale), 1 / scale)
    problem = Problem(observations, own, structure)
    log_joint = log_likelihood + observations.log_volume + problem.log_prior(inside)
    middle = draws.n_draws // 2
    parts = slice(None, middle), slice(middle, None)
    seeds = np.random.SeedSequence(seed).spawn(2)
    first, second = (
        _bridged(
            problem,
            Draws(*(array[:, fitted] for array in inside)),
            Draws(*(array[:, held_out] for array in inside)),
            log_joint[:, held_out],
            n_labellings,
            np.random.default_rng(child),
        )
        for fitted, held_out, child in zip(parts, parts[::-1], seeds, strict=True)
    )
    log_volume = observations.log_volume
    halves = first.log_integral - log_volume, second.log_integral - log_volume
    return Estimate(
        0.5 * (halves[0] + halves[1]),
        0.5 * float(np.hypot(first.standard_error, second.standard_error)),
        first.effective_draws + second.effective_draws,
        first.effective_proposals + second.effective_proposals,
        halves,
    )


def log_likelihood_at(theta: Parameters, observations: Observations) -> float:
    """Log-likelihood of rows, parameters and densities in the user's units."""
    inside = theta.rescale(-observations.origin / observations.scale, 1 / observations.scale)
    log_normalizer = expectation(observations)(inside.log_quadratic()).log_normalizer
    return log_normalizer - observations.log_volume


class Problem:
    """Rows and a prior in the coordinates of a pass."""

    def __init__(
        self,
        observations: Observations,
        prior: ConjugatePrior | PriorFamily,
        structure: Structure,
    ):
        self.is_exchangeable = prior.is_exchangeable
        self.prior = (
            StructuredPrior.of(prior, structure) if isinstance(prior, ConjugatePrior) else prior
        )
        self._expect = expectation(observations, structure)
        self._sampled = sampled_statistics(observations)

    def log_likelihood(self, theta: Parameters) -> float:
        """Log-likelihood of the rows, labels and missing entries integrated out."""
        return self._expect(theta.log_quadratic()).log_normalizer

    def log_prior(self, draws: Draws) -> np.ndarray:
        """Log prior densities, (chain, draw)."""
        factors = cholesky(draws.covariances, "covariances")
        return self.prior.log_densities(draws.weights, draws.means, factors)

    def complete_data(self, draws: list[Parameters], rng: np.random.Generator) -> CompleteData:
        """Densities of the parameters given labels that are sampled at each draw."""
        keys = rng.integers(1 << 63, size=len(draws))
        given = [
            self._sampled(theta.log_quadratic(), int(key))
            for theta, key in zip(draws, keys, strict=True)
        ]
        prior = self.prior
        if isinstance(prior, StructuredPrior):
            return CompleteData.of_conjugate([prior.posterior(one) for one in given])
        pairs = zip(draws, given, strict=True)
        return CompleteData.of_conditionals([Conditionals.of(prior, *pair, rng) for pair in pairs])


def _bridged(
    problem: Problem,
    fitted: Draws,
    held_out: Draws,
    log_joint: np.ndarray,
    n_labellings: int,
    rng: np.random.Generator,
) -> Bridge:
    """Make a proposal of some draws, and bridge from it to others, of which log h is known.

    Shapes: log_joint (chain, draw) of those held out.
    """
    n_components = held_out.weights.shape[2]
    one_order = problem.is_exchangeable and n_components > MOST
    pivot = fitted.thinned(1)[0]
    if one_order:
        fitted, held_out = (
            fitted.reorder(order(fitted, pivot)),
            held_out.reorder(order(held_out, pivot)),
        )
    proposal = problem.complete_data(fitted.thinned(n_labellings), rng)
    symmetric = problem.is_exchangeable and not one_order

    def log_ratio(draws: Draws, log_h: np.ndarray) -> np.ndarray:
        flat = Draws(*(array.reshape(-1, *array.shape[2:]) for array in draws))
        factors = cholesky(flat.covariances, "covariances")
        log_q = proposal.log_densities(flat.weights, flat.means, factors, symmetric=symmetric)
        return log_h - log_q.reshape(log_h.shape)

    proposed = proposal.sample(log_joint.size, rng)
    own = positive(
        Draws(
            *(
                np.stack([getattr(one, name) for one in proposed])[None]
                for name in ("weights", "means", "covariances")
            )
        )
    )
    log_h = np.array([problem.log_likelihood(one) for one in proposed]) + problem.log_prior(own)
    if one_order:
        outside = (order(own, pivot) != np.arange(n_components)).any(axis=2)
        log_h[outside] = -np.inf
    found = bridge(log_ratio(held_out, log_joint), log_ratio(own, log_h)[0])
    if not one_order:
        return found
    return found._replace(log_integral=found.log_integral + float(gammaln(n_components + 1)))


def order(draws: Draws, pivot: Parameters) -> np.ndarray:
    """The one order of components in which a mixture is closest to the pivot, (chain, draw, K)."""
    return match(*draws, pivot).permutation


def positive(draws: Draws) -> Draws:
    """The same draws, with no weight exactly zero."""
    return draws._replace(weights=np.maximum(draws.weights, SMALLEST_WEIGHT))
