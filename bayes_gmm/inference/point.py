"""The point estimate: the search in standardized coordinates, its outcome in the user's units."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError
from bayes_gmm.inference import initialize, spurious
from bayes_gmm.inference.blur import blurred
from bayes_gmm.inference.em import EMState
from bayes_gmm.inference.search import carried_over, climb, finished, search
from bayes_gmm.kernels.chunks import ONE_BLAS_THREAD, Expect, expectation
from bayes_gmm.kernels.climb import climber
from bayes_gmm.kernels.cpu import accumulate_for
from bayes_gmm.kernels.rule import VARIANCE_FLOOR, Candidate, Rule
from bayes_gmm.model.covariance import Structure
from bayes_gmm.model.normal import cholesky
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.priors import Prior
from bayes_gmm.model.statistics import entropy

N_STARTS, MAX_ITER, TOLERANCE = 30, 10_000, 1e-10

Starts = Callable[[Rule, initialize.Sketch, np.random.Generator], Iterable[Candidate]]


class PointEstimate(NamedTuple):
    """The best start's parameters in the user's units, and what the search reports.

    Attributes
    ----------
    parameters : Parameters
    optimizer : dict
    optima : list of EMState
        All distinct optima, the best first, in the coordinates (x - origin) / scale.
    origin, scale : ndarray (D,)
    """

    parameters: Parameters
    optimizer: dict[str, Any]
    optima: list[EMState]
    origin: np.ndarray
    scale: np.ndarray


@ONE_BLAS_THREAD
def estimate(
    observations: Observations,
    n_components: int,
    prior: Prior | None,
    structure: Structure,
    *,
    n_starts: int = N_STARTS,
    max_iter: int = MAX_ITER,
    tol: float = TOLERANCE,
    seed: int | list[int] | None,
    starts: Starts | None = None,
    blur: float = 0.0,
    equal_weights: bool = False,
) -> PointEstimate:
    """Fit a mixture from several starts and keep the best.

    Parameters
    ----------
    observations : Observations
    n_components : int
    prior : Prior or None
        In the user's units; None is maximum likelihood.
    structure : Structure
    n_starts, max_iter : int
    tol : float
        In nats.
    seed : int, list of int or None
    starts : callable, optional
        Gives the starts that each are climbed from, in the coordinates of `standardized`; there is
        then no search, and the components keep their order.
    blur : float
        Variance of the cloud that each row stands for, in the user's units.
    equal_weights : bool
        Hold every weight at 1 / K.

    Returns
    -------
    PointEstimate

    Raises
    ------
    InputError
        If there are too few rows, or features that determine each other.
    CollapseError
        If every start lost a component.
    """
    n_rows, n_features = observations.total_weight, observations.n_features
    view = standardized(observations, structure)
    origin, scale = view.origin, view.scale
    data = initialize.sketch(view)
    sample = data.observations(view)
    initialize.require_components(n_components, data, observations.n_rows)
    accumulate = accumulate_for(structure)
    expect = expectation(view, accumulate)
    # All of few rows, or a part of many: where the starts are compared.
    explore = expect if sample is view else expectation(sample, accumulate)
    if blur:
        expect, explore = (blurred(one, blur / scale**2) for one in (expect, explore))
    covariance = _covariance(expect, n_features)
    if structure.orientation == "I":
        covariance = np.diag(np.diagonal(covariance))  # correlation plays no part
    worth: spurious.Worth = spurious.objective
    if prior is None:
        standard_prior = Prior.flat(n_components, n_features)
        worth = spurious.penalized(covariance, n_rows)
    else:
        standard_prior = prior.rescale(-origin / scale, 1 / scale)
    variances = _conditional_variances(covariance, view)
    rule = Rule(standard_prior, structure, variances, equal_weights=equal_weights)
    rng = np.random.default_rng(seed)
    if starts is None:
        seeds = initialize.seeds(data, n_components, n_starts, rng)
        share = 1.0 if sample is view else n_rows / data.counts.sum()
        climb_all = climber(rule, data.rows, share * data.counts, blur / scale**2)
        found = search(explore, rule, climb_all, seeds, worth, data, rng, max_iter=max_iter)
        if sample is not view:
            found = carried_over(expect, rule, found, worth, max_iter)
        found = finished(expect, rule, found, worth, max_iter=max_iter, tol=tol)
    else:
        found = climb(expect, rule, starts(rule, data, rng), worth, max_iter=max_iter, tol=tol)
    best = found.optima[0].run
    # d(standardized)/d(user's units) is 1 / scale per feature, in the data's density and in the
    # prior's; the objective counts both in the user's units.
    log_likelihood = best.state.statistics.log_normalizer - n_rows * np.log(scale).sum()
    parameters = best.parameters.rescale(origin, scale)
    log_prior = 0.0 if prior is None else prior.log_density(parameters)
    if starts is None and (prior is None or prior.is_exchangeable):
        parameters = parameters.reorder(np.lexsort(parameters.means.T[::-1]))
    moved = log_likelihood + log_prior - best.state.objective
    optimizer = {
        "objective": np.array(best.objectives) + moved,
        "start_objective": np.array([run.state.objective for run in found.runs]) + moved,
        "start_iterations": np.array([len(run.objectives) - 1 for run in found.runs]),
        "start_converged": np.array([run.converged for run in found.runs]),
        "start_collapsed": np.array([run.collapsed is not None for run in found.runs]),
        "optimum_objective": np.array([o.run.state.objective for o in found.optima]) + moved,
        "optimum_starts": np.array([o.n_starts for o in found.optima]),
        "optimum_spurious": np.array(
            [o.run.state.objective > best.state.objective for o in found.optima]
        ),
        "log_likelihood": log_likelihood,
        "log_prior": log_prior,
        "objective_final": log_likelihood + log_prior,
        "n_iterations": len(best.objectives) - 1,
        "converged": best.converged,
        "entropy": entropy(best.state.candidate.log_quadratic, best.state.statistics),
        "n_parameters": (0 if equal_weights else n_components - 1)
        + n_components * n_features
        + structure.n_parameters(n_components, n_features),
    }
    optima = [optimum.run.state for optimum in found.optima]
    return PointEstimate(parameters, optimizer, optima, origin, scale)


def standardized(observations: Observations, structure: Structure) -> Observations:
    """Choose the coordinates of the search: each feature in its own sd, where the structure allows.

    Parameters
    ----------
    observations : Observations
    structure : Structure

    Returns
    -------
    Observations
        The same rows, with one scale for all features where other units would be another model.
    """
    if structure.is_equivariant:
        return observations
    common = np.exp(np.log(observations.scale).mean())
    return replace(observations, scale=np.full(observations.n_features, common))


def default_prior(observations: Observations, n_components: int) -> Prior:
    """Build the default prior from the data, one pass over them.

    Parameters
    ----------
    observations : Observations
    n_components : int

    Returns
    -------
    Prior
        In the user's units.
    """
    n_rows = observations.total_weight
    covariance = _covariance(expectation(observations), observations.n_features)
    unbiased = covariance * n_rows / (n_rows - 1)
    standard = Prior.from_moments(np.zeros(observations.n_features), unbiased, n_components)
    return standard.rescale(observations.origin, observations.scale)


def _covariance(expect: Expect, n_features: int) -> np.ndarray:
    """Covariance of the standardized data, by one pass with a single component."""
    one = LogQuadratic(
        np.zeros(1), np.zeros((1, n_features)), np.zeros((1, n_features, n_features))
    )
    statistics = expect(one)
    return statistics.scatter[0] / statistics.count[0]


def _conditional_variances(covariance: np.ndarray, observations: Observations) -> np.ndarray:
    """Variance of each standardized feature given those before it; none may be zero."""
    try:
        variances = np.diagonal(cholesky(covariance)) ** 2
    except InputError:
        variances = np.zeros(len(covariance))
    if (variances < VARIANCE_FLOOR * np.diagonal(covariance)).any():
        vectors = np.linalg.eigh(covariance)[1]
        involved = np.flatnonzero(np.abs(vectors[:, 0]) > 1e-3)
        names = ", ".join(observations.feature_names[j] for j in involved)
        raise InputError(
            f"X has columns that determine each other exactly ({names}), so no covariance can be "
            "estimated; drop one of them"
        )
    return variances
