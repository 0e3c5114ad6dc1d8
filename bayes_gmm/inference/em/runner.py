"""EM runs of one search: compiled steps, acceleration of slow runs, swaps, new seeds on collapse.

A run makes its first steps in `kernels.short_runs`, many runs at once; one that is far from its
optimum after `LONG` of them goes on in the loop of `em`, which extrapolates. Where a component
collapses, it is seeded anew on another row and the run goes on, at most `RESEEDS` times a stage.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bayes_gmm.inference.em import em
from bayes_gmm.inference.em.initialize import Sketch
from bayes_gmm.inference.em.kmeans import draw_index
from bayes_gmm.inference.em.ranking import Score
from bayes_gmm.kernels.chunks import Expect
from bayes_gmm.kernels.rule import Candidate, Rule
from bayes_gmm.kernels.short_runs import ShortRun, ShortRuns
from bayes_gmm.model.statistics import SufficientStatistics

LONG = 150  # plain steps of a run before it is handed to the loop that accelerates
NEARLY = 1e-2  # nats; how closely optima are approached until the best one is known
RESEEDS = 3
AT_ONCE = 5  # swaps tried from one optimum before the best of them is the next
SWAP_LOOK = 8  # steps that a swap is given
NEAR = 10.0  # nats below the best so far that it may then be and still be worth following
FAR = 3.0  # the same, after `SWAP_AGAIN` steps more
SWAP_AGAIN = 40
BLOCK_NUMBERS = 1 << 18  # of an array of rows x components x features
BETTER = 5e-2  # nats; optima closer than this are one


@dataclass(frozen=True, eq=False)
class Runner:
    """EM with everything but the start decided."""

    expect: Expect
    rule: Rule
    run_all: ShortRuns
    score: Score
    data: Sketch
    rng: np.random.Generator
    max_iter: int

    def score_of(self, run: em.EMResult) -> float:
        """Score a run where it is."""
        return self.score(run.state)

    def ranked(self, runs: list[em.EMResult], which: Iterable[int] | None = None) -> list[int]:
        """Numbers of the runs, or some of them, that have not collapsed, the best first."""
        numbers = range(len(runs)) if which is None else which
        alive = [i for i in numbers if runs[i].collapsed is None]
        return sorted(alive, key=lambda i: self.score_of(runs[i]), reverse=True)

    def look(self, starts: list[Candidate], steps: int) -> list[em.EMResult]:
        """A few plain steps from every start."""
        return [run_of(c) for c in self.run_all(starts, min(steps, self.max_iter), NEARLY)]

    def reseeded(self, runs: list[em.EMResult], steps: int) -> list[em.EMResult]:
        """Seed the component that each run lost on another row, and go on by a few steps."""
        runs = list(runs)
        for _ in range(RESEEDS if self.rule.n_components > 1 else 0):
            lost = [i for i, run in enumerate(runs) if run.collapsed is not None and run.has_state]
            starts = [self.swapped(runs[i].state, runs[i].collapsed) for i in lost]
            for i, again in zip(lost, self.look(starts, steps), strict=True):
                runs[i] = again._replace(collapses=(*runs[i].collapses, runs[i].collapse))
        return runs

    def left(self, run: em.EMResult) -> int:
        """How many iterations a run may still take."""
        return max(self.max_iter - len(run.objectives) + 1, 0)

    def on(self, runs: list[em.EMResult], steps: int) -> list[em.EMResult]:
        """A few steps more of every run that has not arrived."""
        going = [run for run in runs if not run.converged]
        steps = min([steps, *map(self.left, going)])
        further = self.look([run.state.candidate for run in going], steps)
        both = (em.joined(run, rest) for run, rest in zip(going, further, strict=True))
        return [run if run.converged else next(both) for run in runs]

    def follow(self, run: em.EMResult) -> em.EMResult:
        """Up to the optimum, nearly."""
        for _ in range(1 + RESEEDS):
            (run,) = self.on([run], LONG)
            if not run.converged and run.collapsed is None:
                rest = em.run(
                    self.expect, self.rule, run.state, max_iter=self.left(run), tol=NEARLY
                )
                run = em.joined(run, rest)
            if run.collapsed is None:
                break
            (run,) = self.reseeded([run], LONG)
            if run.collapsed is not None:
                break
        return run

    def swap(self, best: em.EMResult, patience: int, limit: int) -> tuple[list[em.EMResult], int]:
        """Optima near the best one so far, by taking components away and starting them elsewhere.

        A component is taken the more often, the less the others would miss it. The search ends
        after so many swaps in vain, or at the limit; the number returned is how many were in vain
        at its end. Most swaps lead back; those that converged no higher than the best are dropped.
        """
        found: list[em.EMResult] = []
        in_vain = 0
        for _ in range(limit // AT_ONCE):
            if in_vain >= patience:
                break
            in_vain += AT_ONCE
            top = self.score_of(best)

            def behind(run: em.EMResult, height: float = best.state.objective) -> float:
                """How far a run is below the best, in its score or in its objective."""
                return min(top - self.score_of(run), height - run.state.objective)  # noqa: B023

            chances = 1 / (1 + np.argsort(np.argsort(self.losses(best.state))))
            outs = [draw_index(chances, self.rng) for _ in range(AT_ONCE)]
            starts = [self.swapped(best.state, out) for out in outs]
            runs = [r for r in self.look(starts, SWAP_LOOK) if r.collapsed is None]
            runs = [run for run in runs if behind(run) < NEAR]
            for run in self.on(runs, SWAP_AGAIN):
                if run.collapsed is not None:
                    continue
                if behind(run) > (-NEARLY if run.converged else FAR):
                    continue
                end = self.follow(run)
                if end.collapsed is None:
                    found.append(end)
                    if self.score_of(end) > self.score_of(best):
                        if self.score_of(end) > top + BETTER:
                            in_vain = 0
                        best = end
        return found, in_vain

    def losses(self, state: em.EMState) -> np.ndarray:
        """Log-likelihood that each component (K,) adds to the others: -sum_n log(1 - r_nk)."""
        offset, center, whitener = functions = state.candidate.log_quadratic
        scales = np.einsum("kii->ki", whitener)
        n_rows = max(1, BLOCK_NUMBERS // center.size)
        total = np.zeros(len(offset))
        for start in range(0, len(self.data.rows), n_rows):
            rows = self.data.rows[start : start + n_rows]
            if self.rule.diagonal:
                log_rho = offset - 0.5 * (((rows[:, None] - center) * scales) ** 2).sum(axis=2)
            else:
                log_rho = functions(rows)
            rho = np.exp(log_rho - log_rho.max(axis=1, keepdims=True))
            others = np.maximum(1 - rho / rho.sum(axis=1, keepdims=True), np.finfo(float).eps)
            total -= self.data.counts[start : start + n_rows] @ np.log(others)
        return total

    def swapped(self, state: em.EMState, out: int | None) -> Candidate:
        """Take one component away, and seed another on a row drawn at random.

        The new one is up to ten times smaller than the others, in rows and in variance alike: what
        is missing may be of any size (random swap EM: Zhao, Hautamaki, Karkkainen & Franti, 2012).
        """
        statistics, rng = state.statistics, self.rng
        kept = np.arange(len(statistics.count)) != out
        held = max(statistics.count[kept].sum(), np.finfo(float).tiny)
        smaller = 10 ** -rng.random()
        share = smaller * statistics.count.mean() / 2
        pooled = statistics.scatter[kept].sum(axis=0) / held
        count, first = statistics.count.copy(), statistics.first.copy()
        second, center = statistics.second.copy(), statistics.center.copy()
        count[out], first[out], second[out] = share, 0.0, share * smaller * pooled
        center[out] = self.data.draw(rng)
        moved = SufficientStatistics(0.0, count, first, second, center)
        return self.rule.maximize(moved, state.candidate.parameters.covariances)


def run_of(run: ShortRun) -> em.EMResult:
    """Take compiled steps for a run of EM."""
    state = em.EMState(run.candidate, run.statistics, run.objectives[-1])
    lost = run.lost if run.lost >= 0 else None
    return em.EMResult(state, run.objectives, run.converged, lost)
