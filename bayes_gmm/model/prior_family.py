r"""Common parts of priors: a log density in three parts, and priors with independent means.

    log p(theta) = log p(phi) + sum_k log p(mu_k | Sigma_k) + log p(Sigma_1..K)

Each part is a density of the parameters themselves. The priors that are not conjugate have

    phi ~ Dirichlet(alpha)        mu_kj ~ N(m_j, s_j^2)        Sigma_1..K ~ given by the family

A family adds the density and draws of the covariances, and their behaviour under a change of units.
"""

from dataclasses import dataclass, fields
from typing import Any, NamedTuple, Self

import numpy as np
from scipy.special import gammaln

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.model.arrays import as_numbers, require_finite, symmetrized
from bayes_gmm.model.normal import LOG_2PI, cholesky
from bayes_gmm.model.parameters import ArrayOrLike, Parameters

ArrayOrNumber = np.ndarray | float


class LogPrior(NamedTuple):
    """Log prior densities of one mixture, or of many."""

    weights: ArrayOrNumber  # (...)
    means: ArrayOrNumber  # (..., K), given the covariances
    # (..., K), or (...), where the prior of one covariance depends on the others
    covariances: ArrayOrNumber

    @property
    def total(self) -> np.ndarray:
        """The sum of all parts, (...)."""
        shape = np.shape(self.weights)
        return np.sum([np.reshape(part, (*shape, -1)).sum(axis=-1) for part in self], axis=0)


def log_dirichlet(concentration: np.ndarray) -> float:
    """Log of the constant of a Dirichlet density."""
    return float(gammaln(concentration.sum()) - gammaln(concentration).sum())


def log_powers(weights: np.ndarray, concentration: np.ndarray) -> np.ndarray:
    """Log of prod_k phi_k^(alpha_k - 1), the Dirichlet density without its constant, (...).

    For alpha = 1 the factor is 1 even if the weight is zero.
    """
    excess = concentration - 1
    with np.errstate(divide="ignore"):
        log_weights = np.where(excess == 0, 0.0, np.log(weights))
    return (excess * log_weights).sum(axis=-1)


