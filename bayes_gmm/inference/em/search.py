"""The search for the best optimum: short EM runs from many starts, long ones from few, swaps.

The likelihood of a mixture has many local maxima, and EM converges to the one whose basin it starts
in. A few steps distinguish promising starts from poor ones, so that only the best are continued,
and few to convergence. From the best optimum the search continues by swaps: a component is removed
where it may be redundant and added where one may be missing. If EM steps are expensive, fewer
starts and swaps are tried, and the first starts, which come from k-means, matter most.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import chain, islice
from typing import NamedTuple

from bayes_gmm.errors import CollapseError
from bayes_gmm.inference.em import em
from bayes_gmm.inference.em.ranking import Order, Score
from bayes_gmm.inference.em.runner import BETTER, NEARLY, Runner
from bayes_gmm.kernels.chunks import Expect
from bayes_gmm.kernels.rule import Candidate, Rule
from bayes_gmm.kernels.runs import Run
from bayes_gmm.model.statistics import SufficientStatistics

# How many steps every start is given, and how many more so many of the best after that.
FIRST_LOOK = 15
ROUNDS = ((12, 15), (5, 30))
LEAST_LOOK, LEAST_STARTS = 2, 3
PATIENCE, MOST_SWAPS = 12, 30  # swaps for each component: in vain until the end, and in all
AGREED = 6  # how many times fewer where all starts that were followed ended in one optimum
BUDGET = 1e9  # operations of the passes over starts, and again over swaps in vain
CARRIED = 3  # optima of a part of the data that are followed on the whole
CLOSE = 20.0  # nats of the part below its best optimum within which another may be better
MANY_STARTS = 30


class Effort(NamedTuple):
    """How much a search does: starts, steps for each, (starts kept, further steps), swaps."""

    n_starts: int
    first_look: int
    rounds: tuple[tuple[int, int], ...]
    patience: int
    most_swaps: int

    @classmethod
    def of(cls, n_starts: int, n_components: int, step_cost: float) -> "Effort":
        """Spend about `BUDGET` where a step of EM takes many operations."""
        steps = MANY_STARTS * FIRST_LOOK + sum(keep * more for keep, more in ROUNDS)
        root = min(1.0, BUDGET / (steps * step_cost)) ** 0.5
        few = round(root * n_starts)
        swaps = min(1.0, BUDGET / (PATIENCE * n_components * step_cost))
        return cls(
            min(n_starts, max(few, LEAST_STARTS)),
            max(round(root * FIRST_LOOK), LEAST_LOOK),
            tuple(
                (max(round(root * keep), 2), max(round(root * n), LEAST_LOOK)) for keep, n in ROUNDS
            ),
            int(swaps * PATIENCE * n_components),
            int(swaps * MOST_SWAPS * n_components * max(1.0, n_starts / MANY_STARTS)),
        )


class Optimum(NamedTuple):
    """A local maximum that was reached."""

    run: Run  # the run that came closest to it
    n_starts: int  # how many starts ended in it; none if only moved components led to it
    score: float  # what optima are ranked by


class Search(NamedTuple):
    """What several starts came to."""

    optima: list[Optimum]  # distinct local maxima, the best one first
    runs: list[Run]  # one per start, in order, as far as each was followed
    swaps_in_vain: int = 0  # how many swaps were tried since one last led to something better
    # whether the search ended at its limit while swaps still led to better optima
    still_improving: bool = False


def search(
    runner: Runner,
    seeds: Iterable[SufficientStatistics],
    effort: Effort,
    *,
    tol: float,
    order: Order | None,
) -> Search:
    """Find the best optimum, and follow it to the end.

    `order` ranks the optima in the end, in the place of their score. Raises CollapseError if every
    start lost a component, however often it was seeded anew.

    Biernacki, Celeux & Govaert (2003), Comput. Statist. Data Anal. 41, on short runs of EM;
    Zhao, Hautamaki, Karkkainen & Franti (2012), Pattern Recognition Letters 33, on random swaps.
    """
    found = explored(runner, seeds, effort)
    if runner.whole is not None:
        runner = replace(runner, expect=runner.whole)
        found = carried_over(runner, found)
    if order is not None:
        places = order([optimum.run.state for optimum in found.optima])
        found = found._replace(optima=[found.optima[place] for place in places])
    return finished(runner, found, tol)


def explored(runner: Runner, seeds: Iterable[SufficientStatistics], effort: Effort) -> Search:
    """Run a little from every start, nearly to the end from the most promising, and swap."""
    rule = runner.rule
    starts = [rule.maximize(seed, seed.second) for seed in islice(seeds, effort.n_starts)]
    look = effort.first_look
    runs = runner.reseeded(runner.look(starts, look), look)
    standing = list(range(len(runs)))
    for keep, steps in effort.rounds:
        standing = runner.ranked(runs, standing)[:keep]
        further = runner.reseeded(runner.on([runs[i] for i in standing], steps), steps)
        for i, run in zip(standing, further, strict=True):
            runs[i] = run
    followed: list[Run] = []
    for i in runner.ranked(runs):
        # One that was left behind has its turn where all that were kept collapse.
        if i in standing or not followed:
            runs[i] = runner.follow(runs[i])
            followed += [runs[i]] if runs[i].collapsed is None else []
    if not followed:
        raise collapse(runs)
    optima = distinct(Optimum(run, 1, runner.score_of(run)) for run in followed)
    if rule.n_components == 1:
        return Search(optima, runs)
    patience = effort.patience // AGREED if len(optima) == 1 else effort.patience
    found, in_vain = runner.swap(optima[0].run, patience, effort.most_swaps)
    optima += [Optimum(run, 0, runner.score_of(run)) for run in found]
    still_improving = bool(found) and in_vain < patience // 2
    return Search(distinct(optima), runs, in_vain, still_improving)


def carried_over(runner: Runner, found: Search) -> Search:
    """Follow the best optima of a part of the data, whose rows stand for `share` rows each.

    In the whole, an optimum that is `CLOSE` nats lower in the part is not the better one: the
    standard error of a difference of g nats in the part is about the root of 2 g.
    """
    ended: list[Optimum] = []
    least = found.optima[0].score - CLOSE * runner.share
    for place, optimum in enumerate(found.optima):
        if ended and (place >= CARRIED or optimum.score < least):
            break
        start = optimum.run.state.candidate
        run = em.run(runner.expect, runner.rule, start, max_iter=runner.max_iter, tol=NEARLY)
        if run.collapsed is None:
            ended.append(Optimum(run, optimum.n_starts, runner.score_of(run)))
    if not ended:
        raise collapse(found.runs)
    return found._replace(optima=distinct(ended))


def finished(runner: Runner, found: Search, tol: float) -> Search:
    """Follow the first optimum to the end, until its parameters no longer change.

    It may turn out to be the way to a pole; then the next has its turn. Raises CollapseError if all
    are.
    """
    expect, rule = runner.expect, runner.rule

    def left_behind() -> Iterator[Optimum]:
        """Where all that looked like optima were ways to poles, the other runs have their turn."""
        for i in runner.ranked(found.runs):
            start = em.evaluate(expect, found.runs[i].state.candidate)
            run = Run(start, [start.objective], False, None)
            yield Optimum(run, 1, runner.score_of(run))

    poles = 0
    for first in chain(found.optima, left_behind()):
        limit = runner.left(first.run)
        rest = em.run(expect, rule, first.run.state, max_iter=limit, tol=tol)
        best = first.run.then(rest)
        if best.collapsed is None:
            break
        poles += 1
    else:
        raise collapse(found.runs)
    if best.converged:
        polished = em.polish(expect, rule, best.state)
        best = best._replace(state=polished, objectives=[*best.objectives, polished.objective])
    # Another may have been the same optimum, left a little lower.
    height = best.state.objective
    others = [
        other
        for other in found.optima[poles + 1 :]
        if abs(other.run.state.objective - height) >= BETTER
    ]
    return found._replace(optima=[first._replace(run=best, score=runner.score_of(best)), *others])


def run_each(
    expect: Expect,
    rule: Rule,
    starts: Iterable[Candidate],
    score: Score,
    *,
    max_iter: int,
    tol: float,
) -> Search:
    """Run EM to the end from every one of some given starts, and do no more."""
    runs = [em.run(expect, rule, start, max_iter=max_iter, tol=tol) for start in starts]
    ended = [run for run in runs if run.collapsed is None]
    if not ended:
        raise collapse(runs)
    return Search(distinct(Optimum(run, 1, score(run.state)) for run in ended), runs)


def collapse(runs: list[Run]) -> CollapseError:
    """The error if a component collapsed in every run."""
    whole = "the only start" if len(runs) == 1 else f"all {len(runs)} starts"
    return CollapseError(
        f"{whole} collapsed: a component shrank onto too few distinct rows, where the likelihood "
        'is unbounded; use prior="default", fewer components or a covariance structure with fewer '
        "parameters",
        runs,
    )


def distinct(optima: Iterable[Optimum]) -> list[Optimum]:
    """Take optima of the same height for one, and rank them, the best first."""
    merged: list[Optimum] = []
    for optimum in sorted(optima, key=lambda one: one.run.state.objective, reverse=True):
        last = merged[-1] if merged else None
        if last and last.run.state.objective - optimum.run.state.objective < BETTER:
            merged[-1] = last._replace(n_starts=last.n_starts + optimum.n_starts)
        else:
            merged.append(optimum)
    return sorted(merged, key=lambda optimum: optimum.score, reverse=True)
