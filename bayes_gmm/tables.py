"""Tables as people keep them: CSV files and DataFrames with text columns and empty cells.

Nothing is guessed and nothing is dropped silently: whoever wants some of the columns, or only the
complete rows, says so, and an error tells how.
"""

import shlex
import warnings
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_gmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["listing", "read_csv", "require_distinct", "require_numbers", "select", "shorten"]

LONGEST_LIST = 8
LONGEST_VALUE = 30


def read_csv(
    path: str | Path,
    columns: Sequence[str] | None = None,
    drop_missing: bool = False,
    *,
    n_rows: int | None = None,
) -> tuple["pd.DataFrame", int]:
    """Read columns of measurements from a CSV file with a header.

    A first column without a name holds row labels, as pandas and R write them.

    Parameters
    ----------
    path : str or Path
        A file of comma-separated values in UTF-8; a file ending in .gz is unpacked.
    columns, drop_missing
        As in `select`.
    n_rows : int, optional
        Read so many rows at most.

    Returns
    -------
    frame : pandas.DataFrame
        The chosen columns of the complete rows.
    n_dropped : int
        How many rows with missing values were left out.
    """
    import pandas as pd

    what = str(path)
    if not Path(path).exists():
        raise InputError(f"{what}: no such file")
    try:
        header = pd.read_csv(path, header=None, nrows=1, dtype=str, keep_default_na=False)
        names = [name.strip() for name in header.iloc[0]]
        labelled = len(names) > 1 and not names[0]
        _require_header(names, labelled, what)
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                header=0,
                names=names,
                index_col=False,
                skipinitialspace=True,
                low_memory=False,
                nrows=n_rows,
            )
    except pd.errors.ParserWarning:
        raise InputError(
            f"{what} has rows with more values than its header has names ({len(names)}): "
            "give each column a name"
        ) from None
    except pd.errors.EmptyDataError:
        raise InputError(f"{what} is empty: it needs a header line and rows of numbers") from None
    except UnicodeDecodeError:
        raise InputError(f"{what} is not text in UTF-8: save it as CSV in UTF-8") from None
    except pd.errors.ParserError as error:
        reason = str(error).strip().rpartition("C error: ")[2]
        raise InputError(f"{what} is not a well-formed CSV file: {reason}") from None
    except OSError as error:
        raise InputError(f"{what} cannot be read: {error.strerror or error}") from None
    if frame.empty:
        raise InputError(f"{what} has a header but no rows")
    if labelled:
        frame = frame.set_index(names[0])
        frame.index.name = None
    return select(frame, columns, drop_missing, what=what)


def select(
    frame: "pd.DataFrame",
    columns: Sequence[str] | None = None,
    drop_missing: bool = False,
    *,
    what: str = "X",
) -> tuple["pd.DataFrame", int]:
    """Choose columns of numbers, and rows without gaps.

    Parameters
    ----------
    frame : pandas.DataFrame
        The table.
    columns : sequence of str, optional
        The columns wanted, in this order; all of them if None.
    drop_missing : bool
        Leave out rows that lack a value in a chosen column; if False, such rows are an error.
    what : str
        How error messages call the table.

    Returns
    -------
    frame : pandas.DataFrame
        The chosen columns of the complete rows; the others keep their row labels.
    n_dropped : int
        How many rows were left out.
    """
    if columns is not None:
        if not columns:
            raise InputError(f"{what}: no columns were chosen: name at least one")
        require_distinct(columns, f"the choice of columns of {what}")
        for name in columns:
            if name not in frame.columns:
                raise InputError(f"{what} has no column {name!r}: {_suggest(name, frame.columns)}")
        frame = frame[list(columns)]
    require_numbers(frame, what)
    gaps = frame.isna()
    incomplete = gaps.any(axis=1)
    n_missing = int(incomplete.sum())
    if n_missing and not drop_missing:
        counts = listing(f"{name}: {n}" for name, n in gaps.sum().items() if n)
        rows = f"{n_missing} of {len(frame)} rows"
        raise InputError(
            f"{what} has missing values in {rows} ({counts}): leave these rows out by "
            "--drop-missing on the command line, or X.dropna() in Python"
        )
    if n_missing == len(frame):
        emptiest = gaps.sum().idxmax()
        raise InputError(
            f"{what} has no complete row (column {emptiest!r} lacks {gaps[emptiest].sum()} of "
            f"{len(frame)} values): choose other columns"
        )
    return frame[~incomplete], n_missing


