"""Row weights: how often each observation was seen, and the scale of these numbers.

A maximum of sum_n w_n log p(x_n) does not move if all weights are multiplied by the same number.
But the search for it has thresholds in rows (when a component is empty) and in nats (when EM has
converged), so that it needs weights of a known scale. Everywhere else the scale matters: the sum of
the weights is the number of observations.
"""

from typing import Any, overload

import numpy as np

from bayes_gmm.data.wording import shorten
from bayes_gmm.errors import InputError

MOST_UNITS = 12  # of which the smallest weight may consist
LARGEST_COUNT = 1e6
NEARLY_WHOLE = 1e-6  # how far from a whole number a weight in these units may be


def as_row_weights(given: Any, n_rows: int, index: Any, what: str) -> np.ndarray:
    """Check row weights (N,): non-negative numbers, not all zero."""
    _require_same_labels(given, index, what)
    try:
        weights = np.array(given, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(
            f"{what} has entries that are not numbers: give one number for each row, how often it "
            "was seen"
        ) from None
    if weights.shape != (n_rows,):
        shape = " x ".join(map(str, weights.shape)) or "a single number"
        raise InputError(
            f"{what} has shape {shape}, but X has {n_rows} rows: give one number for each row, "
            "how often it was seen"
        )
    bad = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if bad.size:
        several = f"{bad.size} entries that are" if bad.size > 1 else "an entry that is"
        raise InputError(
            f"{what} has {several} negative or not finite, first {weights[bad[0]]:g} in row "
            f"{bad[0]}: give numbers >= 0, where 0 leaves the row out"
        )
    if not weights.any():
        raise InputError(f"{what} is 0 for every row: at least one row needs a positive weight")
    return weights


def _require_same_labels(given: Any, index: Any, what: str) -> None:
    """Raise if a Series has other labels than the rows, to which it is matched by position."""
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
            f"{shorten(rows[place])}: reorder it like X, or pass it without labels, as "
            f"{what}.to_numpy()"
        )


def enough(weights: np.ndarray, what: str = "sample_weight") -> np.ndarray:
    """Check that weights (N,) under a prior sum to at least 2."""
    total = weights.sum()
    if total < 2:
        raise InputError(
            f"{what} sums to {total:g}, which under a prior is the number of rows: rescale it to "
            f"sum to {np.count_nonzero(weights)}, or to at least 2"
        )
    return weights


def are_whole(weights: np.ndarray | None) -> bool:
    """Whether all weights are whole numbers; None means 1 for every row."""
    return weights is None or bool((weights == np.rint(weights)).all())


def scale_free(weights: np.ndarray) -> np.ndarray:
    """Rescale weights so that the result depends on their ratios only.

    Shapes: weights (N,) -> (N,).

    Returned: the smallest whole numbers in these ratios, so that counts of repeated rows remain
    counts; if there are none, weights with mean 1 over the rows with positive weight.
    """
    counted = weights > 0
    if not counted.any():
        return weights
    relative = weights / weights[counted].min()
    if relative.max() <= LARGEST_COUNT / MOST_UNITS:
        for units in range(1, MOST_UNITS + 1):
            counts = np.rint(units * relative)
            if np.abs(units * relative - counts).max() < NEARLY_WHOLE:
                return counts
    share = weights / weights.max()  # whose sum neither overflows nor underflows
    return share * (np.count_nonzero(counted) / share.sum())


@overload
def in_rows(weights: np.ndarray) -> tuple[np.ndarray, float]: ...


@overload
def in_rows(weights: None) -> tuple[None, float]: ...


def in_rows(weights: np.ndarray | None) -> tuple[np.ndarray | None, float]:
    """Rescale weights (N,) that are not whole so that 1 is about one row; return by what, too."""
    if weights is None or are_whole(weights):
        return weights, 1.0
    free = scale_free(weights)
    largest = int(np.argmax(weights))
    return free, float(weights[largest] / free[largest])


def copies(weights: np.ndarray) -> np.ndarray:
    """Whole numbers of copies that approximate the weights.

    Whole numbers do not change. Others are rounded up or down so that the copies of the first n
    rows differ from the sum of their weights by at most one half.

    Shapes: weights (N,) -> (N,).
    """
    if are_whole(weights):
        return weights.astype(np.int64)
    return np.diff(np.rint(np.cumsum(weights)).astype(np.int64), prepend=0)
