"""Selection of columns, and of complete rows, from a DataFrame.

Nothing is dropped silently: columns and complete rows are selected only on request, and an error
says how to request it.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bayes_gmm.data.faults import Faults
from bayes_gmm.data.wording import require_distinct, require_known
from bayes_gmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

UNNAMED = ("", "Unnamed: 0", "None")  # names of a column of row labels in files and DataFrames


def with_labels(frame: "pd.DataFrame") -> "pd.DataFrame":
    """Turn column names into text, and a first column without a name into row labels.

    pandas, R and Arrow write row labels as such a column, which would otherwise become a feature.
    """
    names = [str(name).strip() for name in frame.columns]
    frame = frame.set_axis(names, axis=1)
    if len(names) > 1 and (names[0] in UNNAMED or names[0].startswith("__index_level_")):
        labels = frame.iloc[:, 0].rename(None)
        frame = frame.iloc[:, 1:].set_index(labels)
    return frame


def select(
    frame: "pd.DataFrame",
    columns: Sequence[str] | None = None,
    drop_missing: bool = False,
    *,
    what: str = "X",
    faults: Faults | None = None,
) -> "tuple[pd.DataFrame, int]":
    """Choose columns of numbers and complete rows.

    Returns the chosen columns of the complete rows, with their row labels, and the number of rows
    that were left out.
    """
    frame, faults = chosen(frame, columns, what), faults or Faults(what)
    frame = looked_at(frame, faults, missing=drop_missing)
    faults.require_a_complete_row()
    incomplete = frame.isna().any(axis=1)
    return frame[~incomplete], int(incomplete.sum())


def looked_at(frame: "pd.DataFrame", faults: Faults, *, missing: bool) -> "pd.DataFrame":
    """Turn columns into numbers, or raise; `missing` says whether entries may be."""
    frame = faults.look(frame)
    faults.require_none(missing=not missing)
    return frame


def chosen(frame: "pd.DataFrame", columns: Sequence[Any] | None, what: str) -> "pd.DataFrame":
    """Take the columns that are wanted, in that order."""
    if columns is None:
        require_distinct(frame.columns, what)
        return frame
    if not columns:
        raise InputError(f"{what}: no columns were chosen: give the name of at least one")
    require_distinct(columns, f"the choice of columns of {what}")
    require_known(columns, frame.columns, what)
    frame = frame[list(columns)]
    require_distinct(frame.columns, what)
    return frame
