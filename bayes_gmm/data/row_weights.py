"""Row weights: how often each observation was seen, checked, and the scale that they have.

A maximum of sum_n w_n log p(x_n) stays where it is if every weight is multiplied by the same
number. But a search says what an empty component is, what a start holds, and when EM has converged
in rows and in nats, so that it needs weights of a known scale. Everywhere else the scale counts:
the sum of the weights is the number of observations.
"""

from typing import Any, overload

import numpy as np

from bayes_gmm.data.wording import shorten
from bayes_gmm.errors import InputError

MOST_UNITS = 12  # of which the smallest weight may consist
LARGEST_COUNT = 1e6
ROUNDING = 1e-6  # how far from a whole number a weight in these units may be


def as_row_weights(given: Any, n_rows: int, index: Any, what: str) -> np.ndarray:
    """Check row weights.

    Shapes: given (N,) -> (N,).

    Returned: non-negative, not all zero.
    """
    _require_same_labels(given, index, what)
    try:
        weights = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"{what} holds something that is not a number: give one number for each row, "
            "how often it was seen"
        ) from None
    if weights.shape != (n_rows,):
        shape = " x ".join(map(str, weights.shape)) or "a single number"
        raise InputError(
            f"{what} has shape {shape}, and X has {n_rows} rows: give one number for each row, "
            "how often it was seen"
        )
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if bad.size:
        several = f"{bad.size} entries that are" if bad.size > 1 else "an entry that is"
        raise InputError(
            f"{what} has {several} negative or not finite, first {weights[bad[0]]:g} in row "
            f"{bad[0]}: each must be a number >= 0; 0 leaves the row out"
        )
    if not weights.any():
        raise InputError(f"{what} is 0 for all rows: some rows must count")
    return weights


def _require_same_labels(given: Any, index: Any, what: str) -> None:
    """Refuse a Series whose labels are not those of the rows, which would be taken by position."""
    import pandas as pd

    if not isinstance(given, pd.Series):
        return
    own = given.index
    counts = isinstance(own, pd.RangeIndex) and (own.start, own.step) == (0, 1)
    rows = pd.RangeIndex(len(given)) if index is None else index
    if not counts and len(own) == len(rows) and not own.equals(rows):
        place = next(i for i, pair in enumerate(zip(own, rows, strict=True)) if pair[0] != pair[1])
        raise InputError(
            f"{what} is labelled {shorten(own[place])} in row {place}, where X has "
            f"{shorten(rows[place])}: bring it into the order of X, or give it without labels, "
            f"{what}.to_numpy()"
        )


def enough(weights: np.ndarray, what: str = "sample_weight") -> np.ndarray:
    """Check that weights under a prior add up to two rows at least.

    Shapes: weights (N,) -> (N,).

    """
    total = weights.sum()
    if total < 2:
        raise InputError(
            f"{what} sums to {total:g}, which under a prior is the number of rows: multiply "
            f"it so that it sums to {np.count_nonzero(weights)}, or to at least 2"
        )
    return weights


def are_whole(weights: np.ndarray | None) -> bool:
    """Whether every row was seen a whole number of times; None is once."""
    return weights is None or bool((weights == np.rint(weights)).all())


def scale_free(weights: np.ndarray) -> np.ndarray:
    """Give weights a scale that depends on their ratios alone.

    Shapes: weights (N,) -> (N,).

    Returned: the smallest whole numbers in these ratios, so that counts of repeated rows stay
    counts; if there are none, weights whose mean is one over the rows that count.
    """
    counted = weights > 0
    if not counted.any():
        return weights
    relative = weights / weights[counted].min()
    if relative.max() <= LARGEST_COUNT / MOST_UNITS:
        for units in range(1, MOST_UNITS + 1):
            counts = np.rint(units * relative)
            if np.abs(units * relative - counts).max() < ROUNDING:
                return counts
    share = weights / weights.max()  # whose sum neither overflows nor underflows
    return share * (np.count_nonzero(counted) / share.sum())


@overload
def in_rows(weights: np.ndarray) -> tuple[np.ndarray, float]: ...


@overload
def in_rows(weights: None) -> tuple[None, float]: ...


def in_rows(weights: np.ndarray | None) -> tuple[np.ndarray | None, float]:
    """Take weights to a scale at which one is about a row: counts as they are, others scale-free.

    Shapes: weights (N,) -> weights (N,).

    `unit`: The given weights over these.
    """
    if weights is None or are_whole(weights):
        return weights, 1.0
    free = scale_free(weights)
    largest = int(np.argmax(weights))
    return free, float(weights[largest] / free[largest])


def copies(weights: np.ndarray) -> np.ndarray:
    """Say how often to repeat each row to have as many of it as its weight says.

    Whole numbers are taken as they are. Others are rounded up or down, so that the first n rows
    are repeated as often, to within one half, as their weights add up to.

    Shapes: weights (N,) -> (N,).
    """
    if are_whole(weights):
        return weights.astype(np.int64)
    return np.diff(np.rint(np.cumsum(weights)).astype(np.int64), prepend=0)
