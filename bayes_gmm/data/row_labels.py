"""Row labels in memory, and the form in which files store them."""

import json
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr

LEVEL = "obs_id_level_"
KIND = "row_labels"  # attribute of obs_id that says what the labels were


def row_labels(index: Any) -> "pd.Index | None":
    """The row labels of a table, or None if they are 0, 1, ..."""
    import pandas as pd

    if index is None or (isinstance(index, pd.RangeIndex) and (index.start, index.step) == (0, 1)):
        return None
    return index if isinstance(index, pd.Index) else pd.Index(index)


def stored(index: "pd.Index") -> "dict[str, xr.Variable]":
    """Coordinates along obs_id that any file format can hold.

    Dates with a time zone are kept as UTC, periods, intervals and mixed labels as text, and the
    levels of a MultiIndex one by one; the attribute says which.
    """
    import pandas as pd
    import xarray as xr

    if isinstance(index, pd.MultiIndex):
        levels = {f"{LEVEL}{j}": stored(index.get_level_values(j)) for j in range(index.nlevels)}
        names = json.dumps([None if name is None else str(name) for name in index.names])
        rows = xr.Variable("obs_id", np.arange(len(index)), {KIND: f"levels {names}"})
        return {"obs_id": rows} | {name: level["obs_id"] for name, level in levels.items()}
    kind = str(index.dtype)
    values = index.to_numpy()
    if isinstance(index, pd.DatetimeIndex) and index.tz is not None:
        values = index.tz_convert("UTC").tz_localize(None).to_numpy()
    elif isinstance(index, pd.CategoricalIndex):
        return (
            stored(index.astype(index.categories.dtype)) if not index.hasnans else _as_text(index)
        )
    elif values.dtype.kind not in "biufMmU":
        return _as_text(index)
    plain = values.dtype.kind == "U" or kind == str(values.dtype)
    return {"obs_id": xr.Variable("obs_id", values, {} if plain else {KIND: kind})}


def _as_text(index: "pd.Index") -> "dict[str, xr.Variable]":
    import xarray as xr

    text = np.array([str(label) for label in index], dtype=str)
    is_text = all(isinstance(label, str) for label in index)
    return {"obs_id": xr.Variable("obs_id", text, {} if is_text else {KIND: str(index.dtype)})}


def restored(rows: "xr.Dataset") -> "pd.Index":
    """The labels of rows that `stored` wrote.

    Returned: labels of a kind that text cannot be turned back into stay text.
    """
    import pandas as pd

    kind = str(rows["obs_id"].attrs.get(KIND, ""))
    if kind.startswith("levels "):
        names = json.loads(kind.removeprefix("levels "))
        levels = [_restored(rows[f"{LEVEL}{j}"]) for j in range(len(names))]
        return pd.MultiIndex.from_arrays(levels, names=names)
    return _restored(rows["obs_id"])


def _restored(labels: "xr.DataArray") -> "pd.Index":
    import pandas as pd

    kind, values = str(labels.attrs.get(KIND, "")), labels.to_numpy()
    if kind.startswith("datetime64"):  # of a time zone, which alone is said
        zone = kind.rstrip("]").rpartition(", ")[2]
        return pd.DatetimeIndex(values).tz_localize("UTC").tz_convert(zone)
    if kind.startswith("period"):
        return pd.PeriodIndex(values, dtype=kind)
    return pd.Index(values)
