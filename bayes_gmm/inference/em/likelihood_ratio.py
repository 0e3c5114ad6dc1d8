r"""The bootstrap likelihood-ratio test of K components against more.

    T = 2 {L(theta_M) - L(theta_K)},     M > K,        p = (1 + #{T_b >= T}) / (1 + B)

At a mixture of K components the parameters of further ones are not identified, so that T has no
chi-squared distribution. Its distribution is that of T_b in samples of N rows drawn from the
mixture of K that was fitted, each fitted as the data were: the same search, the same estimator,
the same entries missing. Replicate b draws from a generator seeded by (seed, K, b).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.errors import CollapseError, InputError
from bayes_gmm.inference.em.bootstrap import in_parallel
from bayes_gmm.inference.em.point import estimate
from bayes_gmm.kernels.label_counts import can_count
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import Structure


class RatioTest(NamedTuple):
    """A test of K components against more."""

    statistic: float
    p_value: float  # Not a number if no replicate could be fitted
    n_made: int  # replicates that could be fitted both ways


def likelihood_ratio(
    parameters: Parameters,
    larger: int,
    statistic: float,
    observations: Observations,
    structure: Structure,
    *,
    with_prior: bool,
    n_bootstrap: int,
    n_starts: int,
    seed: int | None,
    cores: int | None,
    done: Callable[[], None],
) -> RatioTest:
    """Compare a likelihood ratio, to `larger` components, with those of samples from the smaller.

    `with_prior` says that both fits are MAP estimates under the default prior, which is made anew
    of each sample. An interrupt ends the test early, and what was made by then counts.

    McLachlan (1987), Applied Statistics 36; Davison & Hinkley (1997), ch. 4, on the p-value.
    """
    entropy = np.random.SeedSequence(seed).entropy
    size = parameters.n_components

    def one(index: int) -> float:
        own = np.random.SeedSequence(entropy, spawn_key=(size, index))
        rng = np.random.default_rng(own)
        try:
            sampled = sampled_like(observations, parameters, rng)
            heights = [
                estimate(
                    sampled,
                    k,
                    ConjugatePrior.default(sampled, k) if with_prior else None,
                    structure,
                    n_starts=n_starts,
                    seed=int(own.generate_state(1)[0]),
                ).optimizer["log_likelihood"]
                for k in (size, larger)
            ]
        except (CollapseError, InputError):  # every start collapsed, or a column is constant
            return np.nan
        return 2 * float(heights[1] - heights[0])

    outcomes, _ = in_parallel(one, n_bootstrap, cores, done)
    made = np.array([value for value in outcomes if np.isfinite(value)])
    p_value = (1 + np.count_nonzero(made >= statistic)) / (1 + len(made)) if len(made) else np.nan
    return RatioTest(statistic, float(p_value), len(made))


def sampled_like(
    observations: Observations, parameters: Parameters, rng: np.random.Generator
) -> Observations:
    """Draw as many rows as were seen from a mixture, with the same entries missing."""
    times = counts(observations)
    x, _ = mixture.sample(parameters, int(times.sum()), rng)
    if not observations.is_complete:
        x[np.repeat(np.isnan(np.asarray(observations.values)), times, axis=0)] = np.nan
    return Observations.of(x, missing="mar")


def counts(observations: Observations) -> np.ndarray:
    """How often each row was seen, whole numbers (N,).

    Raises InputError for other weights: a sample has a whole number of rows.
    """
    if observations.weights is None:
        return np.ones(observations.n_rows, dtype=int)
    if not can_count(observations.weights).all():
        raise InputError(
            "row_weights has entries that are no whole numbers, and the bootstrap draws whole "
            'rows: leave "bootstrap" out of criteria, or pass whole numbers'
        )
    return observations.weights.astype(int)
