r"""The bootstrap: refits of an estimate with random row weights.

    nonparametric    counts ~ Multinomial(N, w / N)       rows drawn with replacement
    weighted         weights ~ N Dirichlet(w)             weighted-likelihood bootstrap

with w the row weights, 1 by default, and N their sum.

Each replicate is the same fit with other row weights, by EM started at the estimate, so that it
stays at the same optimum. Replicate b draws from a generator seeded by (seed, b), so that the
number of threads does not change the result.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from bayes_gmm.data import Observations
from bayes_gmm.data.row_weights import in_rows
from bayes_gmm.errors import InputError
from bayes_gmm.inference.em import em
from bayes_gmm.inference.em.problem import Problem
from bayes_gmm.model.mixture import mixture_moments
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import Structure

MAX_ITER = 10_000
FEWEST = 2  # replicates that have a standard deviation
TOLERANCE = 1e-6  # nats; within a thousandth of a standard error of the optimum


def counts(n_rows: int, seen: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """How often each row is drawn when N rows are drawn with replacement.

    Shapes: seen (n_rows,) -> (N,).

    Efron (1979), Ann. Statist. 7.
    """
    if seen is None:
        return np.bincount(rng.integers(n_rows, size=n_rows), minlength=n_rows).astype(float)
    total = seen.sum()
    n_drawn = max(1, round(total))
    return rng.multinomial(n_drawn, seen / total) * (total / n_drawn)


def shares(n_rows: int, seen: np.ndarray | None, rng: np.random.Generator) -> np.ndarray:
    """Dirichlet weights that sum to N, the Bayesian bootstrap's view of the population.

    Shapes: seen (n_rows,) -> (N,).

    Rubin (1981), Ann. Statist. 9; Newton & Raftery (1994), J. R. Statist. Soc. B 56.
    """
    if seen is None:
        weights = rng.standard_exponential(n_rows)
        return weights * (n_rows / weights.sum())
    weights = rng.standard_gamma(seen)
    return weights * (seen.sum() / weights.sum())


SCHEMES: dict[str, Callable[[int, np.ndarray | None, np.random.Generator], np.ndarray]] = {
    "bootstrap": counts,
    "weighted": shares,
}


class Refit(NamedTuple):
    """One replicate: where EM ended."""

    parameters: Parameters
    converged: bool


class Replicates(NamedTuple):
    """Estimates from weighted rows, in the user's units, with the labels that EM gave them."""

    weights: np.ndarray  # (R, K), of the replicates that did not collapse
    means: np.ndarray  # (R, K, D)
    covariances: np.ndarray  # (R, K, D, D)
    replicate: np.ndarray  # (R,), their numbers among those asked for
    converged: np.ndarray  # (R,)
    # replicates in which a component became singular or empty, or a column constant
    n_collapsed: int
    n_made: int  # how many were finished, those that collapsed included


def bootstrap(
    observations: Observations,
    parameters: Parameters,
    prior: ConjugatePrior | None,
    structure: Structure,
    *,
    equal_weights: bool = False,
    scheme: str,
    n_replicates: int,
    seed: int | None,
    cores: int | None,
    done: Callable[[], None],
) -> Replicates:
    """Refit with new weights of the rows, many times.

    An interrupt ends it early, and what was finished by then is returned.
    """
    draw = SCHEMES[scheme]
    entropy = np.random.SeedSequence(seed).entropy
    moments = _moments(parameters, structure)

    def one(index: int) -> Refit | None:
        rng = np.random.default_rng(np.random.SeedSequence(entropy, spawn_key=(index,)))
        weights = draw(observations.n_rows, observations.weights, rng)
        if prior is None and observations.weights is not None:
            weights = in_rows(weights)[0]
        try:
            return _refit(
                observations.weighted(weights), parameters, prior, structure, moments, equal_weights
            )
        except InputError:  # the rows drawn agree in some column, or a covariance is singular
            return None

    with threadpool_limits(limits=1, user_api="blas"):
        outcomes, finished = in_parallel(one, n_replicates, cores, done)
    return _gather(outcomes, finished, parameters)


def _refit(
    observations: Observations,
    parameters: Parameters,
    prior: ConjugatePrior | None,
    structure: Structure,
    moments: tuple[np.ndarray, np.ndarray],
    equal_weights: bool,
) -> Refit | None:
    """Run EM from the estimate with these row weights; None if a component collapses."""
    problem = Problem.of(
        observations,
        parameters.n_components,
        prior,
        structure,
        equal_weights=equal_weights,
        moments=moments,
        threads=1,
    )
    start = problem.rule.at(problem.standardized(parameters))
    run = em.run(problem.expect, problem.rule, start, max_iter=MAX_ITER, tol=TOLERANCE)
    if run.collapsed is not None:
        return None
    return Refit(problem.in_units(run.state.parameters), run.converged)


def in_parallel(
    one: Callable[[int], Any], n: int, cores: int | None, done: Callable[[], None]
) -> tuple[list[Any], list[int]]:
    """Outcomes of one(0), one(1), ..., and which were reached before an interrupt, if any came."""
    finished: dict[int, Any] = {}
    with ThreadPoolExecutor(cores or os.cpu_count() or 1) as pool:
        futures = {pool.submit(one, index): index for index in range(n)}
        try:
            for future in as_completed(futures):
                finished[futures[future]] = future.result()
                done()
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            if len(finished) < FEWEST:
                raise
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    order = sorted(finished)
    return [finished[index] for index in order], order


def _gather(
    outcomes: list[Refit | None], finished: list[int], parameters: Parameters
) -> Replicates:
    """Stack what did not collapse."""
    kept = [(i, refit) for i, refit in zip(finished, outcomes, strict=True) if refit is not None]

    def stacked(name: str) -> np.ndarray:
        values = [getattr(refit.parameters, name) for _, refit in kept]
        return np.array(values).reshape(len(kept), *getattr(parameters, name).shape)

    return Replicates(
        weights=stacked("weights"),
        means=stacked("means"),
        covariances=stacked("covariances"),
        replicate=np.array([i for i, _ in kept], dtype=int),
        converged=np.array([refit.converged for _, refit in kept], dtype=bool),
        n_collapsed=len(outcomes) - len(kept),
        n_made=len(outcomes),
    )


def _moments(parameters: Parameters, structure: Structure) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of the rows, as the fitted mixture has them."""
    mean, covariance = mixture_moments(parameters.weights, parameters.means, parameters.covariances)
    return mean, np.diag(np.diagonal(covariance)) if structure.is_diagonal else covariance
