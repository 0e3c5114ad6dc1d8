"""The border: whatever the user calls X becomes `Observations`, checked once, here alone.

Below this file every X is an (N, D) array of finite floating-point numbers in C order with at least
two rows and no constant column, and nobody asks again. One row, or a column that does not vary, is
accepted from a caller who knows what spread to expect, as a proper prior does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple, Never, Self

import numpy as np

from bayes_gmm.data.columns import chosen, looked_at
from bayes_gmm.data.faults import MAR as MAR_OFFER
from bayes_gmm.data.faults import NO_MEASUREMENTS, Faults
from bayes_gmm.data.files import open_table
from bayes_gmm.data.kinds import as_frame
from bayes_gmm.data.moments import Moments
from bayes_gmm.data.row_labels import row_labels
from bayes_gmm.data.row_weights import as_row_weights, in_rows
from bayes_gmm.data.streams import Source, Stream, blocks, is_on_disk, recut, source
from bayes_gmm.data.wording import listing, require_distinct, shorten
from bayes_gmm.errors import InputError

MAR = "mar"
BLOCK = 1 << 16  # numbers looked at together: few enough for the cache, enough for NumPy to be fast
LARGEST_SCALE = 1e100  # squares of deviations, and sums of many of them, must stay finite
ROUNDING = 8  # a column whose values differ by so many units in the last place is a constant


@dataclass(frozen=True, eq=False)
class Observations:
    """N rows of D measurements, known to be usable."""

    # (N, D), float64 in C order; a memory-mapped file of float32 keeps its type, to stay on disk.
    # No copy is made of what already has this form. A `Stream` is read anew for every pass
    values: np.ndarray | Stream
    feature_names: tuple[str, ...]  # the user's column names, or x0, x1, ...
    row_labels: Any  # (N,), the user's row labels; None stands for 0, 1, ...
    origin: np.ndarray  # (D,), mean of each column
    scale: np.ndarray  # (D,), standard deviation of each column, divisor N
    weights: np.ndarray | None = None  # (N,), how often each row counts; once by default
    is_complete: bool = True  # whether no entry is missing; nan stands for one that is

    @classmethod
    def of(
        cls,
        X: Any,
        *,
        what: str = "X",
        spread: np.ndarray | None = None,
        missing: str | None = None,
    ) -> Self:
        """Check X and take it in; (N,) is read as (N, 1).

        Shapes: spread (D,).
        """
        if isinstance(X, cls):
            return X
        table = source(X, what)
        if isinstance(X, str | Path):
            file = open_table(X, what)
            file.warn()
            if file.is_large:
                table = Source(file.frames, file.faults)
            else:
                return cls._of_frame(file.rows(), file.faults(), what, spread, missing)
        if table is not None:
            return cls._streamed(table, what, spread, missing)
        frame = as_frame(X, what)
        if frame is not None:
            return cls._of_frame(frame, Faults(what), what, spread, missing)
        return cls._of_array(_as_array(X, what), [], None, what, spread, missing)

    @classmethod
    def _of_frame(
        cls,
        frame: Any,
        faults: Faults,
        what: str,
        spread: np.ndarray | None,
        missing: str | None,
    ) -> Self:
        """Take in columns that have names."""
        if not frame.shape[1] or not len(frame):
            return cls._of_array(frame.to_numpy(), [], None, what, spread, missing)
        faults.offers_mar = missing is not None
        numbers = looked_at(chosen(frame, None, what), faults, missing=missing == MAR)
        names = [str(name) for name in numbers.columns]
        values = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
        return cls._of_array(values, names, numbers.index, what, spread, missing)

    @classmethod
    def _of_array(
        cls,
        array: np.ndarray,
        names: list[str],
        index: Any,
        what: str,
        spread: np.ndarray | None,
        missing: str | None,
    ) -> Self:
        """Take in an array, its columns named or not."""
        values, names = _table(array, names, what)
        if len(values) < 2 and spread is None:
            raise InputError(f"{what} has one row: give at least two, since one has no spread")
        scanned = _scan(blocks(values, max(1, BLOCK // values.shape[1])), names, what, missing)
        assert scanned is not None  # there are rows
        origin, scale = _origin_and_scale(scanned, values.dtype, names, what, spread)
        if not scanned.is_complete and is_on_disk(values):
            raise InputError(
                f'{what} is a mapped file, and missing="mar" needs the rows in memory: give '
                f"np.array({what})"
            )
        return cls(
            values, tuple(names), row_labels(index), origin, scale, None, scanned.is_complete
        )

    @classmethod
    def _streamed(
        cls, table: Source, what: str, spread: np.ndarray | None, missing: str | None
    ) -> Self:
        """Take in rows that are read block by block, after reading them once."""
        if missing == MAR:
            raise InputError(
                f'{what} is read block by block, and missing="mar" needs the rows in memory: give '
                f"{what} as an array, or a random part of it"
            )
        names: list[str] = []

        def opened() -> Iterator[np.ndarray]:
            faults = table.faults()
            for place, block in enumerate(table.blocks()):
                frame = as_frame(block, what)
                if frame is None:
                    values, own = _table(_as_array(block, what), [], what)
                else:
                    require_distinct(frame.columns, what)
                    numbers = faults.look(frame)
                    own = [str(name) for name in numbers.columns]
                    values = np.empty((0, len(own)))
                    if not faults.found:
                        values, own = _table(numbers.to_numpy(dtype=np.float64), own, what)
                if not names:
                    names.extend(own)
                if own != names:
                    raise InputError(
                        f"{what} has the columns {listing(own)} in block {place}, and "
                        f"{listing(names)} before: every block must have the same"
                    )
                yield values
            faults.require_none()

        width = max((block.shape[1] for block in islice(opened(), 1)), default=1)
        scanned = _scan(recut(opened(), max(1, BLOCK // width)), names, what, None)
        if scanned is None or (scanned.n_rows < 2 and spread is None):
            raise InputError(f"{what} gave fewer than two rows: give at least two")
        origin, scale = _origin_and_scale(scanned, Stream.dtype, names, what, spread)
        stream = Stream(opened, scanned.n_rows, len(names))
        return cls(stream, tuple(names), None, origin, scale)

    @property
    def index(self) -> Any:
        """Row labels, a pandas Index (N,)."""
        import pandas as pd

        return pd.RangeIndex(self.n_rows) if self.row_labels is None else self.row_labels

    @property
    def frame(self) -> Any:
        """The rows as a pandas DataFrame."""
        import pandas as pd

        return pd.DataFrame(self.values, columns=list(self.feature_names), index=self.index)

    def weighted(
        self, weights: Any, *, what: str = "sample_weight", spread: np.ndarray | None = None
    ) -> Self:
        """Let each row count as often as its weight says.

        Shapes: weights (N,), spread (D,).
        """
        if isinstance(self.values, Stream):
            raise InputError(
                f"{what} needs the rows in memory, and X is read block by block: give X as an array"
            )
        times = as_row_weights(weights, self.n_rows, self.row_labels, what)
        counted = times > 0
        if np.count_nonzero(counted) < 2 and spread is None:
            raise InputError(f"{what} is positive for one row only: two at least must count")
        if not self.is_complete:
            return self._weighted_incomplete(times, what, spread)
        share = times / times.max()
        share /= share.sum()
        # Differences from a row that counts: what does not count may be as far away as it likes.
        first = self.values[np.argmax(counted)].astype(np.float64)
        on_disk = is_on_disk(self.values)
        size = max(1, BLOCK // self.n_features) if on_disk else self.n_rows

        def differences() -> Iterator[tuple[np.ndarray, np.ndarray]]:
            start = 0
            for block in blocks(self.values, size):
                of_block = slice(start, start + len(block))
                start += len(block)
                if counted[of_block].any():
                    yield block[counted[of_block]] - first, share[of_block][counted[of_block]]

        held = None if on_disk else list(differences())
        mean = sum(own @ rows for rows, own in held or differences())
        scale = np.sqrt(sum(own @ (rows - mean) ** 2 for rows, own in held or differences()))
        scale = self._varying(scale, first, what, spread)
        return replace(self, origin=first + mean, scale=scale, weights=times)

    def _varying(
        self, scale: np.ndarray, value: np.ndarray, what: str, spread: np.ndarray | None
    ) -> np.ndarray:
        """Standard deviations (D,), the expected ones where a column of such values is constant."""
        constant = scale <= ROUNDING * np.finfo(self.values.dtype).eps * np.abs(value)
        if constant.any() and spread is None:
            name = self.feature_names[int(np.argmax(constant))]
            raise InputError(f"{what} leaves column {name!r} constant; leave that column out")
        return scale if spread is None else np.where(constant, spread, scale)

    def _weighted_incomplete(self, times: np.ndarray, what: str, spread: np.ndarray | None) -> Self:
        """Weight rows, of which only the observed entries count for mean and spread."""
        values = np.asarray(self.values)
        present = ~np.isnan(values) & (times > 0)[:, None]
        if not present.any(axis=0).all():
            name = self.feature_names[int(np.argmin(present.any(axis=0)))]
            raise InputError(f"{what} leaves column {name!r} without an entry; leave it out")
        share = np.where(present, times[:, None] / times.max(), 0.0)
        share /= share.sum(axis=0)
        first = values[present.argmax(axis=0), np.arange(self.n_features)]
        gap = np.where(present, values - first, 0.0)
        mean = (share * gap).sum(axis=0)
        scale = np.sqrt((share * (gap - mean) ** 2).sum(axis=0))
        scale = self._varying(scale, first, what, spread)
        return replace(self, origin=mean + first, scale=scale, weights=times)

    @property
    def total_weight(self) -> float:
        """N, or the sum of the weights."""
        return float(self.n_rows if self.weights is None else self.weights.sum())

    @property
    def n_seen(self) -> float:
        """How many rows that is where the scale of weights that are no counts says nothing."""
        weights = in_rows(self.weights)[0]
        return float(self.n_rows if weights is None else weights.sum())

    @property
    def log_volume(self) -> float:
        """What a log-likelihood in the coordinates (x - origin) / scale exceeds that of x by."""
        logs = np.log(self.scale)
        if self.is_complete:
            return self.total_weight * float(logs.sum())
        times = np.ones(self.n_rows) if self.weights is None else self.weights
        return float(times @ ~np.isnan(np.asarray(self.values)) @ logs)

    @property
    def n_rows(self) -> int:
        """N."""
        return self.values.shape[0]

    @property
    def n_counted(self) -> int:
        """How many rows count at all, each once."""
        return self.n_rows if self.weights is None else int(np.count_nonzero(self.weights))

    @property
    def n_features(self) -> int:
        """D."""
        return self.values.shape[1]


def _as_array(X: Any, what: str) -> np.ndarray:
    """Whatever has no names, as an array."""
    if isinstance(X, np.ma.MaskedArray) and X.dtype.kind in "iuf":
        return np.ma.filled(X.astype(np.float64), np.nan)
    try:
        return np.asanyarray(X)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{what} cannot be read as a table, because its rows differ in length: "
            "give every row the same number of values"
        ) from error


def _table(array: np.ndarray, names: list[str], what: str) -> tuple[np.ndarray, list[str]]:
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
            "give numbers, for example by X.astype(float) where they stand for quantities"
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
        "convert it by X.astype(float)"
    )


class Scan(NamedTuple):
    """What one look at all rows says.

    The first value of each column, moments of differences from it, the number of rows, and whether
    no entry is missing.
    """

    first: np.ndarray
    moments: Moments
    n_rows: int
    is_complete: bool


def _scan(
    rows: Iterable[np.ndarray], names: list[str], what: str, missing: str | None
) -> Scan | None:
    """Measure the columns, and report numbers that are missing or infinite; None of no rows.

    Moments are taken of differences from the first row, so that mean/sd = 1e8 costs no digits.
    """
    first: np.ndarray | None = None
    moments: Moments | None = None
    n_rows = n_bad = n_missing = n_empty = 0
    message = empty = ""
    for block in rows:
        bad = ~np.isfinite(block)
        has_gaps = missing == MAR and bool(bad.any())
        if has_gaps:
            lacking = np.isnan(block)
            n_missing += int(lacking.sum())
            without = lacking.all(axis=1)
            if without.any() and not n_empty:
                empty = f"first row {n_rows + int(np.argmax(without))}"
            n_empty += int(without.sum())
            bad &= ~lacking
        count = int(np.count_nonzero(bad))
        if count and not n_bad:
            row, column = np.argwhere(bad)[0]
            message = f"first {block[row, column]} in row {n_rows + row}, column {names[column]!r}"
        n_bad += count
        n_rows += len(block)
        if n_bad:
            continue
        if first is None:
            first = block[0].astype(np.float64)
        if np.isnan(first).any():  # the first value that there is
            present = ~np.isnan(block)
            found = block[present.argmax(axis=0), np.arange(block.shape[1])]
            first = np.where(np.isnan(first), found, first)
        with np.errstate(over="ignore", invalid="ignore"):
            own = Moments.of(block - first, complete=not has_gaps)
            moments = own if moments is None else moments + own
    if n_bad:
        number = f"{n_bad} values that are" if n_bad > 1 else "1 value that is"
        raise InputError(
            f"{what} has {number} not finite, {message}: leave such rows out, "
            f"for example by X[np.isfinite(X).all(axis=1)]{MAR_OFFER * (missing is not None)}"
        )
    if first is None or moments is None:
        return None
    if not moments.count.all():
        name = names[int(np.argmin(moments.count))]
        raise InputError(f"every entry of column {name!r} of {what} is missing: leave it out")
    if n_empty:
        rows_are = f"{n_empty} rows" if n_empty > 1 else "1 row"
        raise InputError(
            f"{what} has {rows_are} in which every entry is missing, {empty}: leave such rows out, "
            f"for example by {what}[~np.isnan({what}).all(axis=1)]"
        )
    return Scan(first, moments, n_rows, n_missing == 0)


def _origin_and_scale(
    scanned: Scan, dtype: np.dtype, names: list[str], what: str, expected: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column, which must vary, within the range of a double.

    A column that does not vary has the standard deviation that is expected of it, if any is.
    """
    first, moments = scanned.first, scanned.moments
    scale = moments.standard_deviation
    with np.errstate(over="ignore"):
        spread = moments.high - moments.low
        magnitude = np.maximum(np.abs(first + moments.low), np.abs(first + moments.high))
    unit = np.finfo(dtype).eps * magnitude
    constant = np.isfinite(spread) & (spread <= ROUNDING * unit)
    if expected is not None and expected.shape == scale.shape:
        scale = np.where(constant, expected, scale)
    elif constant.any():
        column = int(np.argmax(constant))
        raise InputError(
            f"{what} has a constant column {names[column]!r} (always {first[column]:g}), "
            "which no mixture can be fitted to: leave it out"
        )
    usable = (scale > 1 / LARGEST_SCALE) & (scale < LARGEST_SCALE)
    if not usable.all():
        raise InputError(
            f"{what} has a column {names[np.argmin(usable)]!r} whose spread squared is out of the "
            "range of a double: change its unit"
        )
    return first + moments.mean, scale
