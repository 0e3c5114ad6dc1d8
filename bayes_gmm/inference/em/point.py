"""Point estimates: a search in standardized coordinates, with its result in the user's units."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.data.row_weights import in_rows
from bayes_gmm.errors import CollapseError
from bayes_gmm.inference.em import existence, initialize, ranking
from bayes_gmm.inference.em.problem import Problem
from bayes_gmm.inference.em.runner import Runner
from bayes_gmm.inference.em.search import Effort, Search, run_each, search
from bayes_gmm.kernels.chunks import ONE_BLAS_THREAD
from bayes_gmm.kernels.membership import Ensemble
from bayes_gmm.kernels.rule import Candidate, Rule
from bayes_gmm.kernels.runs import Run, State
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import entropy
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.model.structures.prior import within

N_STARTS, MAX_ITER, TOLERANCE = 30, 10_000, 1e-10
MOST_COMPARED = 20

Starts = Callable[[Rule, initialize.Sketch, np.random.Generator], Iterable[Candidate]]


class StartCollapse(NamedTuple):
    """A component that collapsed, before it did so, in the user's units: (D,), (D, D), rows."""

    start: int
    mean: np.ndarray
    covariance: np.ndarray
    n_rows: float


class PointEstimate(NamedTuple):
    """The best optimum in the user's units, and the report of the search."""

    parameters: Parameters
    optimizer: dict[str, Any]
    # all distinct optima, the best first, in the coordinates (x - origin) / scale
    optima: list[State]
    origin: np.ndarray  # (D,)
    scale: np.ndarray  # (D,)
    # components that collapsed in the starts, whether or not the starts went on without them
    collapses: list[StartCollapse]

    @property
    def mixtures(self) -> list[Parameters]:
        """The optima in the user's units, as many of the best as are worth comparing."""
        others = (optimum.candidate.parameters for optimum in self.optima[1:MOST_COMPARED])
        return [self.parameters, *(one.rescale(self.origin, self.scale) for one in others)]


def mode(
    observations: Observations,
    n_components: int,
    prior: ConjugatePrior,
    structure: Structure = UNCONSTRAINED,
    *,
    seed: int | None,
) -> PointEstimate:
    """Find the modes of a posterior, at which chains start and to which draws are matched."""
    least = replace(prior, concentration=np.maximum(prior.concentration, 1))
    return estimate(observations, n_components, least, structure, seed=seed)


@ONE_BLAS_THREAD
def estimate(
    observations: Observations,
    n_components: int,
    prior: ConjugatePrior | None,
    structure: Structure,
    *,
    n_starts: int = N_STARTS,
    max_iter: int = MAX_ITER,
    tol: float = TOLERANCE,
    seed: int | list[int] | None,
    starts: Starts | None = None,
    reg_covar: float = 0.0,
    equal_weights: bool = False,
) -> PointEstimate:
    """Fit a mixture from several starts and keep the best.

    Without a prior, weights that are no counts are brought to the scale of rows for the search.
    `starts` gives starts that are each followed to their end, in the coordinates of the problem;
    there is then no search, and components keep their order. `reg_covar` is added to the diagonal
    of each covariance, in the user's units.
    """
    observations, unit = (observations, 1.0) if prior else _at_scale_of_rows(observations)
    n_features = observations.n_features
    data = initialize.sketch(
        structure.standardized(observations), initialize.sketch_size(n_components, n_features)
    )
    proper = prior is not None and prior.is_proper
    if not proper:
        existence.require_components(n_components, observations.n_counted, len(data.rows))
    problem = Problem.of(
        observations,
        n_components,
        prior,
        structure,
        equal_weights=equal_weights,
        reg_covar=reg_covar,
    )
    view = problem.view
    if not proper:
        existence.require_spread(
            problem.covariance, view.feature_names, observations.n_counted, len(data.rows)
        )
    data = data.filled(problem.mean, problem.covariance)
    rng = np.random.default_rng(seed)
    try:
        if starts is None:
            seeds = initialize.seeds(data, n_components, n_starts, rng)
            effort = Effort.of(
                n_starts, n_components, step_cost(structure, n_components, data.rows)
            )
            by_mass = ranking.by_mass(problem.prior, structure, equal_weights=equal_weights)
            runner = Runner.of(problem, data, rng, max_iter)
            found = search(runner, seeds, effort, tol=tol, order=by_mass if proper else None)
        else:
            score = ranking.penalized(problem.covariance, view.total_weight)
            given = starts(problem.rule, data, rng)
            found = run_each(problem.expect, problem.rule, given, score, max_iter=max_iter, tol=tol)
    except CollapseError as error:
        raise CollapseError(str(error), _collapses(error.collapses, view, unit)) from None
    # d(standardized)/d(user's units) is 1 / scale per feature, in the data's density and in the
    # prior's; the objective counts both in the user's units.
    best, to_units = found.optima[0].run, -view.log_volume
    optima = [optimum.run.state for optimum in found.optima]
    parameters, rows = problem.in_units(best.state.parameters), best.state.statistics.count
    log_prior = 0.0 if prior is None else within(prior, structure).log_density(parameters)
    if starts is None and (prior is None or prior.is_exchangeable):
        order = parameters.order_of_means
        parameters, rows = parameters.reorder(order), rows[order]
    optimizer = {
        **_search_report(found, to_units, log_prior, unit),
        "entropy": unit * _entropy(best.state, view),
        "optimum_log_mass": to_units
        + ranking.log_masses(optima, problem.prior, structure, equal_weights=equal_weights),
        "component_spurious": ranking.rests_on_few(rows, structure, n_features),
        "n_parameters": structure.n_free(n_components, n_features)
        - (n_components - 1 if equal_weights else 0),
    }
    return PointEstimate(
        parameters, optimizer, optima, view.origin, view.scale, _collapses(found.runs, view, unit)
    )


