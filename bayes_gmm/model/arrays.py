"""Checks of arrays from users: numeric, finite, symmetric."""

from typing import Any

import numpy as np

from bayes_gmm.errors import InputError

SYMMETRY_TOLERANCE = 1e-10


def as_numbers(name: str, value: Any) -> np.ndarray:
    """Copy a value into an array of floats."""
    try:
        return np.array(value, dtype=float)
    except (TypeError, ValueError):
        raise InputError(
            f"{name} could not be read as a numeric array: it has entries that are not numbers, or "
            "rows of unequal length"
        ) from None


def require_finite(name: str, array: np.ndarray) -> None:
    """Raise unless every entry is finite, and name the first that is not."""
    if not np.isfinite(array).all():
        place = [int(i) for i in np.argwhere(~np.isfinite(array))[0]] if array.ndim else ""
        raise InputError(f"{name}{place} is not finite; every entry must be a number")


def symmetrized(name: str, matrices: np.ndarray) -> np.ndarray:
    """Remove rounding from symmetric matrices. matrices (K, D, D) -> (K, D, D)."""
    transposed = matrices.swapaxes(1, 2)
    size = np.sqrt(np.abs(np.einsum("kii,kjj->kij", matrices, matrices)))
    skewed = np.abs(matrices - transposed) > SYMMETRY_TOLERANCE * size
    if skewed.any():
        k, i, j = (int(index) for index in np.argwhere(skewed)[0])
        raise InputError(f"{name}[{k}] is not symmetric: entries ({i}, {j}) and ({j}, {i}) differ")
    return (matrices + transposed) / 2
