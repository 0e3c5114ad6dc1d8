r"""The evidence of a number of components, log p(x | K), from draws of the posterior.

    p(x | K) = integral of p(x | theta) p(theta | K) over theta

by bridge sampling between the posterior and the mean of complete-data densities (`complete_data`).
That is made from one half of the draws and compared with the other half, and the other way round;
the estimate is the mean of both. Rows, draws and prior are taken in the coordinates of a pass,
(x - origin) / scale, where a density of rows is larger by the product of the scales.
"""

from typing import NamedTuple, Self

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
    """log p(x | K), and how well it is known."""

    log_evidence: float
    standard_error: float
    effective_draws: float
    effective_proposals: float
    halves: tuple[float, float]  # the estimates from half of the draws each


class Mixtures(NamedTuple):
    """Mixtures in the coordinates of a pass, with Cholesky factors of their covariances."""

    weights: np.ndarray  # (..., K)
    means: np.ndarray  # (..., K, D)
    factors: np.ndarray  # (..., K, D, D)

    @classmethod
    def of(cls, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> Self:
        """Factor the covariances; no weight is exactly zero."""
        factors = cholesky(covariances, "covariances")
        return cls(np.maximum(weights, SMALLEST_WEIGHT), means, factors)


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
    inside = Draws(
        draws.weights, (draws.means - origin) / scale, draws.covariances / np.outer(scale, scale)
    )
    own = prior.rescale(-origin, np.ones_like(scale)).rescale(np.zeros_like(scale), 1 / scale)
    problem = Problem(observations, own, structure)
    mixtures = Mixtures.of(*inside)
    log_joint = log_likelihood + observations.log_volume + problem.prior.log_densities(*mixtures)
    middle = draws.n_draws // 2
    parts = slice(None, middle), slice(middle, None)
    seeds = np.random.SeedSequence(seed).spawn(2)
    first, second = (
        _bridged(
            problem,
            Draws(*(array[:, fitted] for array in inside)).thinned(n_labellings),
            Mixtures(*(array[:, held_out] for array in mixtures)),
            log_joint[:, held_out],
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
    fitted: list[Parameters],
    held_out: Mixtures,
    log_joint: np.ndarray,
    rng: np.random.Generator,
) -> Bridge:
    """Make a proposal of some draws, and bridge from it to others, (chain, draw) with log h."""
    proposal, symmetric = problem.complete_data(fitted, rng), problem.is_exchangeable
    flat = Mixtures(*(array.reshape(-1, *array.shape[2:]) for array in held_out))
    of_draws = log_joint - proposal.log_densities(*flat, symmetric=symmetric).reshape(
        log_joint.shape
    )
    proposed = proposal.sample(log_joint.size, rng)
    own = Mixtures.of(
        *(
            np.stack([getattr(one, name) for one in proposed])
            for name in ("weights", "means", "covariances")
        )
    )
    heights = np.array([problem.log_likelihood(one) for one in proposed])
    heights += problem.prior.log_densities(*own)
    return bridge(of_draws, heights - proposal.log_densities(*own, symmetric=symmetric))
