"""One look at all rows: mean, spread and range of each column, and what is missing or infinite.

A file on disk never has a full-size copy in memory: moments of blocks add up (Chan, Golub and
LeVeque, 1979). They are taken of differences from the first row, so that mean/sd = 1e8 costs no
digits.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np

from bayes_gmm.data.faults import MAR_OFFER
from bayes_gmm.errors import InputError

MAR = "mar"
LARGEST_SCALE = 1e100  # squares of deviations, and sums of many of them, must stay finite
CONSTANT_UNITS = 8  # a column whose values differ by so many units in the last place is a constant


@dataclass(frozen=True, eq=False)
class Moments:
    """Moments of each column; `squares` is the sum of squares about the mean.

    Missing entries (nan) are ignored; a column with no other entries has count 0.
    """

    count: np.ndarray
    mean: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray, *, complete: bool = True) -> Self:
        """Moments of a few rows; entries may be missing if they are not complete."""
        if complete:
            count = np.full(rows.shape[1], len(rows))
            mean = rows.mean(axis=0)
            squares = np.square(rows - mean).sum(axis=0)
            return cls(count, mean, squares, rows.min(axis=0), rows.max(axis=0))
        missing = np.isnan(rows)
        count = len(rows) - missing.sum(axis=0)
        mean = np.where(missing, 0.0, rows).sum(axis=0) / np.maximum(count, 1)
        squares = np.square(np.where(missing, 0.0, rows - mean)).sum(axis=0)
        low, high = (np.where(missing, end, rows) for end in (np.inf, -np.inf))
        return cls(count, mean, squares, low.min(axis=0), high.max(axis=0))

    def __add__(self, other: Self) -> Self:
        count = self.count + other.count
        gap, divisor = other.mean - self.mean, np.maximum(count, 1)
        return type(self)(
            count,
            self.mean + gap * (other.count / divisor),
            self.squares + other.squares + gap**2 * (self.count * other.count / divisor),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    @property
    def standard_deviation(self) -> np.ndarray:
        """With divisor `count`."""
        return np.sqrt(self.squares / np.maximum(self.count, 1))


class Scan(NamedTuple):
    """First value of each column, moments of differences from it, number of rows, completeness."""

    first: np.ndarray
    moments: Moments
    n_rows: int
    is_complete: bool


def scan(
    rows: Iterable[np.ndarray], names: list[str], what: str, missing: str | None
) -> Scan | None:
    """Compute moments of the columns, and report missing or infinite numbers; None if no rows.

    Moments are those of differences from the first row, so that mean/sd = 1e8 loses no digits.
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
        raise InputError(f"{what} has only missing entries in column {name!r}: leave it out")
    if n_empty:
        rows_are = f"{n_empty} rows" if n_empty > 1 else "1 row"
        raise InputError(
            f"{what} has {rows_are} with only missing entries, {empty}: leave such rows out, "
            f"for example by {what}[~np.isnan({what}).all(axis=1)]"
        )
    return Scan(first, moments, n_rows, n_missing == 0)


def origin_and_scale(
    scanned: Scan, dtype: np.dtype, names: list[str], what: str, expected: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each column, checked to be positive and within range.

    A constant column gets its expected standard deviation, if one is given.
    """
    first, moments = scanned.first, scanned.moments
    scale = moments.standard_deviation
    with np.errstate(over="ignore"):
        spread = moments.high - moments.low
        magnitude = np.maximum(np.abs(first + moments.low), np.abs(first + moments.high))
    unit = np.finfo(dtype).eps * magnitude
    constant = np.isfinite(spread) & (spread <= CONSTANT_UNITS * unit)
    if expected is not None and expected.shape == scale.shape:
        scale = np.where(constant, expected, scale)
    elif constant.any():
        column = int(np.argmax(constant))
        raise InputError(
            f"{what} has a constant column {names[column]!r} (always {first[column]:g}), to which "
            "no mixture can be fitted: leave it out"
        )
    usable = (scale > 1 / LARGEST_SCALE) & (scale < LARGEST_SCALE)
    if not usable.all():
        raise InputError(
            f"{what} has a column {names[np.argmin(usable)]!r} whose variance is out of the range "
            "of a double: change its unit"
        )
    return first + moments.mean, scale
