"""Which entries of each row are missing: rows with the same ones observed are a group."""

import numpy as np


def by_pattern(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sort rows (N, D) by which entries they lack (nan), complete rows first.

    Returns the order (N,), in which rows of a group stay in their order; where each group begins,
    and N, (G + 1,); and what is observed in each, bool (G, D).
    """
    missing = np.packbits(np.isnan(x), axis=1)
    found, first, group = np.unique(missing, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(group.ravel(), kind="stable")
    edges = np.concatenate([[0], np.cumsum(np.bincount(group.ravel(), minlength=len(found)))])
    return order, edges, ~np.isnan(x[first])
