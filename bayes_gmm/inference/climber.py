"""One search's way of climbing: plain steps compiled, slow climbs accelerated, swaps from the best.

A climb is a run of EM. It makes its first steps in `kernels.climb`, many starts at once, and those
that are far from their optimum after `LONG` of them go on in the loop of `em`, which guesses ahead.
"""

from typing import NamedTuple

import numpy as np

from bayes_gmm.inference import em
from bayes_gmm.inference.initialize import Sketch
from bayes_gmm.inference.ranking import Worth
from bayes_gmm.kernels.chunks import Expect
from bayes_gmm.kernels.climb import Climb, ClimbAll
from bayes_gmm.kernels.rule import Candidate, Rule
from bayes_gmm.model.statistics import SufficientStatistics

LONG = 150  # plain steps of a climb before it is handed to the loop that accelerates
SWAPS = 10  # for each component
AT_ONCE = 5  # swaps tried from one optimum before the best of them is the next
SWAP_LOOK = 8  # steps that a swap is given
NEAR = 10.0  # nats below the best so far that it may then be and still be worth following
FAR = 3.0  # the same, after `SWAP_AGAIN` steps more
SWAP_AGAIN = 40
NEARLY = 1e-2  # nats; how closely optima are approached until the best one is known


class Climber(NamedTuple):
    """EM with everything but the start decided."""

    expect: Expect
    rule: Rule
    climb_all: ClimbAll
    worth: Worth
    max_iter: int

    def value(self, run: em.EMResult) -> float:
        """Say what a run is worth where it stands."""
        return self.worth(run.state)

    def ranked(self, runs: list[em.EMResult], which: list[int]) -> list[int]:
        """Numbers of the runs that have not collapsed, the best first."""
        alive = [i for i in which if runs[i].collapsed is None]
        return sorted(alive, key=lambda i: self.value(runs[i]), reverse=True)

    def look(self, starts: list[Candidate], steps: int) -> list[em.EMResult]:
        """A few plain steps from every start."""
        return [run_of(c) for c in self.climb_all(starts, min(steps, self.max_iter), NEARLY)]

    def left(self, run: em.EMResult) -> int:
        """How many iterations a run may still take."""
        return self.max_iter - len(run.objectives) + 1

    def on(self, runs: list[em.EMResult], steps: int) -> list[em.EMResult]:
        """A few steps more of every run that has not arrived."""
        going = [run for run in runs if not run.converged]
        steps = min([steps, *map(self.left, going)])
        further = iter(self.look([run.state.candidate for run in going], steps))
        return [run if run.converged else joined(run, next(further)) for run in runs]

    def follow(self, run: em.EMResult) -> em.EMResult:
        """Up to the optimum, nearly."""
        (run,) = self.on([run], LONG)
        if run.converged or run.collapsed is not None:
            return run
        rest = em.run(self.expect, self.rule, run.state, max_iter=self.left(run), tol=NEARLY)
        return joined(run, rest)

    def swap(self, best: em.EMResult, data: Sketch, rng: np.random.Generator) -> list[em.EMResult]:
        """Optima near the best one so far, by taking components away and starting them elsewhere.

        Most swaps lead back; those that have come to a halt no higher than the best are dropped.
        """
        found: list[em.EMResult] = []
        for _ in range(SWAPS * self.rule.n_components // AT_ONCE):
            top = self.value(best)
            starts = [swapped(best.state, data, self.rule, rng) for _ in range(AT_ONCE)]
            runs = [r for r in self.look(starts, SWAP_LOOK) if self.value(r) > top - NEAR]
            for run in self.on(runs, SWAP_AGAIN):
                height = self.value(run)
                if height < top + NEARLY if run.converged else height < top - FAR:
                    continue
                end = self.follow(run)
                if end.collapsed is None:
                    found.append(end)
                    best = max(best, end, key=self.value)
        return found


def run_of(climb: Climb) -> em.EMResult:
    """Take a compiled climb for a run of EM."""
    state = em.EMState(climb.candidate, climb.statistics, climb.objectives[-1])
    lost = climb.lost if climb.lost >= 0 else None
    return em.EMResult(state, climb.objectives, climb.converged, lost)


def joined(run: em.EMResult, rest: em.EMResult) -> em.EMResult:
    """One run made of two, the second of which began where the first ended."""
    return rest._replace(objectives=run.objectives + rest.objectives[1:])


def swapped(state: em.EMState, data: Sketch, rule: Rule, rng: np.random.Generator) -> Candidate:
    """Take one component away and start another in its stead, on a row drawn at random.

    The new one is up to ten times smaller than the others, in rows and in variance alike: what is
    missing may be of any size.

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
    Zhao, Hautamaki, Karkkainen & Franti (2012), Pattern Recognition Letters 33, random swap EM.
    """
    statistics = state.statistics
    out = int(rng.integers(len(statistics.count)))
    kept = np.arange(len(statistics.count)) != out
    smaller = 10 ** -rng.random()
    share = smaller * statistics.count.mean() / 2
    pooled = statistics.scatter[kept].sum(axis=0) / statistics.count[kept].sum()
    count, first = statistics.count.copy(), statistics.first.copy()
    second, center = statistics.second.copy(), statistics.center.copy()
    count[out], first[out], second[out] = share, 0.0, share * smaller * pooled
    center[out] = data.draw(rng)
    moved = SufficientStatistics(0.0, count, first, second, center)
    return rule.maximize(moved, state.candidate.parameters.covariances)
