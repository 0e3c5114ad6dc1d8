"""The draws of a posterior without labels: three arrays, (chain, draw, ...), and all their scalars.

A person compares and reads scalars: weights, means, standard deviations, correlations and
covariances. Of a symmetric matrix only the lower triangle is listed.
"""

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


class Scalar(NamedTuple):
    """One number of a mixture."""

    kind: str  # weight, mean, sd, correlation or covariance
    cluster: int
    feature: str = ""  # feature, feature_bis: Empty where they do not apply
    feature_bis: str = ""

    @property
    def name(self) -> str:
        """What it is called in tables, for example ``mean[0, eruptions]``."""
        place = [str(self.cluster), self.feature, self.feature_bis]
        return f"{self.kind}[{', '.join(part for part in place if part)}]"


def catalogue(n_components: int, features: tuple[str, ...]) -> list[Scalar]:
    """List the scalars of a mixture, in the order of `flatten`.

    Without the weight when there is one component, since it is 1 and no parameter.
    """
    clusters = range(n_components)
    pairs, entries = (
        [(features[i], features[j]) for i, j in zip(*triangle, strict=True)]
        for triangle in (np.tril_indices(len(features), -1), np.tril_indices(len(features)))
    )
    weights = [Scalar("weight", k) for k in clusters] if n_components > 1 else []
    return [
        *weights,
        *(Scalar("mean", k, feature) for k in clusters for feature in features),
        *(Scalar("sd", k, feature) for k in clusters for feature in features),
        *(Scalar("correlation", k, *pair) for k in clusters for pair in pairs),
        *(Scalar("covariance", k, *entry) for k in clusters for entry in entries),
    ]


def flatten(weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> np.ndarray:
    """Values (..., P) of all scalars, for one mixture or for arrays of them."""
    lead, n_components, n_features = means.shape[:-2], means.shape[-2], means.shape[-1]
    deviations = np.sqrt(np.einsum("...kii->...ki", covariances))
    correlations = covariances / (deviations[..., :, None] * deviations[..., None, :])
    pairs, entries = np.tril_indices(n_features, -1), np.tril_indices(n_features)
    parts = [
        weights if n_components > 1 else weights[..., :0],
        means,
        deviations,
        correlations[..., *pairs],
        covariances[..., *entries],
    ]
    return np.concatenate([part.reshape(*lead, -1) for part in parts], axis=-1)
