"""Whatever has no names, as an array of numbers."""

from typing import Any, Never

import numpy as np

from bayes_gmm.data.faults import NO_MEASUREMENTS
from bayes_gmm.data.wording import require_distinct, shorten
from bayes_gmm.errors import InputError


def as_array(X: Any, what: str) -> np.ndarray:
    """Convert an object without column names to an array."""
    if isinstance(X, np.ma.MaskedArray) and X.dtype.kind in "iuf":
        return np.ma.filled(X.astype(np.float64), np.nan)
    try:
        return np.asanyarray(X)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{what} cannot be read as a table, because its rows differ in length: "
            "give every row the same number of values"
        ) from error


def table_of(array: np.ndarray, names: list[str], what: str) -> tuple[np.ndarray, list[str]]:
    """Check the shape, the names and the types of a table or of a block of one."""
    array = _two_dimensional(array, what)
    names = names or [f"x{j}" for j in range(array.shape[1])]
    require_distinct(names, what)
    return _floats(array, names, what), names


def _two_dimensional(array: np.ndarray, what: str) -> np.ndarray:
    """Shape (N, D), with N and D at least 1."""
    if array.ndim == 0 and hasattr(array.item(), "toarray"):
        raise InputError(f"{what} is a sparse matrix: give {what}.toarray()")
    if array.ndim == 0:
        kind = type(array.item()).__name__
        raise InputError(
            f"{what} is a single object of type {kind}, not a table: "
            "give an array or a DataFrame with one row per observation"
        )
    if array.ndim == 1:
        array = array.reshape(-1, 1)
    if array.ndim != 2:
        shape = " x ".join(map(str, array.shape))
        raise InputError(
            f"{what} has {array.ndim} dimensions ({shape}), not rows x columns: "
            "flatten each observation, for example by X.reshape(len(X), -1)"
        )
    n_rows, n_features = array.shape
    if n_features == 0:
        raise InputError(f"{what} has no columns: give at least one column of numbers")
    if n_rows == 0:
        raise InputError(f"{what} has no rows: give at least two, since one has no spread")
    return array


def _floats(array: np.ndarray, names: list[str], what: str) -> np.ndarray:
    """Give the numbers as float64 in C order, copied only if they must be."""
    if array.dtype.kind in "UTSO":
        _refuse_text(array, names, what)
    if array.dtype.kind in NO_MEASUREMENTS:
        raise InputError(
            f"{what} holds {NO_MEASUREMENTS[array.dtype.kind]}, not measurements: "
            "give numbers, for example X.astype(float) if the values are quantities"
        )
    on_disk = isinstance(array, np.memmap) and array.flags.c_contiguous
    dtype = np.float32 if on_disk and array.dtype == np.float32 else np.float64
    with np.errstate(over="ignore"):  # a long double too large for a double is reported as inf
        return np.ascontiguousarray(array, dtype=dtype)


def _refuse_text(array: np.ndarray, names: list[str], what: str) -> Never:
    """Name the first entry that is not a number, or refuse numbers kept as text or objects."""
    for (row, column), entry in np.ndenumerate(array):
        try:
            float(entry)
        except (TypeError, ValueError):
            raise InputError(
                f"{what} holds {shorten(entry)} in row {row}, column {names[column]!r}, which is "
                "not a number: choose columns of numbers, for example X[:, [0, 1]].astype(float)"
            ) from None
    raise InputError(
        f"{what} keeps its numbers as text or Python objects (dtype {array.dtype}): "
        "convert it with X.astype(float)"
    )
