"""Quantiles of the columns of a table whose rows may come block by block.

They are exact, so that neither the order of the rows nor the way they are stored changes one. A
column of many rows is not sorted: its quantile is enclosed in ever narrower brackets, one pass over
the rows for each, until few entries are left inside.
"""

from collections.abc import Callable, Iterator

import numpy as np

MOST_SORTED = 1 << 17  # entries of a column that are sorted at once
BINS = 1 << 10  # parts that a bracket is cut into
SLACK = 1e-12  # of a sum of weights

Read = Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]


def quantile(read: Read, share: np.ndarray) -> np.ndarray:
    """Smallest entry of each column that a given share of the weight does not exceed.

    share (D,) -> (D,).
    """
    low, high, total, n_rows = _range(read)
    target = share * total * (1 - SLACK)
    below = np.zeros_like(low)
    held = np.full(len(low), n_rows)
    while (held > MOST_SORTED).any():
        low, high, below, held = _narrower(read, target, low, high, below)
    return _smallest(read, target, low, high, below)


def _range(read: Read) -> tuple[np.ndarray, np.ndarray, float, int]:
    """Brackets [low, high) that hold all entries, the total weight and the number of rows."""
    lows, highs, weights, lengths = zip(
        *((v.min(axis=0), v.max(axis=0), w.sum(), len(v)) for v, w in read()), strict=True
    )
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    return low, np.nextafter(high, np.inf), float(np.sum(weights)), sum(lengths)


def _narrower(
    read: Read, target: np.ndarray, low: np.ndarray, high: np.ndarray, below: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Cut every bracket into bins, and keep the bin in which the weight reaches the target.

    target (D,), low, high (D,), below (D,) -> low, high, below, held (D,).
    """
    columns = range(len(low))
    edges = np.linspace(low, high, BINS + 1)
    weight, count = np.zeros((BINS, len(low))), np.zeros((BINS, len(low)), dtype=np.int64)
    for values, weights in read():
        for j in columns:
            inside = (values[:, j] >= low[j]) & (values[:, j] < high[j])
            place = np.searchsorted(edges[:, j], values[inside, j], side="right") - 1
            weight[:, j] += np.bincount(place, weights[inside], minlength=BINS)
            count[:, j] += np.bincount(place, minlength=BINS)
    reached = below + weight.cumsum(axis=0)
    # Where rounding leaves the target unreached, it is in the last bin that holds anything.
    last = BINS - 1 - np.argmax(count[::-1] > 0, axis=0)
    chosen = np.minimum(np.argmax(reached >= target, axis=0), last)
    chosen = np.where((reached >= target).any(axis=0), chosen, last)
    low, high = edges[chosen, columns], edges[chosen + 1, columns]
    held = np.where(high > np.nextafter(low, np.inf), count[chosen, columns], 0)
    return low, high, reached[chosen, columns] - weight[chosen, columns], held


def _smallest(
    read: Read, target: np.ndarray, low: np.ndarray, high: np.ndarray, below: np.ndarray
) -> np.ndarray:
    """Sort what is left in the brackets, and take the entry at which the target is reached."""
    columns = range(len(low))
    found = low.copy()
    wide = [j for j in columns if high[j] > np.nextafter(low[j], np.inf)]
    kept: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {j: [] for j in wide}
    for values, weights in read():
        for j in wide:
            inside = (values[:, j] >= low[j]) & (values[:, j] < high[j])
            kept[j].append((values[inside, j], weights[inside]))
    for j in wide:
        entries, weights = (np.concatenate(part) for part in zip(*kept[j], strict=True))
        order = np.argsort(entries, kind="stable")
        reached = below[j] + weights[order].cumsum()
        place = min(int(np.searchsorted(reached, target[j])), len(order) - 1)
        found[j] = entries[order[place]]
    return found
