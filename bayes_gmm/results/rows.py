"""New rows for a model that is there already: matched to its features by name, not by position.

Unlike data to fit a model to, rows to predict may be one alone, and a column may be constant.
"""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.data import LARGEST_SCALE, Observations
from bayes_gmm.errors import InputError
from bayes_gmm.tables import listing, require_distinct, require_numbers, select

TABLE = 2  # rows and columns


def rows_like(
    X: Any, features: tuple[str, ...], *, what: str = "X"
) -> tuple[np.ndarray, np.ndarray]:
    """Check new rows against the features of a model.

    Parameters
    ----------
    X : array, list of lists, pandas DataFrame or Series, xarray DataArray, Observations
        A table with names may hold its columns in another order, and other columns as well; one
        without names has exactly the model's columns. (N,) is read as (N, 1).
    features : tuple of str
        The model's columns; x0, x1, ... for a model of an array without names, whose columns
        are then taken by position.
    what : str
        How error messages call X.

    Returns
    -------
    values : ndarray (N, D)
        Finite, and of a floating-point type.
    index : ndarray (N,)
        The labels of the rows, or 0, 1, ...

    Raises
    ------
    InputError
        If a column is missing or holds no numbers, or if a value is not finite.
    """
    named = _as_frame(X)
    if named is None:
        values = _from_array(X, features, what)
        index = np.arange(len(values))
    else:
        values = _from_frame(named, features, what)
        index = named.index.to_numpy()
        if index.dtype.kind == "O":
            index = np.array([str(label) for label in index])
    if not len(values):
        raise InputError(f"{what} has no rows: give at least one")
    bad = ~(np.abs(values) < np.float64(LARGEST_SCALE))  # which is no float32
    if bad.any():
        row, column = np.argwhere(bad)[0]
        raise InputError(
            f"{what} has a value of {values[row, column]} in row {row}, column "
            f"{features[column]!r}, the first of {int(bad.sum())} that are missing or too large: "
            "leave such rows out"
        )
    return values, index


def _as_frame(X: Any) -> pd.DataFrame | None:
    """Turn whatever names its columns into a DataFrame; None if X has no names."""
    if isinstance(X, Observations):
        return pd.DataFrame(X.values, columns=list(X.feature_names), index=X.index)
    if isinstance(X, pd.Series) and X.name is not None:
        return X.to_frame()
    if isinstance(X, pd.DataFrame):
        return X
    if isinstance(X, xr.DataArray) and X.ndim == TABLE:
        table = X.transpose("obs_id", ...) if "obs_id" in X.dims else X
        rows, columns = table.dims
        if columns in table.indexes:
            index = table.indexes.get(rows)
            return pd.DataFrame(table.to_numpy(), columns=table.indexes[columns], index=index)
    return None


def _from_frame(frame: pd.DataFrame, features: tuple[str, ...], what: str) -> np.ndarray:
    frame = frame.set_axis([str(name) for name in frame.columns], axis=1)
    require_distinct(frame.columns, what)
    nameless = features == tuple(f"x{j}" for j in range(len(features)))
    by_position = nameless and not set(features) & set(frame.columns)
    if by_position and frame.shape[1] != len(features):
        raise InputError(_wrong_width(frame.shape[1], features, what))
    chosen, _ = select(frame, None if by_position else features, what=what)
    require_numbers(chosen, what)
    return chosen.to_numpy(dtype=np.float64)


def _from_array(X: Any, features: tuple[str, ...], what: str) -> np.ndarray:
    try:
        values = np.asarray(X)
    except ValueError:
        raise InputError(f"{what} has rows of different lengths: give each row the same") from None
    if values.dtype.kind not in "iuf":
        raise InputError(
            f"{what} holds values of type {values.dtype}, not numbers: convert it by astype(float)"
        )
    if values.ndim == 1 and len(features) == 1:
        values = values.reshape(-1, 1)
    if values.ndim == 1:
        raise InputError(
            f"{what} is a plain list of numbers and the model has {len(features)} features: give "
            "rows x columns, [[...]] for a single row"
        )
    if values.ndim != TABLE:
        raise InputError(f"{what} must be a table of rows x columns; got shape {values.shape}")
    if values.shape[1] != len(features):
        raise InputError(_wrong_width(values.shape[1], features, what))
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def _wrong_width(width: int, features: tuple[str, ...], what: str) -> str:
    return (
        f"{what} has {width} column{'s' * (width != 1)} and the model has {len(features)} "
        f"({listing(features)}): give these columns"
    )
