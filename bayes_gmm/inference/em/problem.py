"""The input of EM: rows, prior and structure, in standardized coordinates."""

from dataclasses import dataclass

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.inference.em import em
from bayes_gmm.inference.em.existence import conditional_variances
from bayes_gmm.kernels.chunks import Expect, expectation
from bayes_gmm.kernels.rule import Rule
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import UNCONSTRAINED, Structure

MOST_STEPS, CLOSE = 200, 1e-3  # of EM for one normal, and nats at which it ends


@dataclass(frozen=True, eq=False)
class Problem:
    """Rows in the coordinates (x - origin) / scale, the pass over them, and the M-step."""

    view: Observations
    structure: Structure
    prior: ConjugatePrior  # the flat one is maximum likelihood
    expect: Expect
    rule: Rule
    mean: np.ndarray  # (D,), of the data; of rows with missing entries the most likely ones
    covariance: np.ndarray  # (D, D)
    spread: np.ndarray | None  # (D,), see `kernels.rows`

    @classmethod
    def of(
        cls,
        observations: Observations,
        n_components: int,
        prior: ConjugatePrior | None,
        structure: Structure,
        *,
        equal_weights: bool = False,
        reg_covar: float = 0.0,
        moments: tuple[np.ndarray, np.ndarray] | None = None,
        threads: int | None = None,
    ) -> "Problem":
        """Standardize the rows and the prior, both given in the user's units.

        `reg_covar` is added to the diagonal of each covariance. `moments`, mean and covariance in
        the user's units, save a pass; they tell when a covariance is singular.
        """
        view = structure.standardized(observations)
        origin, scale, n_features = view.origin, view.scale, view.n_features
        spread = reg_covar / scale**2 if reg_covar else None
        expect = expectation(view, structure, spread=spread, threads=threads)
        if moments is None:
            mean, covariance = moments_of(view, expect, diagonal=structure.is_diagonal)
        else:
            mean, covariance = (moments[0] - origin) / scale, moments[1] / np.outer(scale, scale)
        own = ConjugatePrior.flat(n_components, n_features)
        if prior is not None:
            own = prior.rescale(-origin / scale, 1 / scale)
        variances = conditional_variances(covariance)
        rule = Rule(own, structure, variances, equal_weights=equal_weights)
        return cls(view, structure, own, expect, rule, mean, covariance, spread)

    def standardized(self, parameters: Parameters) -> Parameters:
        """Parameters in the coordinates of the pass."""
        return parameters.rescale(-self.view.origin / self.view.scale, 1 / self.view.scale)

    def in_units(self, parameters: Parameters) -> Parameters:
        """Parameters in the user's units."""
        return parameters.rescale(self.view.origin, self.view.scale)


def moments_of(
    view: Observations, expect: Expect, *, diagonal: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and covariance (D, D) of standardized data, by passes with a single component.

    One pass sums complete rows. Where entries are missing, EM finds the most likely normal.
    `diagonal` leaves correlations out.
    """
    n_features = view.n_features
    mean, covariance = np.zeros((1, n_features)), np.eye(n_features)[None]
    if view.is_complete:
        statistics = expect(LogQuadratic(np.zeros(1), mean, np.zeros_like(covariance)))
        mean, covariance = statistics.mean, statistics.scatter / statistics.count[0]
        return mean[0], np.diag(np.diagonal(covariance[0])) if diagonal else covariance[0]
    structure = Structure.named("VVI", n_features) if diagonal else UNCONSTRAINED
    rule = Rule(ConjugatePrior.flat(1, n_features), structure, np.zeros(n_features))
    start = rule.at(Parameters([1.0], mean, covariance))
    theta = em.run(expect, rule, start, max_iter=MOST_STEPS, tol=CLOSE).state.parameters
    return theta.means[0], theta.covariances[0]
