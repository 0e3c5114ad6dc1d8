"""The search for the best optimum: many short climbs, the most promising ones finished.

The likelihood of a mixture has many local maxima, and EM ends in the one it starts under. A few
iterations tell promising starts from poor ones; only the best of them are followed to the end.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from bayes_gmm.errors import CollapseError
from bayes_gmm.inference import em
from bayes_gmm.kernels.chunks import Expect
from bayes_gmm.kernels.rule import Rule
from bayes_gmm.model.statistics import SufficientStatistics

SHORT = 15
FINISHED = 4


class Search(NamedTuple):
    """What several starts came to.

    Attributes
    ----------
    best : EMResult
    runs : list of EMResult
        One per start, in order; those not finished stop after `SHORT` iterations.
    """

    best: em.EMResult
    runs: list[em.EMResult]


def search(
    expect: Expect,
    rule: Rule,
    seeds: Iterable[SufficientStatistics],
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
        key=lambda i: runs[i].state.objective,
        reverse=True,
    )
    finished: list[int] = []
    for i in standing:
        if len(finished) == FINISHED:
            break
        rest = em.run(
            expect, rule, runs[i].state, max_iter=max_iter - len(runs[i].objectives) + 1, tol=tol
        )
        runs[i] = rest._replace(objectives=runs[i].objectives + rest.objectives[1:])
        if rest.collapsed is None:
            finished.append(i)
    if not finished:
        raise CollapseError(
            f"all {len(runs)} starts collapsed: component {runs[0].collapsed} shrank onto too few "
            "distinct rows, where the likelihood is unbounded; "
            'use prior="default", fewer components or a covariance structure with fewer parameters'
        )
    return Search(runs[max(finished, key=lambda i: runs[i].state.objective)], runs)
