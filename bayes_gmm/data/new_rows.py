"""New rows for a fitted model, matched to its features by name instead of by position.

Unlike data for a fit, new rows may be a single one, and their columns may be constant.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_gmm.data.columns import chosen, looked_at
from bayes_gmm.data.faults import Faults
from bayes_gmm.data.files import open_table
from bayes_gmm.data.kinds import as_frame, made_by
from bayes_gmm.data.observations import Observations
from bayes_gmm.data.row_labels import row_labels
from bayes_gmm.data.scan import LARGEST_SCALE
from bayes_gmm.data.streams import blocks, source
from bayes_gmm.data.wording import listing, require_distinct
from bayes_gmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

TABLE = 2  # rows and columns
HELD_ROWS = 1 << 16


def rows_like(
    X: Any, features: tuple[str, ...], *, missing: bool = False
) -> "tuple[np.ndarray, pd.Index]":
    """Check new rows against the features of a model: finite values (N, D), their labels (N,)."""
    import pandas as pd

    taken = [(values, index) for _, values, index in row_blocks(X, features, missing=missing)]
    if not taken:
        raise InputError("X has no rows: give at least one")
    if len(taken) == 1:
        return taken[0]
    rows = np.concatenate([values for values, _ in taken])
    return rows, pd.RangeIndex(len(rows))


def row_blocks(
    X: Any, features: tuple[str, ...], *, whole: bool = True, missing: bool = False
) -> "Iterator[tuple[pd.DataFrame | None, np.ndarray, pd.Index]]":
    """Check new rows block by block; in one block if they are in memory or a small file.

    Shapes: -> values (n, D), index (n,).

    `frame`: The block as it was given, other columns included, if it has names.
    """
    if isinstance(X, Observations):
        for place, values in enumerate(blocks(X.values, HELD_ROWS)):
            start = place * HELD_ROWS
            yield None, np.asarray(values), X.index[start : start + len(values)]
        return
    table = source(X)
    if isinstance(X, str | Path):
        file = open_table(X, "X")
        file.warn()
        frames = iter([file.rows()]) if whole and not file.is_large else file.frames()
        yield from _checked(frames, features, file.faults(), missing)
    elif table is not None:
        yield from _checked(table.blocks(), features, table.faults(), missing)
    else:
        yield from _checked(iter([X]), features, Faults("X"), missing)


def _checked(
    tables: Iterator[Any], features: tuple[str, ...], faults: Faults, missing: bool
) -> "Iterator[tuple[pd.DataFrame | None, np.ndarray, pd.Index]]":
    """Select the features from each table, and number the rows of all tables consecutively."""
    import pandas as pd

    before = 0
    for table in tables:
        frame = _one_row(table, features)
        if frame is None:
            frame = as_frame(table, "X")
        if frame is None:
            values, index = _from_array(table, features), None
        else:
            values = _from_frame(frame, features, faults, missing)
            index = row_labels(frame.index)
        if not len(values):
            raise InputError("X has no rows: give at least one")
        bad = ~(np.abs(values) < np.float64(LARGEST_SCALE))  # which is no float32
        if missing:  # but not all of a row
            lacking = np.isnan(values)
            bad &= ~lacking | lacking.all(axis=1, keepdims=True)
        if bad.any():
            row, column = np.argwhere(bad)[0]
            raise InputError(
                f"X has a value of {values[row, column]} in row {before + row}, column "
                f"{features[column]!r}, the first of {int(bad.sum())} that are missing, infinite "
                "or too large: leave such rows out"
            )
        if index is None:
            index = pd.RangeIndex(before, before + len(values))
        before += len(values)
        yield frame, values, index


def _one_row(X: Any, features: tuple[str, ...]) -> "pd.DataFrame | None":
    """A Series whose labels are the features, such as a row taken out of a DataFrame."""
    if not made_by(X, "pandas", "Series") or len(features) < TABLE:
        return None
    if not set(features) <= set(map(str, X.index)):
        return None
    return X[[name in features for name in map(str, X.index)]].to_frame().T.infer_objects()


def _from_frame(
    frame: "pd.DataFrame", features: tuple[str, ...], faults: Faults, missing: bool
) -> np.ndarray:
    if not len(frame):
        raise InputError("X has no rows: give at least one")
    require_distinct(frame.columns, "X")
    nameless = features == tuple(f"x{j}" for j in range(len(features)))
    by_position = nameless and not set(features) & set(frame.columns)
    if by_position and frame.shape[1] != len(features):
        raise InputError(_wrong_width(frame.shape[1], features))
    wanted = chosen(frame, None if by_position else features, "X")
    numbers = looked_at(wanted, faults, missing=missing)
    return numbers.to_numpy(dtype=np.float64, na_value=np.nan)


def _from_array(X: Any, features: tuple[str, ...]) -> np.ndarray:
    try:
        values = np.asarray(X)
    except ValueError:
        raise InputError("X has rows of different lengths: give each row the same") from None
    if values.dtype.kind not in "iuf":
        raise InputError(
            f"X has values of type {values.dtype}, not numbers: convert it with astype(float)"
        )
    if values.ndim == 1 and len(features) == 1:
        values = values.reshape(-1, 1)
    if values.ndim == 1:
        raise InputError(
            f"X is one-dimensional, but the model has {len(features)} features: give rows x "
            "columns, [[...]] for a single row"
        )
    if values.ndim != TABLE:
        raise InputError(f"X must be a table of rows x columns; got shape {values.shape}")
    if values.shape[1] != len(features):
        raise InputError(_wrong_width(values.shape[1], features))
    return values if values.dtype.kind == "f" else values.astype(np.float64)


def _wrong_width(width: int, features: tuple[str, ...]) -> str:
    return (
        f"X has {width} column{'s' * (width != 1)}, but the model has {len(features)} "
        f"({listing(features)}): give these columns"
    )
