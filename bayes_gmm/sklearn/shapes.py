"""How covariances, precisions and their factors are laid out, which depends on the type.

scikit-learn keeps one number per component for "spherical", D for "diag", one matrix for "tied" and
K matrices for "full". Inside there are always K matrices, and so there are for our own codes.
"""

import numpy as np


def expected_shape(kind: str, n_components: int, n_features: int) -> tuple[int, ...]:
    """Return the shape that this type of covariance has outside.

    Parameters
    ----------
    kind : str
    n_components, n_features : int

    Returns
    -------
    tuple of int
    """
    own = {
        "spherical": (n_components,),
        "diag": (n_components, n_features),
        "tied": (n_features, n_features),
    }
    return own.get(kind, (n_components, n_features, n_features))


def expand(values: np.ndarray, kind: str, n_components: int, n_features: int) -> np.ndarray:
    """Turn what stands for the covariances outside into K matrices.

    Parameters
    ----------
    values : ndarray
    kind : str
    n_components, n_features : int

    Returns
    -------
    ndarray (K, D, D)
    """
    if kind == "spherical":
        return values[:, None, None] * np.eye(n_features)
    if kind == "diag":
        return values[:, :, None] * np.eye(n_features)
    if kind == "tied":
        return np.repeat(values[None], n_components, axis=0)
    return values


def compact(matrices: np.ndarray, kind: str) -> np.ndarray:
    """Turn K matrices into what stands for them outside.

    Parameters
    ----------
    matrices : ndarray (K, D, D)
        Covariances, precisions, or triangular factors of either.
    kind : str

    Returns
    -------
    ndarray
    """
    if kind == "spherical":
        return matrices[:, 0, 0].copy()
    if kind == "diag":
        return np.einsum("kii->ki", matrices).copy()
    if kind == "tied":
        return matrices[0].copy()
    return matrices.copy()
