"""The search for the best optimum: many short climbs, ever fewer ever longer, then swaps.

The likelihood of a mixture has many local maxima, and EM ends in the one it starts under. A few
steps tell promising starts from poor ones, so that only the best go on, and few to the end. From
the best optimum so far the search goes on by swaps: a component is taken from where it may be idle
and put where it may be missing.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from bayes_gmm.errors import CollapseError
from bayes_gmm.inference import em
from bayes_gmm.inference.climber import NEARLY, Climber, joined
from bayes_gmm.inference.initialize import Sketch
from bayes_gmm.inference.ranking import Worth
from bayes_gmm.kernels.chunks import Expect
from bayes_gmm.kernels.climb import ClimbAll
from bayes_gmm.kernels.rule import Candidate, Rule
from bayes_gmm.model.statistics import SufficientStatistics

# How many steps every start is given, and how many more so many of the best after that.
FIRST_LOOK = 15
ROUNDS = ((12, 15), (5, 30))
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
        One per start, in order, as far as each was followed.
    """

    optima: list[Optimum]
    runs: list[em.EMResult]


def search(
    expect: Expect,
    rule: Rule,
    climb_all: ClimbAll,
    seeds: Iterable[SufficientStatistics],
    worth: Worth,
    data: Sketch,
    rng: np.random.Generator,
    *,
    max_iter: int,
) -> Search:
    """Climb a little from every start, nearly to the end from the most promising, and swap.

    Parameters
    ----------
    expect : callable
    rule : Rule
    climb_all : callable
        Plain steps from many starts at once, on the same data.
    seeds : iterable of SufficientStatistics
    worth : callable
        What to rank states by.
    data : Sketch
    rng : numpy.random.Generator
    max_iter : int

    Returns
    -------
    Search

    Raises
    ------
    CollapseError
        If every start lost a component.

    References
    ----------
    Biernacki, Celeux & Govaert (2003), Comput. Statist. Data Anal. 41, on short runs of EM;
    Zhao, Hautamaki, Karkkainen & Franti (2012), Pattern Recognition Letters 33, on random swaps.
    """
    climber = Climber(expect, rule, climb_all, worth, max_iter)
    runs = climber.look([rule.maximize(seed, seed.second) for seed in seeds], FIRST_LOOK)
    standing = list(range(len(runs)))
    for keep, steps in ROUNDS:
        standing = climber.ranked(runs, standing)[:keep]
        for i, run in zip(standing, climber.on([runs[i] for i in standing], steps), strict=True):
            runs[i] = run
    for i in climber.ranked(runs, standing):
        runs[i] = climber.follow(runs[i])
    followed = [runs[i] for i in standing if runs[i].collapsed is None]
    if not followed:
        raise collapse(runs)
    if rule.n_components > 1:
        followed += climber.swap(max(followed, key=climber.value), data, rng)
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

    def to_the_end(run: em.EMResult) -> em.EMResult:
        limit = max_iter - len(run.objectives) + 1
        return joined(run, em.run(expect, rule, run.state, max_iter=limit, tol=tol))

    best = to_the_end(optima[0].run)
    while best.collapsed is not None:
        # What looked like an optimum was the way to a pole; the next best may be one.
        del optima[0]
        if not optima:
            raise collapse([best])
        best = to_the_end(optima[0].run)
    if best.converged:
        settled = em.settle(expect, rule, best.state)
        best = best._replace(state=settled, objectives=[*best.objectives, settled.objective])
    first = optima[0]._replace(run=best, worth=worth(best.state))
    # Another may have been the same optimum, left a little lower.
    others = [o for o in optima[1:] if abs(o.run.state.objective - best.state.objective) >= SAME]
    return found._replace(optima=[first, *others])


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
