"""Mean, spread and range of each column, from one block of rows at a time.

A file on disk never has a full-size copy in memory: moments of blocks add up (Chan, Golub and
LeVeque, 1979). They are taken of differences from the first row, so that mean/sd = 1e8 costs no
digits.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np


@dataclass(frozen=True, eq=False)
class Moments:
    """What some rows say about each column; `squares` is the sum of squares about the mean.

    Missing entries (nan) do not count; a column of them has count 0.
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
