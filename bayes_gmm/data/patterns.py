"""Which entries of each row are missing: rows that lack the same ones have one pattern."""

from collections.abc import Iterator

import numpy as np


def by_pattern(x: np.ndarray) -> np.ndarray:
    """Order (N,) in which rows (N, D) of one pattern stand together, complete rows first."""
    missing = np.packbits(np.isnan(x), axis=1)
    _, pattern = np.unique(missing, axis=0, return_inverse=True)
    return np.argsort(pattern.ravel(), kind="stable")


def patterns(x: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield each pattern of rows (N, D): what is observed, bool (D,), and where its rows are."""
    order = by_pattern(x)
    missing = np.isnan(x[order])
    edges = np.flatnonzero((missing[1:] != missing[:-1]).any(axis=1)) + 1
    for places in np.split(order, edges):
        yield ~np.isnan(x[places[0]]), places
