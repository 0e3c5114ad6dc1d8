"""Everything that is wrong with the columns of a table, reported in one message."""

import shlex
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from bayes_gmm.data.wording import listing, shorten
from bayes_gmm.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

MAR_OFFER = ', or keep them with missing="mar" if entries are missing at random'
MOST_MARKS = 3  # different entries that are listed as possible codes for a missing value
NO_MEASUREMENTS = {
    "b": "True/False values",
    "c": "complex numbers",
    "m": "time differences",
    "M": "dates",
    "V": "records",
}


@dataclass
class ColumnFaults:
    """What is wrong in one column, and where first; rows count from 0."""

    other_kind: str = ""  # what the whole column holds in the place of numbers, or nothing
    n_entries: int = 0
    n_unreadable: int = 0
    n_infinite: int = 0
    n_missing: int = 0
    first: Any = None  # the first entry that is no number
    first_row: int = -1
    first_missing: int = -1
    first_infinite: int = -1
    # the first few different entries that are no numbers
    marks: list[str] = field(default_factory=list)

    @property
    def is_text(self) -> bool:
        """Whether it is a column of something else rather than one of numbers with mistakes."""
        return bool(self.other_kind) or 2 * self.n_unreadable > self.n_entries


class Faults:
    """Looks at a table, or at one block of it after the other, and says what is wrong with it."""

    def __init__(
        self,
        what: str,
        numbers: "Callable[[pd.Series], pd.Series] | None" = None,
        place: Callable[[int], str] = "row {}".format,
        *,
        by_command: bool = False,
    ) -> None:
        self.what = what
        self.offers_mar = False
        self.n_rows = self.n_incomplete = 0
        self._numbers, self._place = numbers, place
        self._of_file = numbers is not None or by_command
        self._columns: dict[str, ColumnFaults] = {}

    def look(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """Note the faults of the next rows, and give their columns as numbers where they are."""
        missing = frame.isna().to_numpy()
        columns = {
            name: self._look(str(name), column, missing[:, j])
            for j, (name, column) in enumerate(frame.items())
        }
        made = frame.assign(**columns)
        self.n_incomplete += int(missing.any(axis=1).sum())
        self.n_rows += len(frame)
        return made

    def _look(self, name: str, column: "pd.Series", missing: np.ndarray) -> "pd.Series":
        import pandas as pd
        from pandas.api import types

        noted = self._columns.setdefault(name, ColumnFaults())
        noted.n_entries += int((~missing).sum())
        if missing.any():
            noted.first_missing = _first(noted.first_missing, missing, self.n_rows)
            noted.n_missing += int(missing.sum())
        dtype = column.dtype
        kind = dtype.kind if hasattr(dtype, "kind") else "O"
        if kind in NO_MEASUREMENTS and not isinstance(dtype, pd.CategoricalDtype):
            noted.other_kind = f"{NO_MEASUREMENTS[kind]} ({dtype})"
            return column
        if types.is_numeric_dtype(dtype):
            infinite = np.isinf(column.to_numpy(dtype=float, na_value=np.nan))
            if infinite.any():
                noted.first_infinite = _first(noted.first_infinite, infinite, self.n_rows)
                noted.n_infinite += int(infinite.sum())
            return column
        text = column.astype(object)
        read = self._numbers(text) if self._numbers else pd.to_numeric(text, errors="coerce")
        unreadable = read.isna().to_numpy() & ~missing
        if not unreadable.any():
            if self._numbers:
                return read
            if len(column) > missing.sum():
                noted.other_kind = "numbers kept as text or objects"
            return column
        if not noted.n_unreadable:
            row = int(unreadable.argmax())
            noted.first, noted.first_row = text.iloc[row], self.n_rows + row
        noted.n_unreadable += int(unreadable.sum())
        if len(noted.marks) < MOST_MARKS:
            found = map(str, pd.unique(text[unreadable]))
            noted.marks = list(dict.fromkeys([*noted.marks, *found]))[: MOST_MARKS + 1]
        return column

    @property
    def found(self) -> bool:
        """Whether anything is wrong so far, missing values apart."""
        return any(
            noted.other_kind or noted.n_unreadable or noted.n_infinite
            for noted in self._columns.values()
        )

    def require_none(self, *, missing: bool = True) -> None:
        """Raise if there are any faults; missing values are one only if that is said."""
        found = [*self._of_kind(), *self._of_entries(), *self._of_infinities()]
        if missing and self.n_incomplete:
            found.append(self._of_gaps())
        if len(found) == 1:
            raise InputError(f"{self.what}: {found[0]}")
        if found:
            raise InputError("\n  ".join([f"{self.what} cannot be used as it is:", *found]))

    def _of_kind(self) -> list[str]:
        """Columns that hold something else than numbers."""
        other = {name: noted for name, noted in self._columns.items() if noted.is_text}
        if not other:
            return []
        first = next(iter(other.values()))
        held = first.other_kind
        if not held:
            held = f"text, such as {shorten(first.first)} in {self._place(first.first_row)}"
        columns = f"column {next(iter(other))!r} holds"
        if len(other) > 1:
            columns = f"columns {listing(map(repr, other))} hold"
        if first.other_kind.startswith("numbers"):
            return [f"{columns} {held}: convert them with astype(float)"]
        return [f"{columns} {held}: {self._choice()}"]

    def _choice(self) -> str:
        numeric = [name for name, noted in self._columns.items() if not noted.is_text]
        if not numeric:
            return "there is no column of numbers to choose"
        if not self._of_file:
            return f"choose columns, X[{numeric!r}]"
        text = next(name for name, noted in self._columns.items() if noted.is_text)
        chosen = shlex.quote(",".join(f'"{name}"' if "," in name else name for name in numeric))
        return (
            f"choose columns with --columns {chosen} on the command line, or "
            f"bg.read(..., columns={numeric!r}) in Python; a text column can label the rows, with "
            f"--labels {shlex.quote(text)} or labels={text!r}"
        )

    def _of_entries(self) -> list[str]:
        """Columns of numbers in which some entries are not numbers, one sentence each."""
        said = []
        whole = [name for name, noted in self._columns.items() if not noted.n_unreadable]
        for name, noted in self._columns.items():
            if noted.is_text or not noted.n_unreadable:
                continue
            are = "entries" if noted.n_entries > 1 else "entry"
            fault = (
                f"{noted.n_unreadable} of {noted.n_entries} {are} of {name!r} "
                f"{'are not numbers' if noted.n_unreadable > 1 else 'is not a number'}, "
                f"first {shorten(noted.first)} in {self._place(noted.first_row)}"
            )
            if self._of_file and len(noted.marks) <= MOST_MARKS:
                marks = " ".join(f"--na {shlex.quote(mark)}" for mark in noted.marks)
                advice = (
                    f"correct the file or, if this is a code for a missing value, use {marks} on "
                    f"the command line, or bg.read(..., na={noted.marks!r}) in Python"
                )
            else:
                advice = "correct them"
                if whole:
                    advice += f", or choose other columns, X[{whole!r}]"
            said.append(f"{fault}: {advice}")
        return said

    def _of_infinities(self) -> list[str]:
        return [
            f"{noted.n_infinite} of {noted.n_entries} entries of {name!r} "
            f"{'are' if noted.n_infinite > 1 else 'is'} infinite, first in "
            f"{self._place(noted.first_infinite)}: leave such rows out"
            for name, noted in self._columns.items()
            if noted.n_infinite
        ]

    def _of_gaps(self) -> str:
        gaps = {name: noted.n_missing for name, noted in self._columns.items() if noted.n_missing}
        first = min(n.first_missing for n in self._columns.values() if n.n_missing)
        counts = listing(f"{name}: {count}" for name, count in gaps.items())
        advice = "X.dropna()"
        if self._of_file:
            advice = (
                "--drop-missing on the command line, or bg.read(..., drop_missing=True) in Python"
            )
        return (
            f"missing values in {self.n_incomplete} of {self.n_rows} rows ({counts}), first in "
            f"{self._place(first)}: leave these rows out with {advice}{MAR_OFFER * self.offers_mar}"
        )

    def require_a_complete_row(self) -> None:
        """Raise if every row lacks a value."""
        if self.n_incomplete < self.n_rows or not self.n_rows:
            return
        name, noted = max(self._columns.items(), key=lambda item: item[1].n_missing)
        raise InputError(
            f"{self.what} has no complete row (column {name!r} has {noted.n_missing} missing "
            f"values in {self.n_rows} rows): choose other columns"
        )


def _first(known: int, mask: np.ndarray, before: int) -> int:
    """The first row of all, given that of earlier blocks or -1."""
    return known if known >= 0 else before + int(mask.argmax())
