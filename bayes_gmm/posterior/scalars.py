"""Every number that describes a mixture, one after another, each with its name.

A person compares and reads scalars: weights, means, standard deviations, correlations and
covariances. Of a symmetric matrix only the lower triangle is listed.
"""

from typing import NamedTuple

import numpy as np


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
    """Values of all scalars, for one mixture or for arrays of them.

    Shapes: weights (..., K), means (..., K, D), covariances (..., K, D, D) -> (..., P).
    """
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
