r"""The best optimum of the lower bound: from many starts, then with components left out.

The bound has as many local maxima as the posterior has modes. Starts are the optima of EM and the
starts of the chains, which lie around them. From each the loop takes a few steps, and goes on from
the best. Coordinate ascent seldom gives up a component that the data do not support, because its
rows have to go all at once. So each component is left out of one pass in turn, which gives its rows
to the others; where the bound ends higher, the component stays without rows, and the search goes on
from there.

Of many rows the search looks at a sample, weighted to the same total, and follows the best optima
on all rows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import lgamma
from typing import NamedTuple

import numpy as np

from bayes_gmm.errors import InputError
from bayes_gmm.inference.em import em
from bayes_gmm.inference.em.runner import BETTER, NEARLY
from bayes_gmm.inference.em.search import Optimum, distinct
from bayes_gmm.inference.variational.rule import VariationalRule
from bayes_gmm.kernels.chunks import ONE_BLAS_THREAD, Expect
from bayes_gmm.kernels.runs import Run, State
from bayes_gmm.model.marginal_likelihood import TOO_SMALL
from bayes_gmm.model.parameters import Parameters

FIRST_LOOK, KEPT = 20, 5  # steps from every start, and how many of the best go on
HOPELESS = 30.0  # nats below the best, at which a first look is the last
CARRIED = 3  # optima of a sample that are followed on all rows
MAX_ITER, TOLERANCE = 10_000, 1e-8
SWITCHED_OFF = 1e-2  # rows of a component that has none


class Found(NamedTuple):
    """The best optimum, and what the search saw, in the coordinates of the pass."""

    run: Run
    log_mass: np.ndarray  # of the modes of this optimum and of others that were followed, (O,)
    start_elbo: np.ndarray  # after the first look from every start; of many rows of the sample


@dataclass(frozen=True, eq=False)
class Search:
    """The loop with everything but the start decided."""

    expect: Expect  # the pass over all rows
    some: Expect  # over those that are looked at until the best optimum is known
    rule: VariationalRule

    @ONE_BLAS_THREAD
    def best(self, starts: Sequence[Parameters]) -> Found:
        """Follow the best of all starts to the end, until its parameters no longer change.

        Starts and the result are in the coordinates of the pass.
        """
        looks = [self._look(self._begun(start)) for start in starts]
        runs = _distinct(looks)
        if not runs:
            raise InputError(TOO_SMALL)
        runs = _distinct(self._follow(run) for run in runs[:KEPT])
        runs = _distinct([self._without(runs[0]), *runs])
        if self.some is not self.expect:
            begun = (em.evaluate(self.expect, run.state.candidate) for run in runs[:CARRIED])
            runs = _distinct(
                em.run(self.expect, self.rule, state, max_iter=MAX_ITER, tol=NEARLY)
                for state in begun
            )
        rest = em.run(self.expect, self.rule, runs[0].state, max_iter=MAX_ITER, tol=TOLERANCE)
        run = runs[0].then(rest)
        if run.converged:
            state = em.polish(self.expect, self.rule, run.state)
            run = run._replace(state=state, objectives=[*run.objectives, state.objective])
        log_mass = np.array([self._log_mass(one.state) for one in (run, *runs[1:])])
        return Found(run, log_mass, np.array([look.state.objective for look in looks]))

    def _log_mass(self, state: State) -> float:
        """Bound the log mass of a mode over the K! orders, of which some may be the same.

        Components without rows are alike, if they are so a priori, so that m of them have m! orders
        of which each is counted K! / m! times.
        """
        n_off = int((state.statistics.count < SWITCHED_OFF).sum())
        alike = self.rule.prior.counted.is_exchangeable
        return state.objective - (lgamma(n_off + 1) if alike else 0.0)

    def _begun(self, theta: Parameters) -> State:
        """The state whose labels are the responsibilities at these parameters."""
        statistics = self.some(theta.log_quadratic())
        return em.evaluate(self.some, self.rule.maximize(statistics))

    def _look(self, state: State) -> Run:
        return em.run(self.some, self.rule, state, max_iter=FIRST_LOOK, tol=NEARLY)

    def _follow(self, run: Run) -> Run:
        """Up to the optimum, nearly."""
        if run.converged:
            return run
        rest = em.run(self.some, self.rule, run.state, max_iter=MAX_ITER, tol=NEARLY)
        return run.then(rest)

    def _without(self, best: Run) -> Run:
        """Leave components out as long as the bound ends higher, those with fewest rows first."""
        count = best.state.statistics.count
        held = [k for k in np.argsort(count, kind="stable") if count[k] > SWITCHED_OFF]
        functions = best.state.candidate.log_quadratic
        for k in held if len(held) > 1 else []:
            offset = np.where(np.arange(len(count)) == k, -np.inf, functions.offset)
            statistics = self.some(functions._replace(offset=offset))
            run = self._look(em.evaluate(self.some, self.rule.maximize(statistics)))
            if run.state.objective < best.state.objective - HOPELESS:
                continue
            run = self._follow(run)
            if run.state.objective > best.state.objective + BETTER:
                return self._without(run)
        return best


def _distinct(runs: Iterable[Run]) -> list[Run]:
    """Runs with no component lost, the highest first, one for each optimum."""
    alive = (run for run in runs if run.collapsed is None)
    return [optimum.run for optimum in distinct(Optimum(r, 1, r.state.objective) for r in alive)]
