r"""k-means with swaps: starts for EM if EM steps are expensive.

    inertia = sum_n w_n min_k || x_n - m_k ||^2

Lloyd's iteration ends in a local minimum, most often with two means in one cluster and one mean
between two others. So the means whose removal costs least are moved to where the error is largest,
several at a time at first, and the move is kept if Lloyd's iteration then reaches a lower inertia.
Total error and error per row are used in turn.
"""

from typing import NamedTuple

import numpy as np

FIRST_STEPS = 20
STEPS = 5  # of Lloyd's iteration after a swap
SWAPPED = 0.2  # share of the means that move in the first swap
MOST_ROUNDS = 100
SAME = 1e-12  # of the sum of squares; a difference that rounding may make


class Partition(NamedTuple):
    """Means (K, D), the nearest one's number for each row (N,), and the inertia."""

    means: np.ndarray
    labels: np.ndarray
    inertia: float


def kmeans(
    rows: np.ndarray, counts: np.ndarray, n_components: int, rng: np.random.Generator
) -> Partition:
    """Partition rows (N, D) that occur counts (N,) times, from one draw of k-means++."""
    best = lloyd(rows, counts, spread_out(rows, counts, n_components, rng), FIRST_STEPS)
    n_swapped = int(np.ceil(SWAPPED * n_components)) if n_components > 1 else 0
    rounding = SAME * float(counts @ np.einsum("nd,nd->n", rows, rows))
    in_vain = 0
    for turn in range(MOST_ROUNDS):
        if n_swapped == 0:
            break
        means = swapped(rows, counts, best, n_swapped, rng, per_row=turn % 2 == 1)
        moved = lloyd(rows, counts, means, STEPS)
        if moved.inertia < best.inertia - rounding:
            best, in_vain = moved, 0
        elif in_vain:
            n_swapped, in_vain = n_swapped // 2, 0
        else:
            in_vain = 1
    return best


def lloyd(rows: np.ndarray, counts: np.ndarray, means: np.ndarray, steps: int) -> Partition:
    """Label rows by the nearest of the means (K, D) and average, in turn, until no label moves."""
    squares = np.einsum("nd,nd->n", rows, rows)
    labels = None
    for _ in range(steps):
        distances = _distances(rows, means)
        before, labels = labels, np.argmin(distances, axis=1)
        if before is not None and (labels == before).all():
            break
        shares = np.zeros((len(means), len(rows)))
        shares[labels, np.arange(len(rows))] = counts
        totals = shares.sum(axis=1)
        held = totals > 0  # a mean without rows stays where it is
        means = means.copy()
        means[held] = (shares[held] @ rows) / totals[held, None]
    distances = _distances(rows, means)
    labels = np.argmin(distances, axis=1)
    nearest = distances[np.arange(len(rows)), labels] + squares
    return Partition(means, labels, float(counts @ nearest))


def swapped(
    rows: np.ndarray,
    counts: np.ndarray,
    partition: Partition,
    n_swapped: int,
    rng: np.random.Generator,
    *,
    per_row: bool,
) -> np.ndarray:
    """Move the means that are missed least to rows of the groups with the largest error.

    Of groups of one size two in one have the largest error, of a large and two small ones the
    largest error per row.
    """
    n_components = len(partition.means)
    distances = _distances(rows, partition.means)
    index = np.arange(len(rows))
    own = distances[index, partition.labels]
    distances[index, partition.labels] = np.inf
    missed = _sums(partition.labels, counts * (distances.min(axis=1) - own), n_components)
    squares = np.einsum("nd,nd->n", rows, rows)
    error = _sums(partition.labels, counts * (own + squares), n_components)
    moved = np.argsort(missed, kind="stable")[:n_swapped]
    sizes = _sums(partition.labels, counts, n_components)
    held = sizes > 0
    held[moved] = False
    if per_row:
        error = error / np.maximum(sizes, np.finfo(float).tiny)
    donors = [k for k in np.argsort(-error, kind="stable") if held[k]][:n_swapped]
    means = partition.means.copy()
    for out, donor in zip(moved, donors, strict=False):
        members = np.flatnonzero(partition.labels == donor)
        means[out] = rows[members[draw_index(counts[members], rng)]]
    return means


def nearest(rows: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Label each row (N, D) by the mean (K, D) that is nearest."""
    return np.argmin([((rows - mean) ** 2).sum(axis=1) for mean in means], axis=0)


def spread_out(
    rows: np.ndarray, counts: np.ndarray, n_components: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw rows (K, D) that lie apart: k-means++ of Arthur & Vassilvitskii (2007).

    The chance of a row is proportional to its squared distance to the nearest one drawn before.
    """
    chance = counts.copy()
    distance = np.full(len(rows), np.inf)
    chosen = []
    for _ in range(n_components):
        row = rows[draw_index(chance, rng)]
        chosen.append(row)
        distance = np.minimum(distance, ((rows - row) ** 2).sum(axis=1))
        # Where every distinct row has been drawn, some are drawn again.
        chance = counts * distance if distance.any() else counts
    return np.array(chosen)


def draw_index(chances: np.ndarray, rng: np.random.Generator) -> int:
    """Draw an index with given chances, which need not sum to one."""
    edges = np.cumsum(chances)
    return int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))


def _distances(rows: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Squared distances (N, K), less the squared length of each row."""
    return rows @ (-2 * means.T) + np.einsum("kd,kd->k", means, means)


def _sums(labels: np.ndarray, values: np.ndarray, n_components: int) -> np.ndarray:
    """Sum the values (N,) under each label, (K,)."""
    return np.bincount(labels, weights=values, minlength=n_components)
