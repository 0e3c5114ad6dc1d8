"""Shapes of covariances, precisions and their factors, for each covariance type.

scikit-learn stores one number per component for "spherical", D for "diag", one matrix for "tied"
and K matrices for "full". This package uses K matrices always, also for its own codes.
"""

import numpy as np


def expected_shape(kind: str, n_components: int, n_features: int) -> tuple[int, ...]:
    """Return the shape of the public attribute `covariances_` for this type."""
    own = {
        "spherical": (n_components,),
        "diag": (n_components, n_features),
        "tied": (n_features, n_features),
    }
    return own.get(kind, (n_components, n_features, n_features))


def expand(values: np.ndarray, kind: str, n_components: int, n_features: int) -> np.ndarray:
    """Convert a public attribute to K matrices.

    Shapes: -> (K, D, D).
    """
    if kind == "spherical":
        return values[:, None, None] * np.eye(n_features)
    if kind == "diag":
        return values[:, :, None] * np.eye(n_features)
    if kind == "tied":
        return np.repeat(values[None], n_components, axis=0)
    return values


def compact(matrices: np.ndarray, kind: str) -> np.ndarray:
    """Convert K matrices to the shape of the public attributes.

    Shapes: matrices (K, D, D).
    """
    if kind == "spherical":
        return matrices[:, 0, 0].copy()
    if kind == "diag":
        return np.einsum("kii->ki", matrices).copy()
    if kind == "tied":
        return matrices[0].copy()
    return matrices.copy()
