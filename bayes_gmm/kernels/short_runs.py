"""Short EM runs from many starts in one compiled call, for a search that compares them.

On small data a step of EM takes longer between its parts, in Python, than in them. A search that
looks at dozens of starts makes its steps here, with the very functions that the loop in
`inference.em` is made of, and hands over to that loop where a run converges slowly. The compiled
loop gets the pass and the M-step by their addresses, so that one compilation serves all structures.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numba import types

from bayes_gmm.kernels.chunks import in_parts
from bayes_gmm.kernels.cpu import loop
from bayes_gmm.kernels.kernel import at_address, kernel
from bayes_gmm.kernels.rows import ROWS, Rows, run_pass
from bayes_gmm.kernels.rule import PROJECT, Candidate, Rule, pooled
from bayes_gmm.kernels.runs import Run, State
from bayes_gmm.kernels.signatures import (
    FACTOR,
    FLAG,
    NUMBERS,
    OUT_MATRIX,
    OUT_STACK,
    OUT_STACKS,
    OUT_VECTOR,
    PRIOR,
    REAL,
    VECTOR,
    WHOLE,
)
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.statistics import SufficientStatistics

WORTH_A_THREAD = 1 << 14  # numbers to look at in a step, from which a thread saves time
CONVERGED, UNFINISHED = -1, -2  # where else the number of a collapsed component stands


ShortRuns = Callable[[Sequence[Candidate], int, float], list[Run]]


class Parts(NamedTuple):
    """Addresses of what a step is made of."""

    kernel: int
    project: int
    factor: int


class Mixtures(NamedTuple):
    """Parameters of S runs (S, K, ...), their functions, and the log prior without its constant."""

    weights: np.ndarray
    means: np.ndarray
    covariances: np.ndarray
    offset: np.ndarray
    whitener: np.ndarray
    log_prior: np.ndarray


class Totals(NamedTuple):
    """Statistics of the last pass of S runs, (S, K, ...)."""

    counts: np.ndarray
    first: np.ndarray
    second: np.ndarray


class History(NamedTuple):
    """Objectives (S, steps + 1) of S runs, how many there are, and how each run ended."""

    objectives: np.ndarray
    length: np.ndarray
    ended: np.ndarray


FIELDS = {
    Parts: (WHOLE,) * 3,
    Mixtures: (OUT_MATRIX, OUT_STACK, OUT_STACKS, OUT_MATRIX, OUT_STACKS, OUT_VECTOR),
    Totals: (OUT_MATRIX, OUT_STACK, OUT_STACKS),
    History: (OUT_MATRIX, NUMBERS, NUMBERS),
}
PARTS, MIXTURES, TOTALS, HISTORY = (
    types.BaseTuple.from_types(fields, kind) for kind, fields in FIELDS.items()
)
RULE = (VECTOR, FLAG, VECTOR, *PRIOR)  # `Rule.closed_over`
project_at, factor_at = at_address(PROJECT), at_address(FACTOR)


def short_runs(rule: Rule, rows: Rows, *, complete: bool = True) -> ShortRuns:
    """Close over the data and the M-step: plain EM as a function of the starts only.

    The rows are in the coordinates of the rule, `complete` if no entry is missing. The function
    that it returns takes starts, a number of steps and a tolerance, and gives one run per start. A
    run ends after so many steps, or when Aitken's extrapolation says that its objective is within
    the tolerance.
    """
    kernel = loop(rule.n_features, rule.structure, complete=complete)
    parts = Parts(kernel.address, rule.project.address, rule.factor.address)

    def run_all(starts: Sequence[Candidate], steps: int, tol: float) -> list[Run]:
        if not starts:
            return []
        theta, functions = zip(*((s.parameters, s.log_quadratic) for s in starts), strict=True)
        # The compiled M-step leaves the prior's constant out.
        log_prior = np.array([s.log_prior for s in starts]) - rule.log_normalizer
        at = Mixtures(
            np.array([t.weights for t in theta]),
            np.array([t.means for t in theta]),
            np.array([t.covariances for t in theta]),
            np.array([f.offset for f in functions]),
            np.array([f.whitener for f in functions]),
            log_prior,
        )
        sums = Totals(*map(np.empty_like, at[:3]))
        history = History(
            np.zeros((len(starts), steps + 1)),
            np.zeros(len(starts), dtype=np.int64),
            np.array([s.lost for s in starts]),
        )

        def some(part: slice) -> None:
            cut = (type(each)(*(array[part] for array in each)) for each in (at, sums, history))
            _run_all(parts, rows, *rule.closed_over, steps, tol, *cut)

        in_parts(some, len(starts), busy=rows.x.size * rule.n_components >= WORTH_A_THREAD)
        at.log_prior[:] += rule.log_normalizer
        history.objectives[:] += rule.log_normalizer
        return [_run(s, at, sums, history) for s in range(len(starts))]

    return run_all


def _run(s: int, at: Mixtures, sums: Totals, history: History) -> Run:
    """Take one run out of the stacks."""
    weights, means, covariances, offset, whitener, log_prior = (array[s] for array in at)
    objectives = history.objectives[s, : history.length[s]].tolist()
    candidate = Candidate(
        Parameters.trusted(weights, means, covariances),
        LogQuadratic(offset, means, whitener),
        float(log_prior),
        -1,
    )
    normalizer = objectives[-1] - candidate.log_prior
    statistics = SufficientStatistics(
        normalizer, sums.counts[s], sums.first[s], sums.second[s], means
    )
    ended = int(history.ended[s])
    return Run(
        State(candidate, statistics, objectives[-1]),
        objectives,
        ended == CONVERGED,
        ended if ended >= 0 else None,
    )


@kernel(types.void(PARTS, ROWS, *RULE, WHOLE, REAL, MIXTURES, TOTALS, HISTORY))
def _run_all(
    parts, rows, constants, equal_weights, floor,
    concentration, prior_mean, precision, degrees, prior_scale,
    steps, tol, at, sums, history,
):  # fmt: skip  # pragma: no cover - compiled
    """Run EM from every start, in place."""
    project, factor = project_at(parts.project), factor_at(parts.factor)
    n_starts, n_components, n_features = at.means.shape
    origin, inverse_scale = np.zeros(n_features), np.ones(n_features)
    for s in range(n_starts):
        count, first, second = sums.counts[s], sums.first[s], sums.second[s]
        objectives = history.objectives[s]
        if history.ended[s] >= 0:
            objectives[0] = -np.inf
            history.length[s] = 1
            continue
        history.ended[s] = UNFINISHED
        before = 0.0
        for step in range(steps + 1):
            # E-step: statistics and objective at these parameters
            for k in range(n_components):
                count[k] = 0.0
                for i in range(n_features):
                    first[k, i] = 0.0
                    for j in range(n_features):
                        second[k, i, j] = 0.0
            log_normalizer = run_pass(
                parts.kernel, rows, origin, inverse_scale,
                at.offset[s], at.means[s], at.whitener[s], count, first, second,
            )  # fmt: skip
            objectives[step] = log_normalizer + at.log_prior[s]
            history.length[s] = step + 1
            if step > 0:
                # gains shrink like a geometric series, so what is left is r / (1 - r) of the last
                gain = objectives[step] - objectives[step - 1]
                if step > 1 and gain < before and gain * gain <= tol * (before - gain):
                    history.ended[s] = CONVERGED
                    break
                before = gain
            if step == steps:
                break
            # M-step: the mode of the posterior given these statistics
            phi, mu, scatter, spread, lost = pooled(
                count, first, second, at.means[s],
                concentration, prior_mean, precision, degrees, prior_scale,
            )  # fmt: skip
            if equal_weights:
                for k in range(n_components):
                    phi[k] = 1.0 / n_components
            sigma = scatter
            try:
                sigma = project(scatter, spread, at.covariances[s], constants)
            except Exception:  # numba knows no other; some matrix is singular
                lost = 0
                for k in range(n_components):
                    if spread[k] < spread[lost]:
                        lost = k
            offset, whitener, log_prior, singular = factor(
                phi, mu, sigma, floor, concentration, prior_mean, precision, degrees, prior_scale
            )
            if lost < 0:
                lost = singular
            if lost >= 0:
                history.ended[s] = lost
                break
            at.log_prior[s] = log_prior
            for k in range(n_components):
                at.weights[s, k], at.offset[s, k] = phi[k], offset[k]
                for i in range(n_features):
                    at.means[s, k, i] = mu[k, i]
                    for j in range(n_features):
                        at.covariances[s, k, i, j] = sigma[k, i, j]
                        at.whitener[s, k, i, j] = whitener[k, i, j]
