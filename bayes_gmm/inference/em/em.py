r"""EM: the maximum-likelihood or MAP estimate of a mixture, by a fixed point that only climbs.

The log-likelihood is a log of a sum, so its maximum has no closed form. Given responsibilities the
maximum has one, and given parameters the responsibilities have one. Taking turns never lowers the
objective, log p(x | theta) + log p(theta):

    E-step   statistics = expect(log_quadratic)                  one pass over the data
    M-step   parameters = rule.maximize(statistics)              K small problems

Under the flat prior this is maximum likelihood, under any other the joint posterior mode. Where the
climb is slow, Anderson's extrapolation guesses ahead; a guess that does not climb is thrown away.
"""

from typing import NamedTuple

import numpy as np

from bayes_gmm.inference.em.anderson import Anderson
from bayes_gmm.kernels.chunks import ONE_BLAS_THREAD, Expect
from bayes_gmm.kernels.moments import flatten, restore
from bayes_gmm.kernels.rule import Candidate, Rule
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.statistics import SufficientStatistics

ROUNDING = 4 * np.finfo(float).eps
SETTLING_STEPS = 30
PATIENCE = 3  # settling steps in a row that bring nothing, after which it ends
LEVEL = 1e-12  # what the objective may differ by, relatively, and still be the same
PLAIN_STEPS = 6  # how long to look at plain steps before deciding that they creep


class EMState(NamedTuple):
    """What the next step needs: the parameters, and the pass at these very parameters."""

    candidate: Candidate
    statistics: SufficientStatistics
    objective: float


class Collapse(NamedTuple):
    """A component as last seen before it collapsed: mean (D,), covariance (D, D), rows held."""

    mean: np.ndarray
    covariance: np.ndarray
    n_rows: float


class EMResult(NamedTuple):
    """Where one start ended."""

    state: EMState  # the last state with no component lost
    # log-likelihood + log prior at the start and after each iteration; never decreasing
    objectives: list[float]
    # whether the objective is within `tol` nats of its limit, as far as plain steps can tell
    converged: bool
    collapsed: int | None  # the component whose covariance became singular or whose rows ran out
    # components that collapsed before and were seeded anew, after which `objectives` begins
    collapses: tuple[Collapse, ...] = ()

    @property
    def parameters(self) -> Parameters:
        """Where it ended, in the coordinates of the pass."""
        return self.state.candidate.parameters

    @property
    def has_state(self) -> bool:
        """Whether there was a pass before the collapse: a start may be degenerate itself."""
        return bool(np.isfinite(self.state.objective))

    @property
    def collapse(self) -> Collapse:
        """The component that collapsed last."""
        k, theta = self.collapsed, self.parameters
        count = self.state.statistics.count
        return Collapse(theta.means[k], theta.covariances[k], float(count[k]))

    @property
    def all_collapses(self) -> tuple[Collapse, ...]:
        """Components that were seeded anew, and the one that ended the run."""
        ended = self.collapsed is not None and self.has_state
        return (*self.collapses, self.collapse) if ended else self.collapses


def joined(run: EMResult, rest: EMResult) -> EMResult:
    """One run made of two, the second of which began where the first ended."""
    return rest._replace(
        objectives=run.objectives + rest.objectives[1:], collapses=run.collapses + rest.collapses
    )


def evaluate(expect: Expect, candidate: Candidate) -> EMState:
    """E-step: the sufficient statistics and the objective at these parameters."""
    statistics = expect(candidate.log_quadratic)
    return EMState(candidate, statistics, statistics.log_normalizer + candidate.log_prior)


def step(expect: Expect, rule: Rule, state: EMState) -> EMState:
    """One iteration of EM: the M-step from this pass, and the pass at what it found.

    Returned: the same state, if the M-step lost a component.
    """
    candidate = rule.maximize(state.statistics, state.candidate.parameters.covariances)
    return state if candidate.lost >= 0 else evaluate(expect, candidate)


