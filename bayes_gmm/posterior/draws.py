"""The draws of a posterior as three arrays, (chain, draw, ...), without labels."""

from typing import NamedTuple

import numpy as np

from bayes_gmm.model.normal import LOG_2PI, cholesky, inverse_factors
from bayes_gmm.model.parameters import LogQuadratic, Parameters


class Draws(NamedTuple):
    """All draws of a mixture."""

    weights: np.ndarray  # (chain, draw, K)
    means: np.ndarray  # (chain, draw, K, D)
    covariances: np.ndarray  # (chain, draw, K, D, D)

    @property
    def n_chains(self) -> int:
        """Number of chains."""
        return self.weights.shape[0]

    @property
    def n_draws(self) -> int:
        """Number of draws per chain."""
        return self.weights.shape[1]

    def reorder(self, order: np.ndarray) -> "Draws":
        """Return draws whose component k is component order[..., k] of these, draw by draw."""
        return Draws(
            np.take_along_axis(self.weights, order, axis=2),
            np.take_along_axis(self.means, order[..., None], axis=2),
            np.take_along_axis(self.covariances, order[..., None, None], axis=2),
        )

    def log_quadratic(self) -> LogQuadratic:
        """Return the log joint densities of all draws, chain after chain."""
        n_components, n_features = self.means.shape[2:]
        factors = cholesky(self.covariances, "covariances")
        half_log_det = np.log(np.einsum("...kii->...ki", factors)).sum(axis=-1)
        with np.errstate(divide="ignore"):
            offset = np.log(self.weights) - half_log_det - 0.5 * n_features * LOG_2PI
        whitener = inverse_factors(factors.reshape(-1, n_features, n_features))
        return LogQuadratic(
            offset.reshape(-1, n_components),
            self.means.reshape(-1, n_components, n_features),
            whitener.reshape(-1, n_components, n_features, n_features),
        )

    def thinned(self, n: int) -> list[Parameters]:
        """Return at most n draws, evenly spaced over all chains."""
        total = self.n_chains * self.n_draws
        chosen = np.unique(np.linspace(0, total - 1, min(n, total)).round().astype(int))
        chain, draw = np.unravel_index(chosen, (self.n_chains, self.n_draws))
        return [
            Parameters(*mixture)
            for mixture in zip(
                self.weights[chain, draw],
                self.means[chain, draw],
                self.covariances[chain, draw],
                strict=True,
            )
        ]
