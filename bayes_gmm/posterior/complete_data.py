r"""The mean of many densities of the parameters given labels, which resembles the posterior.

    q(theta) = 1/S sum_s p(theta | x, z_s)            z_s ~ p(z | x, theta_s), theta_s draws

With every labelling, weighted by its probability, q would be the posterior itself; so its tails are
those of the posterior, also where components are empty or overlap. Each density is a product over
components (`StructuredPrior.posterior`, or `Conditionals`). Averaged over all K! orders of the
components it is a permanent,

    1/K! sum over permutations t of prod_k f_sk(theta_t(k))  =  1/K! perm A,   A_kj = f_sk(theta_j)

so that no order is left out, and none has to be chosen.

Frühwirth-Schnatter (2004), Econometrics J. 7; Lee & Robert (2016), Bayesian Anal. 11.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import numpy as np
from scipy.special import gammaln, logsumexp, multigammaln

from bayes_gmm.kernels.permanents import log_permanents
from bayes_gmm.model.normal import LOG_2PI, cholesky, inverse_factors
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.model.prior_family import log_dirichlet
from bayes_gmm.model.structures.prior import StructuredPrior
from bayes_gmm.posterior.conditionals import Conditionals

BLOCK = 1 << 21  # numbers in an array at a time


class CompleteData(NamedTuple):
    """The mean of S products over components.

    A component's factor in the density of weights, means and covariances is

        phi^(concentration - 1) |Sigma|^(-power / 2) exp(-tr(scale Sigma^-1) / 2) N

    with N the normal density of its mean. The precision of that is mean_precision Sigma^-1, or B'B
    with B the mean_whitener; the other one is None.
    """

    products: Sequence[StructuredPrior] | Sequence[Conditionals]
    concentration: np.ndarray  # (S, K)
    mean: np.ndarray  # (S, K, D)
    power: np.ndarray  # (S, K)
    scale: np.ndarray  # (S, K, D, D)
    log_constant: np.ndarray  # (S,)
    mean_precision: np.ndarray | None = None  # (S, K)
    mean_whitener: np.ndarray | None = None  # (S, K, D, D)

    @classmethod
    def of_conjugate(cls, products: Sequence[StructuredPrior]) -> Self:
        """Stack posteriors given labels under a conjugate prior."""
        counted = [one.counted for one in products]
        return cls(
            products,
            np.stack([one.concentration for one in counted]),
            np.stack([one.mean for one in counted]),
            np.stack([one.power for one in products]),
            np.stack([one.scale for one in counted]),
            np.array([one.log_normalizer for one in products]),
            mean_precision=np.stack([one.mean_precision for one in counted]),
        )

    @classmethod
    def of_conditionals(cls, products: Sequence[Conditionals]) -> Self:
        """Stack products of conditional densities."""
        concentration, mean, whitener, degrees, scale = (
            np.stack(part) for part in zip(*products, strict=True)
        )
        n_features = mean.shape[-1]
        log_scale, log_whitener = (
            np.log(np.einsum("skii->ski", factors)).sum(axis=-1)
            for factors in (cholesky(scale, "scales"), whitener)
        )
        log_wishart = degrees * (log_scale - 0.5 * n_features * np.log(2))
        log_wishart -= multigammaln(0.5 * degrees, n_features)
        log_normal = log_whitener - 0.5 * n_features * LOG_2PI
        of_weights = np.array([log_dirichlet(one) for one in concentration])
        return cls(
            products,
            concentration,
            mean,
            degrees + n_features + 1,
            scale,
            of_weights + (log_wishart + log_normal).sum(axis=-1),
            mean_whitener=whitener,
        )

    def sample(self, n: int, rng: np.random.Generator) -> list[Parameters]:
        """Draw n mixtures, as many of each product, or one more of some."""
        return [self.products[i % len(self.products)].sample(rng) for i in range(n)]

    def log_densities(
        self, weights: np.ndarray, means: np.ndarray, factors: np.ndarray, *, symmetric: bool
    ) -> np.ndarray:
        """Log densities of mixtures; of the mean over all orders of the components if symmetric.

        Shapes: weights (n, K), means (n, K, D), factors (n, K, D, D) -> (n,).
        """
        n_products, n_components, n_features = self.mean.shape
        rows = max(1, BLOCK // (n_products * n_components**2 * n_features))
        found = []
        for start in range(0, len(weights), rows):
            part = slice(start, start + rows)
            log_factors = self._log_factors(weights[part], means[part], factors[part])
            if symmetric:
                log_products = log_permanents(log_factors.reshape(-1, n_components, n_components))
                log_products -= gammaln(n_components + 1)
            else:
                log_products = np.einsum("nskk->ns", log_factors)
            log_products = log_products.reshape(-1, n_products) + self.log_constant
            found.append(logsumexp(log_products, axis=1))
        return np.concatenate(found) - np.log(n_products)

    def _log_factors(
        self, weights: np.ndarray, means: np.ndarray, factors: np.ndarray
    ) -> np.ndarray:
        """Logs of the factor k of product s at component j of a mixture, (n, S, K, K)."""
        n_products, n_components, n_features = self.mean.shape
        square = n_features**2
        whitener = inverse_factors(factors.reshape(-1, n_features, n_features))  # (n K, D, D)
        precision = whitener.swapaxes(1, 2) @ whitener
        log_weight = np.log(weights).ravel()
        log_det = -2 * np.log(np.einsum("mii->mi", whitener)).sum(axis=1)
        centers, points = self.mean.reshape(-1, n_features), means.reshape(-1, n_features)
        # All of (n K, S K), until the axes are put in order.
        result = precision.reshape(-1, square) @ self.scale.reshape(-1, square).T
        result *= -0.5
        result += np.outer(log_weight, self.concentration.ravel() - 1)
        result -= 0.5 * np.outer(log_det, self.power.ravel())
        if self.mean_precision is not None:
            whitened = whitener @ centers.T  # (n K, D, S K)
            whitened -= whitener @ points[..., None]
            squared = np.einsum("mds,mds->ms", whitened, whitened)
            result -= 0.5 * (log_det[:, None] + squared * self.mean_precision.ravel())
        if self.mean_whitener is not None:
            own = self.mean_whitener.reshape(-1, n_features, n_features)
            whitened = own @ points.T  # (S K, D, n K)
            whitened -= own @ centers[..., None]
            result -= 0.5 * np.einsum("sdm,sdm->ms", whitened, whitened)
        return result.reshape(-1, n_components, n_products, n_components).transpose(0, 2, 3, 1)
