"""The search for the best optimum: many short climbs, the most promising ones finished.

The likelihood of a mixture has many local maxima, and EM ends in the one it starts under. A few
iterations tell promising starts from poor ones; only the best of them are followed to the end.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from bayes_gmm.errors import CollapseError
from bayes_gmm.inference import em
from bayes_gmm.inference.initialize import Sketch
from bayes_gmm.inference.spurious import Worth
from bayes_gmm.kernels.chunks import Expect
from bayes_gmm.kernels.rule import Candidate, Rule
from bayes_gmm.model.statistics import SufficientStatistics

SHORT = 15
FINISHED = 5
SWAPS = 20
NEAR = 3.0  # nats below the best so far that a short climb may be and still be worth following
NEARLY = 1e-2  # nats; how closely optima are approached until the best one is known
CARRIED = 3  # optima of a part of the data that are followed on the whole
SAME = 5e-2  # nats; optima this close are one


class Optimum(NamedTuple):
    """A local maximum that was reached.

    Attributes
    ----------
    run : EMResult
        The start that came closest to it.
    n_starts : int
        How many starts reached it.
    worth : float
        What optima are ranked by; below the objective where a component has all but vanished.
    """

    run: em.EMResult
    n_starts: int
    worth: float


class Search(NamedTuple):
    """What several starts came to.

    Attributes
    ----------
    optima : list of Optimum
        Distinct local maxima, the best one first.
    runs : list of EMResult
        One per start, in order; those not followed stop after `SHORT` iterations.
    """

    optima: list[Optimum]
    runs: list[em.EMResult]


def search(
    expect: Expect,
    rule: Rule,
    seeds: Iterable[SufficientStatistics],
    worth: Worth,
    data: Sketch,
    rng: np.random.Generator,
    *,
    max_iter: int,
    tol: float,
) -> Search:
    """Climb a little from every start, and nearly to the end from the most promising.

    Parameters
    ----------
    expect : callable
    rule : Rule
    seeds : iterable of SufficientStatistics
    worth : callable
        What to rank states by.
    data : Sketch
    rng : numpy.random.Generator
    max_iter : int
    tol : float
        In nats.

    Returns
    -------
    Search

    Raises
    ------
    CollapseError
        If every start lost a component.

    References
    ----------
    Biernacki, Celeux & Govaert (2003), Comput. Statist. Data Anal. 41, on short runs of EM.
    """
    climber = Climber(expect, rule, worth, max_iter, tol)
    runs = [climber.short(rule.maximize(seed, seed.second)) for seed in seeds]
    standing = sorted(
        (i for i, run in enumerate(runs) if run.collapsed is None),
        key=lambda i: worth(runs[i].state),
        reverse=True,
    )
    followed: list[em.EMResult] = []
    for i in standing:
        if len(followed) == FINISHED:
            break
        runs[i] = climber.follow(runs[i])
        if runs[i].collapsed is None:
            followed.append(runs[i])
    if not followed:
        raise collapse(runs)
    best = max(followed, key=lambda run: worth(run.state))
    if len(best.parameters.weights) > 1:
        for _ in range(SWAPS):
            run = climber.short(swapped(best.state, data, rule, rng))
            if run.collapsed is None and worth(run.state) > worth(best.state) - NEAR:
                run = climber.follow(run)
                if run.collapsed is None:
                    followed.append(run)
                    best = max(best, run, key=lambda run: worth(run.state))
    return Search(distinct(followed, worth), runs)


def carried_over(expect: Expect, rule: Rule, found: Search, worth: Worth, max_iter: int) -> Search:
    """Follow the best optima of a part of the data up to optima of the whole.

    Parameters
    ----------
    expect : callable
        Of the whole data.
    rule : Rule
    found : Search
        In a part of it.
    worth : callable
    max_iter : int

    Returns
    -------
    Search

    Raises
    ------
    CollapseError
        If every one of them lost a component.
    """
    starts = [optimum.run.state.candidate for optimum in found.optima[:CARRIED]]
    climbed = climb(expect, rule, starts, worth, max_iter=max_iter, tol=NEARLY)
    return climbed._replace(runs=found.runs)


def finished(
    expect: Expect, rule: Rule, found: Search, worth: Worth, *, max_iter: int, tol: float
) -> Search:
    """Follow the best optimum to the end, until its parameters stand still.

    Parameters
    ----------
    expect : callable
    rule : Rule
    found : Search
        Whose optima are reached nearly.
    worth : callable
    max_iter : int
    tol : float
        In nats.

    Returns
    -------
    Search

    Raises
    ------
    CollapseError
        If every optimum turns out to be the way to a pole.
    """
    optima = list(found.optima)
    climber = Climber(expect, rule, worth, max_iter, tol)
    best = climber.go_on(optima[0].run, tol)
    while best.collapsed is not None:
        # What looked like an optimum was the way to a pole; the next best may be one.
        del optima[0]
        if not optima:
            raise collapse([best])
        best = climber.go_on(optima[0].run, tol)
    if best.converged:
        settled = em.settle(expect, rule, best.state)
        best = best._replace(state=settled, objectives=[*best.objectives, settled.objective])
    first = optima[0]._replace(run=best, worth=worth(best.state))
    return found._replace(optima=[first, *optima[1:]])


def climb(
    expect: Expect,
    rule: Rule,
    starts: Iterable[Candidate],
    worth: Worth,
    *,
    max_iter: int,
    tol: float,
) -> Search:
    """Climb to the end from every one of some given starts, and do no more.

    Parameters
    ----------
    expect : callable
    rule : Rule
    starts : iterable of Candidate
    worth : callable
    max_iter : int
    tol : float
        In nats.

    Returns
    -------
    Search

    Raises
    ------
    CollapseError
        If every start lost a component.
    """
    runs = [em.run(expect, rule, start, max_iter=max_iter, tol=tol) for start in starts]
    ended = [run for run in runs if run.collapsed is None]
    if not ended:
        raise collapse(runs)
    return Search(distinct(ended, worth), runs)


def collapse(runs: list[em.EMResult]) -> CollapseError:
    """Say that every run lost a component, and what to do."""
    whole = "the only start" if len(runs) == 1 else f"all {len(runs)} starts"
    return CollapseError(
        f"{whole} collapsed: component {runs[0].collapsed} shrank onto too few distinct rows, "
        "where the likelihood is unbounded; "
        'use prior="default", fewer components or a covariance structure with fewer parameters'
    )


class Climber(NamedTuple):
    """EM with everything but the start decided."""

    expect: Expect
    rule: Rule
    worth: Worth
    max_iter: int
    tol: float

    def short(self, start: Candidate) -> em.EMResult:
        """A few iterations."""
        limit = min(SHORT, self.max_iter)
        return em.run(self.expect, self.rule, start, max_iter=limit, tol=self.tol)

    def follow(self, run: em.EMResult) -> em.EMResult:
        """Up to the optimum, nearly."""
        return self.go_on(run, max(self.tol, NEARLY))

    def go_on(self, run: em.EMResult, tol: float) -> em.EMResult:
        """Iterate further where a run stopped."""
        limit = self.max_iter - len(run.objectives) + 1
        rest = em.run(self.expect, self.rule, run.state, max_iter=limit, tol=tol)
        return rest._replace(objectives=run.objectives + rest.objectives[1:])


def swapped(state: em.EMState, data: Sketch, rule: Rule, rng: np.random.Generator) -> Candidate:
    """Take one component away and start another in its stead, on a row drawn at random.

    Parameters
    ----------
    state : EMState
    data : Sketch
    rule : Rule
    rng : numpy.random.Generator

    Returns
    -------
    Candidate

    References
    ----------
    Zhao, Hautamaki & Franti (2012), Pattern Recognition Letters 33, random swap EM.
    """
    statistics = state.statistics
    out = int(rng.integers(len(statistics.count)))
    kept = np.arange(len(statistics.count)) != out
    share = statistics.count.mean() / 2
    pooled = statistics.scatter[kept].sum(axis=0) / statistics.count[kept].sum()
    count, first = statistics.count.copy(), statistics.first.copy()
    second, center = statistics.second.copy(), statistics.center.copy()
    count[out], first[out], second[out] = share, 0.0, share * pooled
    center[out] = data.draw(rng)
    moved = SufficientStatistics(0.0, count, first, second, center)
    return rule.maximize(moved, state.candidate.parameters.covariances)


def distinct(runs: list[em.EMResult], worth: Worth) -> list[Optimum]:
    """Gather runs that ended at the same height, and rank the optima.

    Parameters
    ----------
    runs : list of EMResult
    worth : callable

    Returns
    -------
    list of Optimum
        The best first.
    """
    optima: list[Optimum] = []
    for run in sorted(runs, key=lambda run: run.state.objective, reverse=True):
        if optima and optima[-1].run.state.objective - run.state.objective < SAME:
            optima[-1] = optima[-1]._replace(n_starts=optima[-1].n_starts + 1)
        else:
            optima.append(Optimum(run, 1, worth(run.state)))
    return sorted(optima, key=lambda optimum: optimum.worth, reverse=True)
