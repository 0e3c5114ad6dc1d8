r"""The best distribution q of the conjugate family, and the log-likelihood of parameters near it.

    q(theta) = argmax ELBO(q)

The log-likelihood of a draw takes a pass over the rows. Of many rows a sample is passed over, and
only the part that is not known without a pass is estimated from it: with the responsibilities r
under q, the log-likelihood at theta exceeds its lower bound with r,

    log p(x | theta) = E_r log p(x, z | theta) + H(r) + sum_n KL(r_n, p(z_n | x_n, theta)),

by terms that are nearly zero, for theta is about where r are its own responsibilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.inference.em import initialize
from bayes_gmm.inference.settings import standardized
from bayes_gmm.inference.variational.rule import VariationalRule
from bayes_gmm.inference.variational.search import Found, Search
from bayes_gmm.kernels.chunks import Expect, expectation
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.statistics import SufficientStatistics, entropy
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.model.variational import expected_log_joint

# Operations of a pass for one draw, beyond which rows are sampled, but not fewer than so many.
AFFORDABLE, FEWEST_ROWS = 5e6, 1 << 12


@dataclass(frozen=True, eq=False)
class Approximation:
    """The best q, in the coordinates (x - origin) / scale of the rows, and the search for it."""

    view: Observations
    found: Found
    expect: Expect  # the pass over all rows
    some: Expect  # over a sample of many rows; else the same

    @classmethod
    def of(
        cls,
        observations: Observations,
        prior: ConjugatePrior,
        starts: Sequence[Parameters],
        structure: Structure = UNCONSTRAINED,
        *,
        threads: int | None = None,
    ) -> "Approximation":
        """Find the best q from starts in the user's units."""
        view = structure.standardized(observations)
        own = StructuredPrior.of(standardized(prior, view), structure)
        expect = some = expectation(view, structure, threads=threads)
        size = affordable_rows(prior)
        if view.n_rows > size:
            sample = initialize.sketch(view, size).observations(view)
            if sample is not view:
                some = expectation(sample, structure, threads=threads)
        search = Search(expect, some, VariationalRule(own))
        found = search.best([standardized(start, view) for start in starts])
        return cls(view, found, expect, some)

    @property
    def q(self) -> StructuredPrior:
        """The distribution in the coordinates of the pass."""
        q = self.found.run.state.candidate.q
        assert q is not None
        return q

    def in_units(self) -> StructuredPrior:
        """The distribution in the user's units."""
        scale = self.view.scale
        at_scale = self.q.counted.rescale(np.zeros_like(scale), scale)
        return self.q._replace(counted=at_scale.rescale(self.view.origin, np.ones_like(scale)))

    def log_likelihood(self) -> "LogLikelihood":
        """Return the log-likelihood of the rows as a function of parameters near q."""
        state = self.found.run.state
        at = state.candidate.log_quadratic
        of_some = None if self.some is self.expect else self.some(at)
        return LogLikelihood(self.some, at, state.statistics, of_some)


@dataclass(frozen=True, eq=False)
class LogLikelihood:
    """Log-likelihood and expected rows per component, in the coordinates of the pass."""

    expect: Expect  # the pass over all rows, or over a sample
    at: LogQuadratic  # what q expects
    of_all: SufficientStatistics  # under q
    of_some: SufficientStatistics | None  # of the sample, if there is one

    def __call__(self, functions: LogQuadratic) -> tuple[float, np.ndarray]:
        """Look at one draw."""
        found = self.expect(functions)
        if self.of_some is None:
            return found.log_normalizer, found.count
        known, estimated = (
            entropy(self.at, statistics) + expected_log_joint(functions, statistics)
            for statistics in (self.of_all, self.of_some)
        )
        count = found.count + self.of_all.count - self.of_some.count
        return found.log_normalizer + known - estimated, np.maximum(count, 0.0)


def affordable_rows(prior: ConjugatePrior) -> int:
    """How many rows are passed over for each draw, and by the search."""
    n_components, n_features = prior.mean.shape
    per_row = n_components * (n_features**2 + 10)
    return max(FEWEST_ROWS, int(AFFORDABLE / per_row))
