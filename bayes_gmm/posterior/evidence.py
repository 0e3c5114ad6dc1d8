r"""The evidence of a number of components, log p(x | K), from draws of the posterior.

    p(x | K) = integral of p(x | theta) p(theta) over theta

by bridge sampling between the posterior and the mean of complete-data densities (`complete_data`),
made from one half of the draws and compared with the other half, and the other way round. Rows,
draws and prior are taken in the coordinates (x - origin) / scale of a pass, where a density of rows
is larger by the product of the scales.
"""

from typing import NamedTuple

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.kernels.chunks import expectation
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

SMALLEST_WEIGHT = np.finfo(float).tiny  # its logarithm is a number


class Estimate(NamedTuple):
    """log p(x | K), and how well it is known; the halves are estimates from half of the draws."""

    log_evidence: float
    standard_error: float
    effective_draws: float
    effective_proposals: float
    halves: tuple[float, float]


def log_evidence(
    draws: Draws,
    log_likelihood: np.ndarray,
    observations: Observations,
    prior: ConjugatePrior | PriorFamily,
    structure: Structure,
    *,
    n_products: int,
    seed: int | None,
) -> Estimate:
    """Estimate the evidence from draws as the sampler made them, with log-likelihoods of theirs.

    Everything in the user's units. Shapes: log_likelihood (chain, draw).
    """
    observations = structure.standardized(observations)
    origin, scale = observations.origin, observations.scale
    inside = Draws(
        np.maximum(draws.weights, SMALLEST_WEIGHT),
        (draws.means - origin) / scale,
        draws.covariances / np.outer(scale, scale),
    )
    own = prior.rescale(-origin, np.ones_like(scale)).rescale(np.zeros_like(scale), 1 / scale)
    problem = Problem(observations, own, structure)
    log_joint = log_likelihood + observations.log_volume + problem.log_prior(*inside)
    middle = draws.n_draws // 2
    halves = slice(None, middle), slice(middle, None)
    found = [
        _crossed(problem, _part(inside, a), _part(inside, b), log_joint[:, b], n_products, child)
        for (a, b), child in zip(
            (halves, halves[::-1]), np.random.SeedSequence(seed).spawn(2), strict=True
        )
    ]
    first, second = (one.log_integral - observations.log_volume for one in found)
    return Estimate(
        0.5 * (first + second),
        0.5 * float(np.hypot(*(one.standard_error for one in found))),
        sum(one.effective_draws for one in found),
        sum(one.effective_proposals for one in found),
        (first, second),
    )


class Problem:
    """Rows and a prior in the coordinates of a pass."""

    def __init__(
        self,
        observations: Observations,
        prior: ConjugatePrior | PriorFamily,
        structure: Structure,
    ):
        self.prior = prior
        self.own = (
            StructuredPrior.of(prior, structure) if isinstance(prior, ConjugatePrior) else prior
        )
        self._expect = expectation(observations)
        self._sampled = sampled_statistics(observations)

    def log_prior(
        self, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray
    ) -> np.ndarray:
        """Log prior densities of many mixtures, (...)."""
        return self.own.log_densities(weights, means, cholesky(covariances, "covariances"))

    def log_likelihood(self, theta: Parameters) -> float:
        """Log-likelihood of the rows, labels and missing entries summed out."""
        return self._expect(theta.log_quadratic()).log_normalizer

    def complete_data(self, draws: list[Parameters], rng: np.random.Generator) -> CompleteData:
        """Densities of the parameters given the labels of each draw."""
        keys = rng.integers(1 << 63, size=len(draws))
        given = [
            self._sampled(theta.log_quadratic(), int(key))
            for theta, key in zip(draws, keys, strict=True)
        ]
        if isinstance(self.own, StructuredPrior):
            return CompleteData.of_conjugate([self.own.posterior(one) for one in given])
        own = self.own
        return CompleteData.of_conditionals(
            [Conditionals.of(own, *pair, rng) for pair in zip(draws, given, strict=True)]
        )


def _part(draws: Draws, place: slice) -> Draws:
    return Draws(*(array[:, place] for array in draws))


def _crossed(
    problem: Problem,
    fitted: Draws,
    held_out: Draws,
    log_joint: np.ndarray,
    n_products: int,
    seed: np.random.SeedSequence,
) -> Bridge:
    """Make the proposal of some draws, and bridge from it to others, at which log h is known."""
    rng = np.random.default_rng(seed)
    proposal = problem.complete_data(fitted.thinned(n_products), rng)
    symmetric = problem.prior.is_exchangeable

    def log_q(draws: Draws) -> np.ndarray:
        weights, means, covariances = (
            array.reshape(-1, *array.shape[2:]) for array in draws
        )
        factors = cholesky(covariances, "covariances")
        return proposal.log_densities(weights, means, factors, symmetric=symmetric)

    mixtures = proposal.sample(log_joint.size, rng)
    proposed = Draws(
        np.maximum(np.stack([one.weights for one in mixtures]), SMALLEST_WEIGHT)[None],
        np.stack([one.means for one in mixtures])[None],
        np.stack([one.covariances for one in mixtures])[None],
    )
    heights = np.array([problem.log_likelihood(one) for one in mixtures])
    heights += problem.log_prior(*proposed)[0]
    return bridge(
        log_joint - log_q(held_out).reshape(log_joint.shape), heights - log_q(proposed)
    )