@dataclass(frozen=True, eq=False)
class PriorFamily:
    """Base of the priors that are not conjugate: Dirichlet weights and normal means.

    concentration (K,), mean (D,), mean_sd (D,).
    """

    concentration: ArrayOrLike
    mean: ArrayOrLike
    mean_sd: ArrayOrLike

    def __post_init__(self) -> None:
        for field in fields(self):
            value = as_numbers(field.name, getattr(self, field.name))
            require_finite(field.name, value)
            object.__setattr__(self, field.name, value)
        if self.mean.ndim != 1 or not self.mean.size:
            raise InputError(f"mean must have shape (D,); got {self.mean.shape}")
        if self.concentration.ndim != 1 or not self.concentration.size:
            raise InputError(f"concentration must have shape (K,); got {self.concentration.shape}")
        self.broadcast("mean_sd", (self.n_features,))
        self.require("concentration", self.concentration > 0, "positive")
        self.require("mean_sd", self.mean_sd > 0, "positive")
        self.check()
        for field in fields(self):
            if isinstance(value := getattr(self, field.name), np.ndarray):
                value.setflags(write=False)

    def broadcast(self, name: str, shape: tuple[int, ...]) -> None:
        """Broadcast a field that is a single number to its full shape."""
        value = getattr(self, name)
        if value.shape not in ((), shape):
            raise InputError(f"{name} must be one number or have shape {shape}; got {value.shape}")
        full = np.broadcast_to(value, shape).copy() if shape else float(value)
        object.__setattr__(self, name, full)

    def require(self, name: str, holds: Any, what: str) -> None:
        """Raise unless a condition holds for every entry of a field."""
        if not np.all(holds):
            raise InputError(
                f"{name} must be {what}; got {np.asarray(getattr(self, name)).tolist()}"
            )

    def check_scale(self, *degrees: str) -> None:
        """Check the fields of Wishart densities: degrees of freedom above D - 1, and a scale."""
        n_features = self.n_features
        for name in degrees:
            self.broadcast(name, ())
            self.require(name, getattr(self, name) > n_features - 1, f"above {n_features - 1}")
        scale = self.scale  # type: ignore[attr-defined]
        if scale.shape != (n_features, n_features):
            raise InputError(f"scale must have shape {(n_features, n_features)}; got {scale.shape}")
        object.__setattr__(self, "scale", symmetrized("scale", scale[None])[0])
        cholesky(self.scale, "scale")  # type: ignore[attr-defined]  # raises unless positive definite

    def check(self) -> None:
        """Check the fields of the covariances."""
        raise NotImplementedError

    @property
    def n_components(self) -> int:
        """Number of components, K."""
        return len(self.concentration)

    @property
    def n_features(self) -> int:
        """Number of features, D."""
        return len(self.mean)

    @property
    def is_proper(self) -> bool:
        """Whether the prior integrates to one; always true for these priors."""
        return True

    @property
    def is_exchangeable(self) -> bool:
        """Whether the prior is the same for all components, so that their order has no meaning."""
        return bool((self.concentration == self.concentration[0]).all())

    @property
    def typical_covariance(self) -> np.ndarray:
        """A typical covariance (D, D) under the prior, used to scale the coordinates."""
        raise NotImplementedError

    def log_density_of_covariances(self, factors: np.ndarray) -> np.ndarray:
        """Log density of covariances, for each or in total; factors (..., K, D, D)."""
        raise NotImplementedError

    def sample_covariances(self, rng: np.random.Generator) -> np.ndarray:
        """Draw the covariances (K, D, D)."""
        raise NotImplementedError

    def log_density(self, parameters: Parameters) -> float:
        r"""Log prior density of (phi, mu, Sigma).

        Parameters
        ----------
        parameters : Parameters

        Returns
        -------
        float
        """
        theta = parameters
        return float(self.log_densities(theta.weights, theta.means, theta.choleskys))

    def log_densities(
        self, weights: np.ndarray, means: np.ndarray, factors: np.ndarray
    ) -> np.ndarray:
        """Log prior densities of many mixtures at once; see `ConjugatePrior.log_densities`."""
        return self.log_density_by_part(weights, means, factors).total

    def log_density_by_part(
        self, weights: np.ndarray, means: np.ndarray, factors: np.ndarray
    ) -> LogPrior:
        r"""Log prior densities of many mixtures, part by part.

        .. math::
            \log p(\phi) &= \sum_k (\alpha_k - 1) \log \phi_k
            + \log \Gamma(\textstyle\sum_k \alpha_k) - \sum_k \log \Gamma(\alpha_k) \\
            \log p(\mu_k) &= \sum_j \log N(\mu_{kj}; m_j, s_j^2)

        As `ConjugatePrior.log_density_by_part`.
        """
        alpha = self.concentration
        standard = (means - self.mean) / self.mean_sd
        log_normal = -0.5 * (standard**2 + LOG_2PI) - np.log(self.mean_sd)
        return LogPrior(
            log_powers(weights, alpha) + log_dirichlet(alpha),
            log_normal.sum(axis=-1),
            self.log_density_of_covariances(factors),
        )

    def sample(self, rng: np.random.Generator) -> Parameters:
        """Return one draw of (phi, mu, Sigma).

        Parameters
        ----------
        rng : numpy.random.Generator

        Returns
        -------
        theta : Parameters
        """
        weights = rng.dirichlet(self.concentration)
        noise = rng.standard_normal((self.n_components, self.n_features))
        means = self.mean + self.mean_sd * noise
        return Parameters(weights, means, self.sample_covariances(rng))

    def rescale(self, shift: np.ndarray, scale: np.ndarray) -> Self:
        """Return the prior of the parameters of shift + scale * x.

        Parameters
        ----------
        shift, scale : array_like (D,)
            A change of origin and units per feature; scale must be positive.

        Returns
        -------
        prior : of the same type
        """
        scale = np.asarray(scale, dtype=float)
        own = {field.name: getattr(self, field.name) for field in fields(self)}
        own |= {"mean": shift + scale * self.mean, "mean_sd": scale * self.mean_sd}
        return type(self)(**own | self.rescaled(scale))

    def rescaled(self, scale: np.ndarray) -> dict[str, np.ndarray]:
        """Fields of the covariances in other units."""
        raise NotImplementedError


def rows_for(x: Any, n_components: int) -> np.ndarray:
    """Check the data for a default prior, and return the rows (N, D)."""
    require_whole("n_components", n_components, 1)
    return np.asarray(Observations.of(x, what="x").values, dtype=float)
