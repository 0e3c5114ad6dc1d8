"""A random mixture whose means have a given smallest distance."""

import numpy as np

from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior

ATTEMPTS = 100


def random_mixture(
    n_components: int, n_features: int, separation: float, seed: int | None = None
) -> Parameters:
    r"""Draw the parameters of a mixture from a conjugate prior until its means are far apart.

    .. math:: \phi \sim \mathrm{Dirichlet}(5), \quad
        \Sigma_k \sim \mathrm{IW}(D + 11, 10 I), \quad
        \mu_k \mid \Sigma_k \sim N(0, s^2 \Sigma_k)

    Covariances have mean I, so that a feature of a component has a standard deviation of about 1.
    The spread s starts at the separation and grows when no attempt succeeds.
    """
    if n_components < 1 or n_features < 1:
        raise InputError("a mixture needs at least one component and one feature")
    if not 0 <= separation < np.inf:
        raise InputError(f"separation must be a number >= 0; got {separation}")
    rng = np.random.default_rng(seed)
    spread = max(separation, 1.0)
    while True:
        prior = ConjugatePrior(
            concentration=np.full(n_components, 5.0),
            mean=np.zeros(n_features),
            mean_precision=np.full(n_components, spread**-2.0),
            degrees_of_freedom=np.full(n_components, n_features + 11),
            scale=10 * np.eye(n_features),
        )
        for _ in range(ATTEMPTS):
            drawn = prior.sample(rng)
            if _least_distance(drawn) >= separation:
                return drawn.reorder(np.argsort(drawn.means[:, 0], kind="stable"))
        spread *= 1.5


def _least_distance(parameters: Parameters) -> float:
    """Smallest distance between two means, in units of the pooled standard deviation."""
    least = np.inf
    for k in range(parameters.n_components):
        for other in range(k):
            gap = parameters.means[k] - parameters.means[other]
            common = (parameters.covariances[k] + parameters.covariances[other]) / 2
            least = min(least, float(np.sqrt(gap @ np.linalg.solve(common, gap))))
    return least
