"""Plain EM from many starts in one compiled call, for a search that compares them.

On small data a step of EM takes longer between its parts, in Python, than in them. A search that
looks at dozens of starts makes its steps here, with the very functions that the loop in
`inference.em` is made of, and hands over to that loop where a climb is slow. The compiled loop
knows the pass and the M-step by their addresses, so that one compilation serves all structures.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numba import types

from bayes_gmm.kernels.chunks import in_parts
from bayes_gmm.kernels.groups import GROUP_PASS, GROUPS, Groups, pass_over
from bayes_gmm.kernels.kernel import kernel
from bayes_gmm.kernels.rule import POOL, PROJECT, Candidate, Rule, pooled
from bayes_gmm.kernels.signatures import (
    FACTOR,
    FLAG,
    NUMBERS,
    OUT_MATRIX,
    OUT_STACK,
    OUT_STACKS,
    OUT_VECTOR,
    PASS,
    PRIOR,
    REAL,
    VECTOR,
    WHOLE,
)
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.statistics import SufficientStatistics

PARTS = tuple(map(types.FunctionType, (GROUP_PASS, PASS, POOL, PROJECT, FACTOR)))
RULE = (VECTOR, FLAG, VECTOR, *PRIOR)
STARTS = (OUT_MATRIX, OUT_STACK, OUT_STACKS, OUT_MATRIX, OUT_STACKS, OUT_VECTOR)
ENDS = (OUT_MATRIX, OUT_STACK, OUT_STACKS, OUT_MATRIX, NUMBERS, NUMBERS)

WORTH_A_THREAD = 1 << 14  # numbers to look at in a step, from which a thread saves time
CONVERGED, UNFINISHED = -1, -2  # where else the number of a lost component stands


class Climb(NamedTuple):
    """Where a climb stopped: the parameters, the pass at them, and the way there.

    Attributes
    ----------
    candidate : Candidate
    statistics : SufficientStatistics
    objectives : list of float
        At the start and after each step.
    converged : bool
    lost : int
        The component that the next step would lose, -1 if there is none.
    """

    candidate: Candidate
    statistics: SufficientStatistics
    objectives: list[float]
    converged: bool
    lost: int


ClimbAll = Callable[[Sequence[Candidate], int, float], list[Climb]]


def climber(rule: Rule, groups: Groups) -> ClimbAll:
    """Close over the data and the M-step: plain EM as a function of the starts only.

    The groups are in the coordinates of the rule. The function that it returns takes starts, a
    number of steps and a tolerance, and gives one Climb per start. A climb ends after so many
    steps, or when Aitken's extrapolation says that its objective is within the tolerance.
    """
    parts = [
        part.compiled()
        for part in (pass_over(groups), rule.loop, pooled, rule.project, rule.factor)
    ]

    def climb(starts: Sequence[Candidate], steps: int, tol: float) -> list[Climb]:
        if not starts:
            return []
        theta, functions = zip(*((s.parameters, s.log_quadratic) for s in starts), strict=True)
        weights = np.array([t.weights for t in theta])
        means = np.array([t.means for t in theta])
        covariances = np.array([t.covariances for t in theta])
        offset = np.array([f.offset for f in functions])
        whitener = np.array([f.whitener for f in functions])
        # The compiled M-step leaves the prior's constant out.
        log_prior = np.array([s.log_prior for s in starts]) - rule.log_normalizer
        count, first, second = (np.empty_like(part) for part in (weights, means, covariances))
        objectives = np.zeros((len(starts), steps + 1))
        length = np.zeros(len(starts), dtype=np.int64)
        ended = np.array([s.lost for s in starts])
        stacks = (
            weights, means, covariances, offset, whitener, log_prior,
            count, first, second, objectives, length, ended,
        )  # fmt: skip

        def some(part: slice) -> None:
            some_of_each = (stack[part] for stack in stacks)
            _climb_all(*parts, groups, *rule.closed_over, steps, tol, *some_of_each)

        in_parts(some, len(starts), busy=groups.values.size * rule.n_components >= WORTH_A_THREAD)
        log_prior += rule.log_normalizer
        objectives += rule.log_normalizer
        return [
            Climb(
                Candidate(
                    Parameters.trusted(weights[s], means[s], covariances[s]),
                    LogQuadratic(offset[s], means[s], whitener[s]),
                    float(log_prior[s]),
                    -1,
                ),
                SufficientStatistics(
                    float(objectives[s, length[s] - 1] - log_prior[s]),
                    count[s],
                    first[s],
                    second[s],
                    means[s],
                ),
                objectives[s, : length[s]].tolist(),
                bool(ended[s] == CONVERGED),
                max(int(ended[s]), -1),
            )
            for s in range(len(starts))
        ]

    return climb


@kernel(types.void(*PARTS, GROUPS, *RULE, WHOLE, REAL, *STARTS, *ENDS))
def _climb_all(
    run, accumulate, pool, project, factor, groups,
    constants, equal_weights, floor,
    concentration, prior_mean, precision, degrees, prior_scale,
    steps, tol,
    weights, means, covariances, offset, whitener, log_prior,
    count, first, second, objectives, length, ended,
):  # fmt: skip  # pragma: no cover - compiled
    """Climb from every start, in place."""
    n_starts, n_components, n_features = means.shape
    origin, inverse_scale = np.zeros(n_features), np.ones(n_features)
    for s in range(n_starts):
        if ended[s] >= 0:
            objectives[s, 0] = -np.inf
            length[s] = 1
            continue
        ended[s] = UNFINISHED
        before = 0.0
        for step in range(steps + 1):
            for k in range(n_components):
                count[s, k] = 0.0
                for i in range(n_features):
                    first[s, k, i] = 0.0
                    for j in range(n_features):
                        second[s, k, i, j] = 0.0
            log_normalizer = run(
                accumulate, groups, origin, inverse_scale,
                offset[s], means[s], whitener[s], count[s], first[s], second[s],
            )  # fmt: skip
            objective = log_normalizer + log_prior[s]
            objectives[s, step] = objective
            length[s] = step + 1
            if step > 0:
                gain = objective - objectives[s, step - 1]
                if step > 1 and gain < before and gain * gain <= tol * (before - gain):
                    ended[s] = CONVERGED
                    break
                before = gain
            if step == steps:
                break
            phi, mu, scatter, spread, lost = pool(
                count[s], first[s], second[s], means[s],
                concentration, prior_mean, precision, degrees, prior_scale,
            )  # fmt: skip
            if equal_weights:
                for k in range(n_components):
                    phi[k] = 1.0 / n_components
            sigma = scatter
            try:
                sigma = project(scatter, spread, covariances[s], constants)
            except Exception:  # numba knows no other; some matrix is singular
                lost = 0
                for k in range(n_components):
                    if spread[k] < spread[lost]:
                        lost = k
            functions, roots, prior, singular = factor(
                phi, mu, sigma, floor, concentration, prior_mean, precision, degrees, prior_scale
            )
            if lost < 0:
                lost = singular
            if lost >= 0:
                ended[s] = lost
                break
            log_prior[s] = prior
            for k in range(n_components):
                weights[s, k], offset[s, k] = phi[k], functions[k]
                for i in range(n_features):
                    means[s, k, i] = mu[k, i]
                    for j in range(n_features):
                        covariances[s, k, i, j] = sigma[k, i, j]
                        whitener[s, k, i, j] = roots[k, i, j]
