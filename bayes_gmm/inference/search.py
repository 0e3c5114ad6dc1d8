"""The search for the best optimum: many short climbs, the most promising ones finished.

The likelihood of a mixture has many local maxima, and EM ends in the one it starts under. A few
iterations tell promising starts from poor ones; only the best of them are followed to the end.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from bayes_gmm.errors import CollapseError
from bayes_gmm.inference import em
from bayes_gmm.inference.spurious import Worth
from bayes_gmm.kernels.chunks import Expect
from bayes_gmm.kernels.rule import Rule
from bayes_gmm.model.statistics import SufficientStatistics

SHORT = 15
FINISHED = 5
SAME = 1e-3  # nats; optima this close are one


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
    *,
    max_iter: int,
    tol: float,
) -> Search:
    """Climb a little from every start, and to the end from the most promising.

    Parameters
    ----------
    expect : callable
    rule : Rule
    seeds : iterable of SufficientStatistics
    worth : callable
        What to rank states by.
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
    runs = []
    for seed in seeds:
        spheres = np.tile(np.eye(seed.center.shape[1]), (len(seed.count), 1, 1))
        state = em.evaluate(expect, rule.maximize(seed, spheres))
        runs.append(em.run(expect, rule, state, max_iter=min(SHORT, max_iter), tol=tol))
    standing = sorted(
        (i for i, run in enumerate(runs) if run.collapsed is None),
        key=lambda i: worth(runs[i].state),
        reverse=True,
    )
    followed: list[em.EMResult] = []
    for i in standing:
        if len(followed) == FINISHED:
            break
        so_far = runs[i].objectives
        rest = em.run(expect, rule, runs[i].state, max_iter=max_iter - len(so_far) + 1, tol=tol)
        runs[i] = rest._replace(objectives=so_far + rest.objectives[1:])
        if rest.collapsed is None:
            followed.append(runs[i])
    if not followed:
        raise CollapseError(
            f"all {len(runs)} starts collapsed: component {runs[0].collapsed} shrank onto too few "
            "distinct rows, where the likelihood is unbounded; "
            'use prior="default", fewer components or a covariance structure with fewer parameters'
        )
    return Search(distinct(followed, worth), runs)


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
