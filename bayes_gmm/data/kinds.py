"""Conversion of tables: objects with column names become a DataFrame, all others an array.

A library that has not been imported cannot have created X, so none is imported to find out.
"""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Never

import numpy as np

from bayes_gmm.data.columns import with_labels
from bayes_gmm.data.faults import NO_MEASUREMENTS
from bayes_gmm.data.wording import listing, require_distinct, shorten
from bayes_gmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

ARROW = ("__arrow_c_stream__", "__arrow_c_array__")


def made_by(X: Any, module: str, kind: str) -> bool:
    """Whether X is an object of a class of a library."""
    library = sys.modules.get(module)
    return library is not None and isinstance(X, getattr(library, kind))


def as_frame(X: Any, what: str) -> "pd.DataFrame | None":
    """Turn an object with column names into a DataFrame.

    These are a pandas DataFrame or Series, a dict of columns, a list of dicts, an Arrow table, a
    dataframe that narwhals supports, and a DataArray. Returns None for anything else.
    """
    if made_by(X, "pandas", "Series"):
        X = X.to_frame("x0" if X.name is None else X.name)
    if made_by(X, "pandas", "DataFrame"):
        return with_labels(X)
    if made_by(X, "xarray", "Dataset"):
        variables = listing(X.data_vars)
        raise InputError(f"{what} is a Dataset: choose one of its variables ({variables})")
    if made_by(X, "xarray", "DataArray"):
        return _of_dataarray(X)
    if isinstance(X, Mapping):
        return _of_columns(X, what)
    if isinstance(X, list | tuple) and X and all(isinstance(row, Mapping) for row in X):
        import pandas as pd

        return with_labels(pd.DataFrame(list(X)))
    is_plain = isinstance(X, np.ndarray | list | tuple | str | bytes)
    return None if is_plain else _of_library(X)


def _of_dataarray(X: Any) -> "pd.DataFrame | None":
    """Rows along obs_id, or else along the first dim; names from the coordinate of the other."""
    import pandas as pd

    if X.ndim not in (1, 2):
        return None
    if "obs_id" in X.dims:
        X = X.transpose("obs_id", ...)
    rows, *others = X.dims
    names = [X.name or "x0"] if not others else X.indexes.get(others[0])
    if names is None:
        names = [f"x{j}" for j in range(X.shape[1])]
    values = X.to_numpy().reshape(len(X), -1)
    return with_labels(pd.DataFrame(values, columns=list(names), index=X.indexes.get(rows)))


def _of_columns(X: Mapping[Any, Any], what: str) -> "pd.DataFrame":
    """A dict of columns of one length."""
    import pandas as pd

    lengths = {str(name): np.shape(column) for name, column in X.items()}
    if not lengths:
        raise InputError(f"{what} is an empty dict: give a column of numbers for each name")
    for name, shape in lengths.items():
        if len(shape) != 1:
            raise InputError(
                f"{what} is a dict whose entry {name!r} has shape {shape}: give one number for "
                "each row"
            )
    if len(set(lengths.values())) > 1:
        counts = listing(f"{name}: {shape[0]}" for name, shape in lengths.items())
        raise InputError(
            f"{what} is a dict of columns of different lengths ({counts}): give one number for "
            "each row in every column"
        )
    return with_labels(pd.DataFrame({name: np.asarray(column) for name, column in X.items()}))


def _of_library(X: Any) -> "pd.DataFrame | None":
    """A dataframe or a column of another library, by narwhals or by Arrow's interface."""
    root = type(X).__module__.partition(".")[0]
    if root in ("builtins", "numpy", "scipy"):
        return None
    import narwhals as nw

    known = nw.from_native(X, pass_through=True, allow_series=True)
    if isinstance(known, nw.LazyFrame):
        known = known.collect()
    if isinstance(known, nw.DataFrame):
        return with_labels(known.to_pandas())
    if isinstance(known, nw.Series):
        return with_labels(known.to_pandas().to_frame(known.name or "x0"))
    if any(hasattr(type(X), name) for name in ARROW):
        import pyarrow as pa

        try:
            return with_labels(pa.table(X).to_pandas())
        except pa.ArrowInvalid:  # one column without a name
            return None
    return None


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
