"""Draws of a mixture whose number of components is unknown: starts, thinning, and the run.

Chains start at different numbers of components, from one to `MOST_AT_START`, so that R-hat of the
number of clusters says whether they forget it. There is no point estimate to relabel to: what is
computed of the draws is label-invariant.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.inference.em import initialize
from bayes_gmm.inference.em.problem import Problem
from bayes_gmm.inference.engines import CHEAP, CHEAP_ROWS, Drawn, go_on
from bayes_gmm.inference.gibbs import cost, gibbs
from bayes_gmm.inference.settings import sequences_of_starts, standardized
from bayes_gmm.model.number_of_components import NumberOfComponents
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import Structure
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.invariants import invariants

MOST_AT_START = 10


def starts(
    observations: Observations,
    number: NumberOfComponents,
    n_chains: int,
    seed: int | None,
    structure: Structure,
) -> list[Parameters]:
    """Choose a start for every chain: a draw given the labels of k-means, in the user's units."""
    problem = Problem.of(observations, 1, None, structure)
    most = min(MOST_AT_START, number.log_probabilities.size)
    data = initialize.sketch(problem.view, initialize.sketch_size(most, observations.n_features))
    data = data.filled(problem.mean, problem.covariance)
    most = min(most, len(data.rows))
    sizes = np.rint(np.geomspace(1, most, max(n_chains, 2))).astype(int)
    result = []
    for n_components, child in zip(sizes, sequences_of_starts(seed, n_chains), strict=False):
        rng = np.random.default_rng(child)
        labelled = next(iter(initialize.seeds(data, int(n_components), 1, rng)))
        prior = ConjugatePrior.default(observations, int(n_components))
        own = StructuredPrior.of(standardized(prior, problem.view), structure)
        result.append(problem.in_units(own.posterior(labelled).sample(rng)))
    return result


def run(
    observations: Observations,
    prior: Any,
    number: NumberOfComponents,
    structure: Structure,
    *,
    chains: int,
    seed: int | None,
    **settings: Any,
) -> Drawn:
    """Draw from the posterior; the settings are draws, tune, cores, progressbar.

    The pivot only says which rows are monitored.
    """
    at = starts(observations, number, chains, seed, structure)
    work = cost.of_a_sweep(observations.n_rows, MOST_AT_START, observations.n_features)
    thin = max(int(min(CHEAP_ROWS // observations.n_rows, CHEAP // work)), 1)
    runs = gibbs.longer_runs(
        observations, prior, at, structure=structure, number=number, thin=thin, seed=seed,
        **settings,
    )  # fmt: skip
    return go_on(_measured(runs, observations), may_go_on=True)


def _measured(runs: Iterator[Any], observations: Observations) -> Iterator[Drawn]:
    """Compute the label-invariant quantities of each run, at the same monitored rows."""
    pivot: Parameters | None = None
    for sampled in runs:
        posterior, stats = sampled["posterior"], sampled["sample_stats"]
        draws = Draws(*(posterior[name].to_numpy() for name in Draws._fields))
        if pivot is None:  # any draw, without what is there for room
            used = draws.weights[0, -1] > 0
            pivot = Parameters(*(array[0, -1][used] for array in draws))
        found = invariants(
            draws,
            observations,
            None,
            pivot,
            log_likelihood=stats["log_likelihood"].to_numpy(),
            component_counts=stats["component_counts"].to_numpy(),
        )
        yield Drawn(sampled, pivot, found)