def require_numbers(frame: "pd.DataFrame", what: str) -> None:
    """Raise if a column holds anything but numbers, and say how to choose those that do."""
    numeric = [name for name, dtype in frame.dtypes.items() if _is_numeric(dtype)]
    other = [name for name in frame.columns if name not in numeric]
    if not other:
        return
    columns = f"column {str(other[0])!r} holds"
    if len(other) > 1:
        columns = f"columns {listing(repr(str(name)) for name in other)} hold"
    if numeric:
        chosen = ",".join(map(str, numeric))
        advice = f"choose columns by --columns {shlex.quote(chosen)} on the command line, or by "
        advice += f"X[{numeric!r}] in Python"
    else:
        advice = "there is no column of numbers to choose"
    raise InputError(f"{what}: {columns} {_first_text(frame[other[0]])}: {advice}")


def _is_numeric(dtype: Any) -> bool:
    from pandas.api import types

    refused = types.is_bool_dtype(dtype) or types.is_complex_dtype(dtype)
    return types.is_numeric_dtype(dtype) and not refused


def _first_text(column: "pd.Series") -> str:
    """Say what a column holds that is not a number, with the first such entry."""
    import pandas as pd
    from pandas.api import types

    if types.is_numeric_dtype(column) or types.is_datetime64_any_dtype(column):
        return f"values of type {column.dtype}, not measurements"
    unreadable = pd.to_numeric(column.astype(object), errors="coerce").isna() & column.notna()
    if not unreadable.any():
        return "numbers kept as text or objects, to be converted by astype(float)"
    row = int(unreadable.to_numpy().argmax())
    return f"text, such as {shorten(column.iloc[row])} in row {row}"


def _require_header(names: list[str], labelled: bool, what: str) -> None:
    """Raise unless the first line of a CSV file names its columns, each differently."""
    if not labelled and any(map(_is_number, names)):  # pandas writes a header like ,0,1,2
        raise InputError(
            f"{what} has no header (its first line holds numbers: {listing(names)}): "
            "add a first line with a name for each column"
        )
    if "" in names[labelled:]:
        position = names.index("", labelled)
        raise InputError(f"{what} has no name for column {position}: complete its header line")
    if len(names) == 1 and (separators := {";", "\t"} & set(names[0])):
        raise InputError(f"{what} is separated by {separators.pop()!r}: save it with commas")
    require_distinct(names, what)


def _is_number(text: str) -> bool:
    try:
        return isfinite(float(text))
    except ValueError:
        return False


def _suggest(name: str, names: Iterable[Any]) -> str:
    """Find the column that was probably meant, or list those that there are."""
    known = list(map(str, names))
    close = get_close_matches(str(name), known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"it has {listing(known)}"


def require_distinct(names: Iterable[Any], what: str) -> None:
    """Raise if two columns share a name."""
    seen: set[str] = set()
    for name in map(str, names):
        if name in seen:
            raise InputError(f"{what} has two columns named {name!r}: rename one of them")
        seen.add(name)


def listing(items: Iterable[Any]) -> str:
    """Write a few items in a row; of many, the first ones."""
    texts = [str(item).replace("\n", " ") for item in items]
    more = ["..."] if len(texts) > LONGEST_LIST else []
    return ", ".join(texts[:LONGEST_LIST] + more)


def shorten(value: Any) -> str:
    """One value, as Python would write it, on one line and not long."""
    plain = value.item() if isinstance(value, np.generic) else value
    text = " ".join(repr(plain).split())
    return text if len(text) <= LONGEST_VALUE else text[:LONGEST_VALUE] + "..."