def accelerated_step(
    expect: Expect, rule: Rule, state: EMState, history: Anderson
) -> tuple[EMState, bool]:
    """Iterate once from extrapolated statistics, if the objective rises by it; else plainly.

    Returned: the same state, if the M-step lost a component; and whether the guess was good.
    """
    guess = history.extrapolate()
    if guess is not None:
        previous = state.candidate.parameters
        statistics = restore(guess, previous.means, rule.diagonal)
        candidate = rule.maximize(statistics, previous.covariances)
        if candidate.lost < 0:
            ahead = evaluate(expect, candidate)
            if ahead.objective >= state.objective:
                history.push(guess, flatten(ahead.statistics, rule.diagonal))
                return ahead, True
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
    start: Candidate | EMState,
    *,
    max_iter: int,
    tol: float,
    accelerate: bool = True,
) -> EMResult:
    r"""Iterate EM from one start until the objective is within tol of its limit.

    Plain steps of EM shrink in the end like a geometric series with some ratio r, so that what is
    left to gain is about r / (1 - r) times the last gain (Aitken's extrapolation). A small gain
    alone says nothing, because EM may converge slowly; and extrapolated steps have no such ratio.
    So when a gain falls below tol, plain steps decide: if their ratio says there is more to gain,
    extrapolation goes on.

    Dempster, Laird & Rubin (1977); Bohning et al. (1994) for the stopping rule.
    """
    state = start if isinstance(start, EMState) else evaluate(expect, start)
    if state.candidate.lost >= 0:
        return EMResult(state, [-np.inf], False, state.candidate.lost)
    objectives = [state.objective]
    history = Anderson()
    plain: list[float] = []  # gains of plain steps in a row
    guessing = False
    for _ in range(max_iter):
        guessed = False
        if guessing:
            after, guessed = accelerated_step(expect, rule, state, history)
        else:
            after = step(expect, rule, state)
        if after is state:
            lost = rule.maximize(state.statistics, state.candidate.parameters.covariances).lost
            return EMResult(state, objectives, False, lost)
        gain = after.objective - state.objective
        state = after
        objectives.append(state.objective)
        if guessing:
            # A plain step on the way to the next guess may be small for all that is left to gain.
            guessing = gain > (tol if guessed else ROUNDING * abs(state.objective))
            plain = []
            continue
        plain.append(gain)
        if remaining_gain(plain, ROUNDING * abs(state.objective)) <= tol:
            return EMResult(state, objectives, True, None)
        if accelerate and len(plain) >= PLAIN_STEPS:
            guessing = True
            history.forget()
    return EMResult(state, objectives, False, None)


@ONE_BLAS_THREAD
def settle(expect: Expect, rule: Rule, state: EMState) -> EMState:
    """Go on from a converged state until the parameters change in their last few digits only.

    Near an optimum the objective is flat: where it no longer changes, parameters still do, in the
    seventh digit. The residual of the fixed point goes on telling, and the fit no longer depends
    on where it came from.
    """
    history = Anderson()
    best, smallest, in_vain = state, np.inf, 0
    x = flatten(state.statistics, rule.diagonal)
    for _ in range(SETTLING_STEPS):
        previous = best.candidate.parameters
        candidate = rule.maximize(restore(x, previous.means, rule.diagonal), previous.covariances)
        if candidate.lost >= 0:
            break
        after = evaluate(expect, candidate)
        y = flatten(after.statistics, rule.diagonal)
        residual = float(np.abs(y - x).max())
        if after.objective < state.objective - LEVEL * abs(state.objective):
            break
        if residual < smallest:
            best, smallest, in_vain = after, residual, 0
        else:
            in_vain += 1
            if in_vain == PATIENCE:
                break
        history.push(x, y)
        guess = history.extrapolate()
        x = y if guess is None else guess
    return best


def remaining_gain(gains: list[float], rounding: float) -> float:
    """Estimate how far the objective still is from its limit, by Aitken's extrapolation.

    Returned: infinite as long as the gains do not shrink, zero once they are lost in rounding.
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
