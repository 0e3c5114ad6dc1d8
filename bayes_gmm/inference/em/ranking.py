r"""Ranking of optima: states by expected prediction, modes finally by their posterior mass.

The objective of an optimum measures its fit to the data at hand. The expected log-likelihood of new
rows is lower, by one nat for each free parameter; a prior that counts as kappa rows for a mean and
as c = nu + D + 2 rows for a covariance reduces this optimism,

    score = log p(x | theta)
        - sum_k { D n_k / (n_k + kappa_k) + P n_k / (n_k + c_k) } { 1 + (D_k + 2) / 4 (n_k + c_k) },

with P the number of covariance parameters of component k alone, and D_k + 1 = 2 P / D. The last
factor is for components with few rows: the expected loss of a normal distribution fitted to n rows
is larger by n / (n - D - 2), which is about 1 + (D + 2) / n. A few unlucky samples dominate this
mean, so only a quarter of the excess is used, which outweighs a higher likelihood only if rows are
very few.

The objective misleads in two cases. Under a prior for many features an empty component is at the
mode of its prior, whose log density is tens of nats and depends on the parametrization. And near
singularities of the likelihood there are local maxima in which a component fits a few rows that
happen to be close together. Against these the score has a penalty that vanishes as N grows,

    p(theta) = -1/N sum_k [ tr(S Sigma_k^-1) + log|Sigma_k| ],

with S the covariance of the data. With covariances that maximize the penalized objective, a
component of n rows loses about

    n/2 log| I + 2 / (N n) S Sigma^-1 |,

which is negligible for a component of ordinary size, and larger than the gain from a chance pair of
close rows. Scores choose between optima but do not move them: every reported optimum is a maximum
of the objective itself.

Under a proper prior the modes are finally ordered by their posterior mass, but only among those
that use as many components as the mode with the best score: with many features a mode with an empty
component may hold nearly all of the posterior mass, but it describes fewer than K components.
"""

from collections.abc import Callable

import numpy as np

from bayes_gmm.errors import InputError
from bayes_gmm.kernels.kernel import c_order
from bayes_gmm.kernels.rule import project
from bayes_gmm.kernels.runs import State
from bayes_gmm.model.marginal_likelihood import cheeseman_stutz
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.model.structures import UNCONSTRAINED, Structure
from bayes_gmm.model.structures.prior import StructuredPrior

Score = Callable[[State], float]
Order = Callable[[list[State]], list[int]]  # from the best one by score to numbers in order
FEWEST = 3.0  # numbers in the rows of a component for each of its own covariance parameters


def predicted(
    prior: ConjugatePrior, structure: Structure, covariance: np.ndarray, n_rows: float
) -> Score:
    """Rank states by the log-likelihood that as many new rows are expected to have.

    Shapes: covariance (D, D).

    A larger score is better.

    Akaike (1973); Hurvich & Tsai (1989), Biometrika 76, on few rows; Chen & Tan (2009), J.
    Multivariate Anal. 100, 1367-1383, with a_n = 1/n, on the penalty.
    """
    n_features = prior.n_features
    own = structure.own_parameters(n_features)
    seen = StructuredPrior.of(prior, structure).power + 1
    excess = (own / n_features + 0.5) / 2 * (own > 0)
    loss = penalty(covariance, n_rows)

    def score(state: State) -> float:
        count = np.maximum(state.statistics.count, np.finfo(float).tiny)
        freedom = n_features * count / (count + prior.mean_precision)
        freedom += own * count / (count + seen)
        optimism = freedom @ (1 + excess / (count + seen))
        return state.statistics.log_normalizer - float(optimism) - loss(state)

    return score


def penalized(covariance: np.ndarray, n_rows: float) -> Score:
    """Rank states by their objective less the penalty, as for starts that the user has chosen."""
    loss = penalty(covariance, n_rows)
    return lambda state: state.objective - loss(state)


def penalty(covariance: np.ndarray, n_rows: float) -> Score:
    """Return what a state loses by the penalty on small covariances, in nats, near its maximum.

    `covariance` (D, D) is that of the data in the coordinates of the pass. It is diagonal for
    structures of diagonal covariances, whose determinants are products.

    References
    ----------
    Chen & Tan (2009); Ciuperca, Ridolfi & Idier (2003), Scand. J. Statist. 30.
    """
    variances, identity = np.diagonal(covariance), np.eye(len(covariance))
    is_diagonal = not np.count_nonzero(covariance - np.diag(variances))

    def loss(state: State) -> float:
        held = state.statistics.count > 0
        whitener, count = state.candidate.log_quadratic.whitener[held], state.statistics.count[held]
        added = 2 / (n_rows * count)
        if is_diagonal and not np.count_nonzero(np.tril(whitener[0], -1)):
            squares = np.einsum("kii->ki", whitener) ** 2
            log_dets = np.log1p(added[:, None] * squares * variances).sum(axis=1)
        else:
            relative = whitener @ covariance @ whitener.swapaxes(1, 2)
            log_dets = np.linalg.slogdet(identity + added[:, None, None] * relative)[1]
        return float(count @ log_dets) / 2

    return loss


def log_masses(
    states: list[State], prior: ConjugatePrior, structure: Structure, *, equal_weights: bool = False
) -> np.ndarray:
    """Estimate the logarithm of the posterior mass of each mode, log p(x) if it were the only one.

    Shapes: -> (len(states),).

    Returned: in nats; not numbers if the prior is improper, or so narrow that it is lost to
    rounding.
    """
    best, constants = project(structure), structure.constants

    def of(state: State) -> float:
        previous = state.candidate.parameters.covariances
        return cheeseman_stutz(
            prior,
            state.candidate.log_quadratic,
            state.statistics,
            structure,
            equal_weights=equal_weights,
            project=lambda w, n, _: best(*c_order(w, n, previous), constants),
        )

    try:
        return np.array([of(state) for state in states])
    except InputError:
        return np.full(len(states), np.nan)


def by_mass(prior: ConjugatePrior, structure: Structure, *, equal_weights: bool = False) -> Order:
    """Order the modes of a proper posterior by their mass, the best by score being the first given.

    Those that use fewer components than it does come last, whatever they hold.
    """

    def order(states: list[State]) -> list[int]:
        mass = log_masses(states, prior, structure, equal_weights=equal_weights)
        used = np.array([n_used(state, structure) for state in states])
        return np.lexsort((-mass, -np.minimum(used, used[0]))).tolist()

    return order


def n_used(state: State, structure: Structure = UNCONSTRAINED) -> int:
    """Count the components that hold as many rows as they have parameters of their own."""
    n_features = state.statistics.center.shape[1]
    least = n_features + structure.own_parameters(n_features)
    return int((state.statistics.count >= least).sum())


def rests_on_few(count: np.ndarray, structure: Structure, n_features: int) -> np.ndarray:
    """Say of each component whether its rows are too few for a covariance of its own.

    Shapes: count (K,) -> (K,).
    """
    return count * n_features < FEWEST * structure.own_parameters(n_features)
