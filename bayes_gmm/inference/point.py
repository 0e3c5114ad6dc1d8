"""The point estimate: several EM runs in standardized coordinates, the best one in the user's units."""

import warnings
from typing import Any, NamedTuple

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.errors import CollapseError, ConvergenceWarning, InputError
from bayes_gmm.inference import em, initialize
from bayes_gmm.kernels.chunks import Expect, expectation
from bayes_gmm.model.normal import cholesky
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.priors import Prior

STRUCTURES = {"VVV": "VVV", "full": "VVV"}


class PointEstimate(NamedTuple):
    """The best start's parameters in the user's units, and what the search reports."""

    parameters: Parameters
    optimizer: dict[str, Any]


def estimate(
    observations: Observations,
    n_components: int,
    prior: Prior | None,
    *,
    covariance: str,
    n_starts: int,
    max_iter: int,
    tol: float,
    seed: int | None,
) -> PointEstimate:
    """Fit a mixture from several starts and keep the best.

    Parameters
    ----------
    observations : Observations
    n_components : int
    prior : Prior or None
        In the user's units; None is maximum likelihood.
    covariance : str
    n_starts, max_iter : int
    tol : float
        In nats.
    seed : int or None

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
    if covariance not in STRUCTURES:
        raise InputError(
            f"covariance is {covariance!r}; the structures available are {', '.join(STRUCTURES)}"
        )
    origin, scale = observations.origin, observations.scale
    data = initialize.sketch(observations)
    initialize.require_components(n_components, data, observations.n_rows)
    expect = expectation(observations)
    data_variances = _conditional_variances(expect, observations)
    if prior is None:
        standard_prior = Prior.flat(n_components, observations.n_features)
    else:
        standard_prior = prior.rescale(-origin / scale, 1 / scale)
    rng = np.random.default_rng(seed)
    runs = [
        em.run(
            expect,
            standard_prior,
            start,
            data_variances=data_variances,
            max_iter=max_iter,
            tol=tol,
        )
        for start in initialize.starts(data, n_components, n_starts, rng)
    ]
    best = _best(runs, observations)
    # d(standardized)/d(user's units) is 1 / scale per feature, in the data's density and in the
    # prior's; the objective counts both in the user's units.
    log_likelihood = best.state.statistics.log_normalizer - observations.n_rows * np.log(scale).sum()
    parameters = best.state.parameters.rescale(origin, scale)
    parameters = parameters.reorder(np.lexsort(parameters.means.T[::-1]))
    log_prior = 0.0 if prior is None else prior.log_density(parameters)
    moved = log_likelihood + log_prior - best.state.objective
    optimizer = {
        "objective": np.array(best.objectives) + moved,
        "start_objective": np.array([run.state.objective for run in runs]) + moved,
        "start_iterations": np.array([len(run.objectives) - 1 for run in runs]),
        "start_converged": np.array([run.converged for run in runs]),
        "start_collapsed": np.array([run.collapsed is not None for run in runs]),
        "log_likelihood": log_likelihood,
        "log_prior": log_prior,
        "objective_final": log_likelihood + log_prior,
        "n_iterations": len(best.objectives) - 1,
        "converged": best.converged,
        "n_parameters": n_free_parameters(n_components, observations.n_features),
    }
    return PointEstimate(parameters, optimizer)


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
    n_rows = observations.n_rows
    covariance = _correlation(expectation(observations), observations) * n_rows / (n_rows - 1)
    standard = Prior.from_moments(np.zeros(observations.n_features), covariance, n_components)
    return standard.rescale(observations.origin, observations.scale)


def n_free_parameters(n_components: int, n_features: int) -> int:
    """Count the free parameters of a mixture: weights, means and covariances.

    Parameters
    ----------
    n_components, n_features : int

    Returns
    -------
    int
    """
    covariance = n_features * (n_features + 1) // 2
    return n_components - 1 + n_components * (n_features + covariance)


def _correlation(expect: Expect, observations: Observations) -> np.ndarray:
    """Covariance of the standardized data, by one pass with a single component."""
    n_features = observations.n_features
    one = LogQuadratic(np.zeros(1), np.zeros((1, n_features)), np.zeros((1, n_features, n_features)))
    statistics = expect(one)
    return statistics.scatter[0] / statistics.count[0]


def _conditional_variances(expect: Expect, observations: Observations) -> np.ndarray:
    """Variance of each standardized feature given those before it; none may be zero."""
    correlation = _correlation(expect, observations)
    try:
        variances = np.diagonal(cholesky(correlation)) ** 2
    except InputError:
        variances = np.zeros(observations.n_features)
    if (variances < em.VARIANCE_FLOOR).any():
        values, vectors = np.linalg.eigh(correlation)
        involved = np.flatnonzero(np.abs(vectors[:, 0]) > 1e-3)  # noqa: PLR2004
        names = ", ".join(observations.feature_names[j] for j in involved)
        raise InputError(
            f"X has columns that determine each other exactly ({names}), so no covariance can be "
            "estimated; drop one of them"
        )
    return variances


def _best(runs: list[em.EMResult], observations: Observations) -> em.EMResult:
    standing = [run for run in runs if run.collapsed is None]
    if not standing:
        lost = runs[0].collapsed
        raise CollapseError(
            f"all {len(runs)} starts collapsed: component {lost} shrank onto too few distinct rows "
            f"of {observations.n_rows}, where the likelihood is unbounded; "
            'use prior="default" or fewer components'
        )
    best = max(standing, key=lambda run: run.state.objective)
    if not best.converged:
        warnings.warn(
            f"EM had not converged after {len(best.objectives) - 1} iterations; raise max_iter",
            ConvergenceWarning,
            stacklevel=4,
        )
    return best
