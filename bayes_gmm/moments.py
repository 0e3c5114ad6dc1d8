"""Mean, spread and range of each column, from one block of rows at a time.

A file on disk never has a full-size copy in memory: moments of blocks add up (Chan, Golub and
LeVeque, 1979). They are taken of differences from the first row, so that mean/sd = 1e8 costs no
digits.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import reduce
from operator import add
from typing import Self

import numpy as np

BLOCK = 1 << 16  # numbers looked at together: few enough for the cache, enough for NumPy to be fast


def row_blocks(values: np.ndarray) -> Iterator[slice]:
    """Cut the rows of a table into blocks of about BLOCK numbers."""
    n_rows = max(1, BLOCK // values.shape[1])
    return (slice(start, start + n_rows) for start in range(0, len(values), n_rows))


@dataclass(frozen=True, eq=False)
class Moments:
    """What some rows say about each column; `squares` is the sum of squares about the mean."""

    count: int
    mean: np.ndarray
    squares: np.ndarray
    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, rows: np.ndarray) -> Self:
        """Moments of a few rows."""
        mean = rows.mean(axis=0)
        squares = np.square(rows - mean).sum(axis=0)
        return cls(len(rows), mean, squares, rows.min(axis=0), rows.max(axis=0))

    def __add__(self, other: Self) -> Self:
        count = self.count + other.count
        gap = other.mean - self.mean
        return type(self)(
            count,
            self.mean + gap * (other.count / count),
            self.squares + other.squares + gap**2 * (self.count * other.count / count),
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
        )

    @property
    def standard_deviation(self) -> np.ndarray:
        """With divisor `count`."""
        return np.sqrt(self.squares / self.count)


def column_moments(values: np.ndarray) -> tuple[np.ndarray, Moments]:
    """Measure the columns of a finite table.

    Returns
    -------
    first : np.ndarray, (D,)
        The first row.
    moments : Moments
        Those of the differences from the first row; inf or nan where they overflow.
    """
    first = values[0].astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        return first, reduce(add, (Moments.of(values[rows] - first) for rows in row_blocks(values)))