def _at_scale_of_rows(observations: Observations) -> tuple[Observations, float]:
    """Bring weights to a scale at which one is about a row; also the unit, the old over the new."""
    weights, unit = in_rows(observations.weights)
    return replace(observations, weights=weights), unit


def _search_report(found: Search, to_units: float, log_prior: float, unit: float) -> dict[str, Any]:
    """What `optimizer_result` says of the search, heights in the user's units of rows and of X."""
    best = found.optima[0].run
    log_likelihood = best.state.statistics.log_normalizer + to_units
    moved = log_likelihood + log_prior - best.state.objective
    heights = np.array([optimum.run.state.objective for optimum in found.optima])
    return {
        "objective": unit * (np.array(best.objectives) + moved),
        "start_objective": unit * (np.array([run.state.objective for run in found.runs]) + moved),
        "start_iterations": np.array([len(run.objectives) - 1 for run in found.runs]),
        "start_converged": np.array([run.converged for run in found.runs]),
        "start_collapsed": np.array([bool(run.all_collapses) for run in found.runs]),
        "swaps_in_vain": found.swaps_in_vain,
        "still_improving": found.still_improving,
        "optimum_objective": unit * (heights + moved),
        "optimum_starts": np.array([optimum.n_starts for optimum in found.optima]),
        "optimum_spurious": heights > heights[0],
        "optimum_score": unit * (np.array([o.score for o in found.optima]) + to_units),
        "log_likelihood": unit * log_likelihood,
        "log_prior": log_prior,
        "objective_final": unit * (log_likelihood + log_prior),
        "n_iterations": len(best.objectives) - 1,
        "converged": best.converged,
    }


def _entropy(state: State, view: Observations) -> float:
    """Entropy of the labels of all rows, in nats."""
    if view.is_complete:
        return entropy(state.candidate.log_quadratic, state.statistics)
    rows = (np.asarray(view.values) - view.origin) / view.scale
    _, entropies = Ensemble.of([state.candidate.parameters]).membership(rows)
    return float(entropies.sum() if view.weights is None else view.weights @ entropies)


def _collapses(runs: Sequence[Run], view: Observations, unit: float) -> list[StartCollapse]:
    """Components that starts lost, in the user's units."""
    scales = np.outer(view.scale, view.scale)
    return [
        StartCollapse(
            start, view.origin + view.scale * c.mean, c.covariance * scales, unit * c.n_rows
        )
        for start, run in enumerate(runs)
        for c in run.all_collapses
    ]


def step_cost(structure: Structure, n_components: int, rows: np.ndarray) -> float:
    """Operations of a step of EM on these rows, about."""
    n_rows, n_features = rows.shape
    if structure.is_diagonal:
        return n_components * n_rows * (2 * n_features + 10)
    return n_components * (n_rows * (n_features**2 + 10) + n_features**3)
