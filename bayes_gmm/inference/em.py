r"""EM: the maximum-likelihood or MAP estimate of a mixture, by a fixed point that only climbs.

The log-likelihood is a log of a sum, so its maximum has no closed form. Given responsibilities the
maximum has one, and given parameters the responsibilities have one. Taking turns never lowers the
objective, log p(x | theta) + log p(theta):

    E-step   statistics = expect(parameters)              one pass over the data
    M-step   parameters = prior.posterior(statistics).mode()

Under the flat prior this is maximum likelihood, under any other the joint posterior mode.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.priors import Prior
from bayes_gmm.model.statistics import SufficientStatistics

Expect = Callable[[LogQuadratic], SufficientStatistics]

# A conditional variance this small beside the data's is rounding, not spread: sd ratio 1e-6.
VARIANCE_FLOOR = 1e-12
EMPTY_COUNT = 1e-3


class EMState(NamedTuple):
    """What the next step needs: the parameters, and the pass at these very parameters."""

    parameters: Parameters
    statistics: SufficientStatistics
    objective: float


class EMResult(NamedTuple):
    """Where one start ended.

    Attributes
    ----------
    state : EMState
        The last state with no component lost.
    objectives : list of float
        log-likelihood + log prior at the start and after each iteration; never decreasing.
    converged : bool
        Whether the objective is within `tol` nats of its limit, as far as its steps can tell.
    collapsed : int or None
        The component whose covariance became singular or whose rows ran out.
    """

    state: EMState
    objectives: list[float]
    converged: bool
    collapsed: int | None


def evaluate(expect: Expect, prior: Prior, parameters: Parameters) -> EMState:
    """E-step: the sufficient statistics and the objective at these parameters.

    Parameters
    ----------
    expect : callable
        LogQuadratic -> SufficientStatistics.
    prior : Prior
    parameters : Parameters

    Returns
    -------
    EMState
    """
    statistics = expect(parameters.log_quadratic())
    return EMState(
        parameters, statistics, statistics.log_normalizer + prior.log_density(parameters)
    )


def maximize(prior: Prior, statistics: SufficientStatistics) -> Parameters:
    """M-step: the parameters that are best given the responsibilities.

    Parameters
    ----------
    prior : Prior
    statistics : SufficientStatistics

    Returns
    -------
    Parameters
    """
    return prior.posterior(statistics).mode()


def run(
    expect: Expect,
    prior: Prior,
    start: Parameters,
    *,
    data_variances: np.ndarray,
    max_iter: int,
    tol: float,
) -> EMResult:
    r"""Iterate EM from one start until the objective is within tol of its limit.

    The steps of EM shrink in the end like a geometric series with some ratio r, so what is left
    to gain is about r / (1 - r) times the last step (Aitken's extrapolation). A small step alone
    would say nothing: EM may creep.

    Parameters
    ----------
    expect : callable
        LogQuadratic -> SufficientStatistics.
    prior : Prior
    start : Parameters
    data_variances : ndarray (D,)
        Squared diagonal of the Cholesky factor of the data's covariance, to judge collapse by.
    max_iter : int
    tol : float
        In nats of the objective.

    Returns
    -------
    EMResult

    References
    ----------
    Dempster, Laird & Rubin (1977); Bohning et al. (1994) for the stopping rule.
    """
    state = evaluate(expect, prior, start)
    objectives = [state.objective]
    for _ in range(max_iter):
        parameters = maximize(prior, state.statistics)
        lost = lost_component(parameters, state.statistics, prior, data_variances)
        if lost is not None:
            return EMResult(state, objectives, False, lost)
        state = evaluate(expect, prior, parameters)
        objectives.append(state.objective)
        if remaining_gain(objectives) <= tol:
            return EMResult(state, objectives, True, None)
    return EMResult(state, objectives, False, None)


def remaining_gain(objectives: list[float]) -> float:
    """Estimate how far the objective still is from its limit, by Aitken's extrapolation.

    Parameters
    ----------
    objectives : list of float
        One per iteration.

    Returns
    -------
    float
        Infinite as long as the steps do not shrink, zero once they are lost in rounding.
    """
    if len(objectives) < 3:  # noqa: PLR2004
        return np.inf
    before, last = objectives[-2] - objectives[-3], objectives[-1] - objectives[-2]
    rounding = 4 * np.finfo(float).eps * abs(objectives[-1])
    if last <= rounding and before <= rounding:
        return 0.0
    if not 0 <= last < before:
        return np.inf
    ratio = last / before
    return last * ratio / (1 - ratio)


def lost_component(
    parameters: Parameters,
    statistics: SufficientStatistics,
    prior: Prior,
    data_variances: np.ndarray,
) -> int | None:
    """Name the first component that has become singular or empty, if there is one.

    The likelihood is unbounded where a component shrinks onto too few distinct rows. No ridge is
    added to hide that: a proper prior prevents it, and otherwise the start is given up.

    Parameters
    ----------
    parameters : Parameters
        After the M-step.
    statistics : SufficientStatistics
        Before it.
    prior : Prior
    data_variances : ndarray (D,)

    Returns
    -------
    int or None
    """
    empty = statistics.count + prior.mean_precision < EMPTY_COUNT
    if empty.any():
        return int(np.argmax(empty))
    variances = np.einsum("kii->ki", parameters.covariances)
    if not (variances > 0).all():
        return int(np.argmax((variances <= 0).any(axis=1)))
    try:
        conditional = np.einsum("kii->ki", parameters.choleskys) ** 2
    except InputError:
        return int(np.argmin(np.linalg.eigvalsh(parameters.covariances)[:, 0]))
    thin = (conditional < VARIANCE_FLOOR * data_variances).any(axis=1)
    return int(np.argmax(thin)) if thin.any() else None
