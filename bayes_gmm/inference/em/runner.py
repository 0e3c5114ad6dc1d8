"""EM runs of one search: compiled steps, acceleration of slow runs, swaps, reseeding on collapse.

The first steps of many runs are made together in `kernels.short_runs`; a run that is far from its
optimum after `LONG` steps continues with the accelerated iteration of `em`. A component that
collapses is reseeded on another row and the run continues, at most `RESEEDS` times per stage.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from bayes_gmm.inference.em import em, ranking
from bayes_gmm.inference.em.initialize import Sketch
from bayes_gmm.inference.em.kmeans import draw_index
from bayes_gmm.inference.em.problem import Problem
from bayes_gmm.inference.em.ranking import Score
from bayes_gmm.kernels.chunks import Expect, expectation
from bayes_gmm.kernels.rule import Candidate, Rule
from bayes_gmm.kernels.runs import Run, State
from bayes_gmm.kernels.short_runs import ShortRuns, short_runs
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

    share: float = 1.0  # rows of the data that each row it looks at stands for
    whole: Expect | None = None  # the pass over all rows, if it looks at a part of them

    @classmethod
    def of(
        cls, problem: Problem, data: Sketch, rng: np.random.Generator, max_iter: int
    ) -> "Runner":
        """Look at all of few rows, or at the sketch of many."""
        view, rule, spread = problem.view, problem.rule, problem.spread
        sample = data.observations(view)
        expect, whole, share = problem.expect, None, 1.0
        if sample is not view:
            whole, share = expect, view.total_weight / data.counts.sum()
            expect = expectation(sample, problem.structure, spread=spread)
        run_all = short_runs(rule, data.as_rows(share, spread), complete=view.is_complete)
        score = ranking.predicted(
            problem.prior, problem.structure, problem.covariance, view.total_weight
        )
        return cls(expect, rule, run_all, score, data, rng, max_iter, share, whole)

    def score_of(self, run: Run) -> float:
        """Score a run where it is."""
        return self.score(run.state)

    def ranked(self, runs: list[Run], which: Iterable[int] | None = None) -> list[int]:
        """Numbers of the runs, or some of them, that have not collapsed, the best first."""
        numbers = range(len(runs)) if which is None else which
        alive = [i for i in numbers if runs[i].collapsed is None]
        return sorted(alive, key=lambda i: self.score_of(runs[i]), reverse=True)

    def look(self, starts: list[Candidate], steps: int) -> list[Run]:
        """A few plain steps from every start."""
        return self.run_all(starts, min(steps, self.max_iter), NEARLY)

    def reseeded(self, runs: list[Run], steps: int) -> list[Run]:
        """Seed the component that each run lost on another row, and go on by a few steps."""
        runs = list(runs)
        for _ in range(RESEEDS if self.rule.n_components > 1 else 0):
            lost = [i for i, run in enumerate(runs) if run.collapsed is not None and run.has_state]
            starts = [self.swapped(runs[i].state, runs[i].collapsed) for i in lost]
            for i, again in zip(lost, self.look(starts, steps), strict=True):
                runs[i] = again._replace(collapses=(*runs[i].collapses, runs[i].collapse))
        return runs

    def left(self, run: Run) -> int:
        """How many iterations a run may still take."""
        return max(self.max_iter - len(run.objectives) + 1, 0)

    def on(self, runs: list[Run], steps: int) -> list[Run]:
        """A few steps more of every run that has not arrived."""
        going = [run for run in runs if not run.converged]
        steps = min([steps, *map(self.left, going)])
        further = self.look([run.state.candidate for run in going], steps)
        both = (run.then(rest) for run, rest in zip(going, further, strict=True))
        return [run if run.converged else next(both) for run in runs]

    def follow(self, run: Run) -> Run:
        """Up to the optimum, nearly."""
        for _ in range(1 + RESEEDS):
            (run,) = self.on([run], LONG)
            if not run.converged and run.collapsed is None:
                rest = em.run(
                    self.expect, self.rule, run.state, max_iter=self.left(run), tol=NEARLY
                )
                run = run.then(rest)
            if run.collapsed is None:
                break
            (run,) = self.reseeded([run], LONG)
            if run.collapsed is not None:
                break
        return run

    def swap(self, best: Run, patience: int, limit: int) -> tuple[list[Run], int]:
        """Optima near the best one so far, by taking components away and starting them elsewhere.

        A component is taken the more often, the less the others would miss it. The search ends
        after so many swaps in vain, or at the limit; the number returned is how many were in vain
        at its end. Most swaps lead back; those that converged no higher than the best are dropped.
        """
        found: list[Run] = []
        in_vain = 0
        for _ in range(limit // AT_ONCE):
            if in_vain >= patience:
                break
            in_vain += AT_ONCE
            top = self.score_of(best)

            def behind(run: Run, height: float = best.state.objective) -> float:
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

    def losses(self, state: State) -> np.ndarray:
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

    def swapped(self, state: State, out: int | None) -> Candidate:
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
