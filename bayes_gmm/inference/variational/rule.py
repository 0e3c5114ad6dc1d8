r"""The update of variational Bayes, in the place of EM's M-step.

    pass     statistics = expect(log rho_k)            best q(z) given q(theta)
    update   q(theta)   = prior.posterior(statistics)  best q(theta) given q(z)

A candidate holds -KL(q, prior) where that of EM holds the log prior, so that the objective of the
loop is the lower bound of the log evidence. An accelerated step is the posterior of extrapolated
statistics, which is a distribution as good as any: its bound is exact too.
"""

import numpy as np

from bayes_gmm.errors import InputError
from bayes_gmm.kernels.rule import Candidate
from bayes_gmm.model.normal import cholesky
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.model.variational import Expected, divergence


class VariationalRule:
    """The update under a proper prior of components with a structure that is drawn."""

    def __init__(self, prior: StructuredPrior) -> None:
        self.prior = prior
        self.diagonal = prior.structure.is_diagonal

    def maximize(
        self, statistics: SufficientStatistics, previous: np.ndarray | None = None
    ) -> Candidate:
        """Return the best q given the labels; nothing is iterated, so none is previous."""
        return self.at(self.as_read(self.prior.posterior(statistics)))

    def at(self, q: StructuredPrior) -> Candidate:
        """Take a distribution into the loop; `lost` is a component of which it is none."""
        lost = improper(q)
        if lost < 0:
            try:
                cholesky(q.counted.scale, "scale")
                expected = Expected.under(q)
            except InputError:
                lost = int(np.argmin(q.counted.degrees_of_freedom))
            else:
                kl = divergence(q, self.prior, expected)
                return Candidate(expected.parameters, expected.log_quadratic, -kl, -1, q)
        counted = q.counted
        nothing = Parameters.trusted(counted.concentration, counted.mean, counted.scale)
        functions = LogQuadratic(counted.concentration, counted.mean, counted.scale)
        return Candidate(nothing, functions, -np.inf, lost, q)

    def as_read(self, q: StructuredPrior) -> StructuredPrior:
        """Leave of the scales what the structure reads, which are positive definite then.

        A pass makes no more of the second moments than that: see `kernels.rows.accumulate`.
        """
        structure, counted = self.prior.structure, q.counted
        if structure.is_diagonal:
            scale = counted.scale * np.eye(counted.n_features)
        elif structure.is_common:
            scale = np.broadcast_to(counted.scale.mean(axis=0), counted.scale.shape)
        else:
            return q
        return q._replace(
            counted=type(counted).trusted(
                concentration=counted.concentration,
                mean=counted.mean,
                mean_precision=counted.mean_precision,
                degrees_of_freedom=counted.degrees_of_freedom,
                scale=scale,
            )
        )


def improper(q: StructuredPrior) -> int:
    """Find a component that extrapolated statistics left with fewer than no rows; -1 if none."""
    counted = q.counted
    fields = counted.concentration, counted.mean_precision, q.power
    fewest = np.min(fields, axis=0)
    return -1 if (fewest > 0).all() else int(np.argmin(fewest))
