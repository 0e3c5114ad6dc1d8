"""The M-step, compiled: small problems spend their time here, not in the pass."""

from typing import NamedTuple

import numpy as np
from numba import types

from bayes_gmm.kernels.factors import factored, factored_diagonal
from bayes_gmm.kernels.kernel import Kernel, c_order, kernel, twin
from bayes_gmm.kernels.signatures import (
    FUNCTIONS,
    MATRIX,
    OUT_STACK,
    OUT_VECTOR,
    PRIOR,
    STACK,
    SUMS,
    VECTOR,
    WHOLE,
)
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures import Structure
from bayes_gmm.model.structures.prior import StructuredPrior

# A conditional variance this small beside the data's is rounding, not spread: sd ratio 1e-6.
VARIANCE_FLOOR = 1e-12
EMPTY_COUNT = 1e-3

POOL = types.Tuple([*SUMS, OUT_VECTOR, WHOLE])(*FUNCTIONS, MATRIX, *PRIOR)
PROJECT = OUT_STACK(STACK, VECTOR, STACK, VECTOR)


def project(structure: Structure) -> Kernel:
    """Compile `Structure.maximize`, which some structures share."""
    return twin(structure.maximize, PROJECT)


class Candidate(NamedTuple):
    """Parameters as the loop of EM wants them, with what the next pass and the objective need."""

    parameters: Parameters
    log_quadratic: LogQuadratic
    log_prior: float
    # the first component with an empty count or a singular covariance, -1 if there is none
    lost: int
    # of variational Bayes, the distribution whose expectations these are; `log_prior` is -KL
    q: StructuredPrior | None = None


class Rule:
    """The M-step with prior and structure closed over; data_variances (D,)."""

    def __init__(
        self,
        prior: ConjugatePrior,
        structure: Structure,
        data_variances: np.ndarray,
        *,
        equal_weights: bool = False,
    ) -> None:
        self.project = project(structure)
        self.structure, self.n_features = structure, prior.n_features
        self.diagonal = structure.is_diagonal
        self.factor = factored_diagonal if self.diagonal else factored
        self._constants, self._floor = c_order(structure.constants, VARIANCE_FLOOR * data_variances)
        own = StructuredPrior.of(prior, structure)
        self._prior = c_order(
            own.counted.concentration,
            own.counted.mean,
            own.counted.mean_precision,
            own.counted.degrees_of_freedom,
            own.counted.scale,
        )
        self.log_normalizer = own.log_normalizer
        self._equal_weights = equal_weights

    @property
    def n_components(self) -> int:
        """Number of components, K."""
        return len(self._prior[0])

    @property
    def closed_over(self) -> tuple:
        """What the compiled loop is given: constants of the M-step, equal weights, floor, prior."""
        return (self._constants, self._equal_weights, self._floor, *self._prior)

    def maximize(self, statistics: SufficientStatistics, previous: np.ndarray) -> Candidate:
        """M-step, equal to `StructuredPrior.of(..).posterior(statistics).mode(previous)`."""
        s = statistics
        sums = c_order(s.count, s.first, s.second, s.center)
        weights, means, scatter, spread, empty = pooled(*sums, *self._prior)
        if self._equal_weights:
            weights[:] = 1 / len(weights)
        try:
            covariances = self.project(scatter, spread, *c_order(previous), self._constants)
        except np.linalg.LinAlgError:
            # Some matrix is singular, and the component with the fewest rows is why.
            return self._candidate(weights, means, scatter, int(np.argmin(spread)))
        return self._candidate(weights, means, covariances, empty)

    def at(self, parameters: Parameters) -> Candidate:
        """Take given parameters into the loop."""
        theta = parameters
        weights, means, covariances = c_order(theta.weights, theta.means, theta.covariances)
        return self._candidate(weights, means, covariances, -1)

    def _candidate(
        self, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray, empty: int
    ) -> Candidate:
        offset, whitener, log_kernel, singular = self.factor(
            weights, means, covariances, self._floor, *self._prior
        )
        return Candidate(
            Parameters.trusted(weights, means, covariances),
            LogQuadratic(offset, means, whitener),
            log_kernel + self.log_normalizer,
            empty if empty >= 0 else singular,
        )


@kernel(POOL)
def pooled(
    count, first, second, center, concentration, prior_mean, precision, degrees, prior_scale
):  # pragma: no cover - compiled
    """Posterior of the conjugate prior: weights, means at the mode, and what Sigma is made of."""
    n_components, n_features = center.shape
    weights = np.empty(n_components)
    means = np.empty((n_components, n_features))
    scatter = np.empty((n_components, n_features, n_features))
    spread = np.empty(n_components)
    total = 0.0
    empty = -1
    for k in range(n_components):
        n = count[k]
        # Rounding may leave a tiny negative number where a weight is exactly zero.
        weights[k] = max(concentration[k] - 1.0 + n, 0.0)
        total += weights[k]
        spread[k] = degrees[k] + n_features + 2.0 + n
        if spread[k] < EMPTY_COUNT and empty < 0:
            empty = k
        own = 1.0 / n if n > 0 else 0.0
        share = n / (precision[k] + n) if n > 0 else 0.0
        pull = precision[k] * share
        for i in range(n_features):
            shift = first[k, i] * own
            distance = center[k, i] + shift - prior_mean[k, i]
            means[k, i] = prior_mean[k, i] + share * distance
            for j in range(n_features):
                other = first[k, j] * own
                scatter[k, i, j] = (
                    prior_scale[k, i, j]
                    + second[k, i, j]
                    - n * shift * other
                    + pull * distance * (center[k, j] + other - prior_mean[k, j])
                )
    for k in range(n_components):
        weights[k] /= total
    return weights, means, scatter, spread, empty
