"""A random mixture, and tables of rows simulated from one, for `bayes-gmm simulate`.

Labels are text (a, b, ...), so that they can't be mistaken for measurements.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import bayes_gmm as bg
from bayes_gmm.data.wording import free_name
from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.priors import ConjugatePrior
from bayes_gmm.results.analysis import read_point

ATTEMPTS = 100  # of one spread of the means


class Mixture(NamedTuple):
    """Parameters, and the names of the features."""

    parameters: Parameters
    features: list[str]

    @classmethod
    def saved(cls, path: Path) -> "Mixture":
        """Read the point estimate of results that `save` wrote."""
        return cls(*read_point(path))

    @classmethod
    def random(cls, k: int, d: int, separation: float, seed: int) -> "Mixture":
        """Draw the parameters; the features are x0, x1, ..."""
        return cls(random_mixture(k, d, separation, seed), [f"x{j}" for j in range(d)])

    def rows(self, n: int, seed: int) -> Any:
        """Make n rows with their labels, in a column z or, if a feature has this name, z_."""
        simulated = bg.simulate(self.parameters, n, seed=seed)
        frame = simulated["x"].to_pandas().set_axis(self.features, axis=1)
        label = free_name("z", self.features)
        frame[label] = [letters(z) for z in simulated["z"].to_numpy()]
        return frame

    def table(self) -> list[Sequence[str]]:
        """Weights and means as text, one line per component."""
        lines: list[Sequence[str]] = [
            ("cluster", "weight", *(f"mean {name}" for name in self.features))
        ]
        weights, means = self.parameters.weights, self.parameters.means
        for k, (weight, mean) in enumerate(zip(weights, means, strict=True)):
            lines.append((letters(k), f"{weight:.3f}", *(f"{value:#.4g}" for value in mean)))
        return lines


def letters(label: int) -> str:
    """Letters for label 0, 1, ...: a, b, ..., z, aa, ab, ..."""
    label, letter = divmod(int(label), 26)
    return (letters(label - 1) if label else "") + chr(ord("a") + letter)


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
