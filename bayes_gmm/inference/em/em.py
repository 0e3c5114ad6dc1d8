r"""EM: the maximum-likelihood or MAP estimate of a mixture.

The log-likelihood is a log of a sum, so its maximum has no closed form. But given responsibilities
the maximum has a closed form, and given parameters the responsibilities have one. Alternating the
two steps never decreases the objective, log p(x | theta) + log p(theta):

    E-step   statistics = expect(log_quadratic)                  one pass over the data
    M-step   parameters = rule.maximize(statistics)              K small problems

Under the flat prior this is maximum likelihood, under any other prior the joint posterior mode. A
slow run is accelerated by Anderson's extrapolation of the statistics; an accelerated step that
decreases the objective is rejected. `model.em` is the same algorithm in its simplest form.
The loop serves variational Bayes as well, whose rule turns the statistics into a distribution.
"""

from typing import Protocol

import numpy as np

from bayes_gmm.inference.em.anderson import Anderson
from bayes_gmm.kernels.chunks import ONE_BLAS_THREAD, Expect
from bayes_gmm.kernels.moments import flatten, restore
from bayes_gmm.kernels.rule import Candidate
from bayes_gmm.kernels.runs import Run, State
from bayes_gmm.model.statistics import SufficientStatistics

UNCHANGED = 4 * np.finfo(float).eps  # relative gain that is rounding
PLAIN_STEPS = 6  # how many plain steps show that a run is slow
POLISHING_STEPS = 30
PATIENCE = 3  # polishing steps in a row that bring nothing, after which it ends
SAME = 1e-12  # relative difference of objectives that are the same


class Rule(Protocol):
    """What the loop asks of the M-step: `kernels.rule.Rule`, or that of variational Bayes."""

    diagonal: bool

    def maximize(self, statistics: SufficientStatistics, previous: np.ndarray) -> Candidate:
        """Return what the statistics lead to; previous (K, D, D)."""


def evaluate(expect: Expect, candidate: Candidate) -> State:
    """E-step: the sufficient statistics and the objective at these parameters."""
    statistics = expect(candidate.log_quadratic)
    return State(candidate, statistics, statistics.log_normalizer + candidate.log_prior)


def step(expect: Expect, rule: Rule, state: State) -> State:
    """One iteration of EM; the same state, if the M-step lost a component."""
    candidate = rule.maximize(state.statistics, state.parameters.covariances)
    return state if candidate.lost >= 0 else evaluate(expect, candidate)


def step_from(expect: Expect, rule: Rule, moments: np.ndarray, state: State) -> State | None:
    """One iteration from given raw moments; None if the M-step lost a component."""
    theta = state.parameters
    candidate = rule.maximize(restore(moments, theta.means, rule.diagonal), theta.covariances)
    return None if candidate.lost >= 0 else evaluate(expect, candidate)


def accelerated_step(
    expect: Expect, rule: Rule, state: State, history: Anderson
) -> tuple[State, bool]:
    """One iteration from extrapolated moments, if the objective rises by it; else a plain one.

    The same state, if the M-step lost a component; and whether the step was accelerated.
    """
    extrapolated = history.extrapolate()
    if extrapolated is not None:
        after = step_from(expect, rule, extrapolated, state)
        if after is not None and after.objective >= state.objective:
            history.push(extrapolated, flatten(after.statistics, rule.diagonal))
            return after, True
        history.forget()
    after = step(expect, rule, state)
    if after is not state:
        old, new = (flatten(s.statistics, rule.diagonal) for s in (state, after))
        history.push(old, new)
    return after, False


@ONE_BLAS_THREAD
def run(
    expect: Expect,
    rule: Rule,
    start: Candidate | State,
    *,
    max_iter: int,
    tol: float,
    accelerate: bool = True,
) -> Run:
    r"""Iterate EM from one start until the objective is within tol nats of its limit.

    A small gain is not convergence, because EM can be slow, and accelerated steps do not shrink
    geometrically. Convergence is therefore declared from consecutive plain steps only: those shrink
    like a geometric series with some ratio r, so that what is left to gain is about r / (1 - r)
    times the last gain (Aitken's extrapolation). Where that is much, acceleration goes on.

    Dempster, Laird & Rubin (1977); Bohning et al. (1994) for the stopping rule.
    """
    state = start if isinstance(start, State) else evaluate(expect, start)
    if state.candidate.lost >= 0:
        return Run(state, [-np.inf], False, state.candidate.lost)
    objectives = [state.objective]
    history = Anderson()
    plain: list[float] = []  # gains of plain steps in a row
    accelerating = False
    for _ in range(max_iter):
        accelerated = False
        if accelerating:
            after, accelerated = accelerated_step(expect, rule, state, history)
        else:
            after = step(expect, rule, state)
        if after is state:
            lost = rule.maximize(state.statistics, state.parameters.covariances).lost
            return Run(state, objectives, False, lost)
        gain = after.objective - state.objective
        state = after
        objectives.append(state.objective)
        if accelerating:
            # A plain step between accelerated ones may be small however much is left to gain.
            accelerating = gain > (tol if accelerated else UNCHANGED * abs(state.objective))
            plain = []
            continue
        plain.append(gain)
        if remaining_gain(plain, UNCHANGED * abs(state.objective)) <= tol:
            return Run(state, objectives, True, None)
        if accelerate and len(plain) >= PLAIN_STEPS:
            accelerating = True
            history.forget()
    return Run(state, objectives, False, None)


@ONE_BLAS_THREAD
def polish(expect: Expect, rule: Rule, state: State) -> State:
    """Go on from a converged state until the parameters change in their last few digits only.

    Near an optimum the objective is flat: where it no longer changes, parameters still do, in the
    seventh digit. The residual of the fixed point still shrinks, and the fit no longer depends on
    where it came from.
    """
    history = Anderson()
    best, smallest, in_vain = state, np.inf, 0
    x = flatten(state.statistics, rule.diagonal)
    for _ in range(POLISHING_STEPS):
        after = step_from(expect, rule, x, best)
        if after is None or after.objective < state.objective - SAME * abs(state.objective):
            break
        y = flatten(after.statistics, rule.diagonal)
        residual = float(np.abs(y - x).max())
        if residual < smallest:
            best, smallest, in_vain = after, residual, 0
        else:
            in_vain += 1
            if in_vain == PATIENCE:
                break
        history.push(x, y)
        extrapolated = history.extrapolate()
        x = y if extrapolated is None else extrapolated
    return best


def remaining_gain(gains: list[float], rounding: float) -> float:
    """Estimate from the gains of plain steps how far the objective still is from its limit.

    Infinite as long as the gains do not shrink, zero once they are lost in rounding.
    """
    if len(gains) < 2:
        return np.inf
    before, last = gains[-2:]
    if last <= rounding and before <= rounding:
        return 0.0
    if not last < before:
        return np.inf
    ratio = max(last, rounding) / before
    return max(last, rounding) * ratio / (1 - ratio) if ratio < 1 else np.inf
