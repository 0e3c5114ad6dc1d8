"""Starts for EM: where the search for the best optimum begins.

Starts look at a sketch of the data, its distinct rows with their multiplicities in a fixed order,
so that neither the order of the rows nor the way repeats are written down can change a fit. Each
start labels rows by the nearest of K that lie apart, as k-means++ draws them; every other start
does so in coordinates in which the data are uncorrelated, where long parallel clusters are round.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.streams import blocks

SKETCH_ROWS = 4096
BLOCK_ROWS = 1 << 16
FLAT = 1e-10
ALL_HASHES = np.uint64(np.iinfo(np.uint64).max)


class Sketch(NamedTuple):
    """Distinct rows, standardized and in lexicographic order, and how often each occurs."""

    rows: np.ndarray
    counts: np.ndarray

    def observations(self, whole: Observations) -> Observations:
        """Take these rows for the whole data, if they are not all of it.

        Parameters
        ----------
        whole : Observations
            The data, in whose coordinates the rows are.

        Returns
        -------
        Observations
            The same object if no row was left out; else these rows, weighted to the same total.
        """
        if self.counts.sum() >= whole.total_weight * (1 - 1e-12):
            return whole
        n_features = whole.n_features
        return replace(
            whole,
            values=np.ascontiguousarray(self.rows),
            row_labels=None,
            origin=np.zeros(n_features),
            scale=np.ones(n_features),
            weights=self.counts * (whole.total_weight / self.counts.sum()),
        )

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a row of the data at random."""
        return self.rows[draw_index(self.counts, rng)]


def sketch(observations: Observations, size: int = SKETCH_ROWS) -> Sketch:
    """Distinct rows of the data; of many, those whose values hash lowest.

    Choosing by a hash of the values, not by position, makes the choice the same in any order.

    Parameters
    ----------
    observations : Observations
    size : int
        About how many rows to keep.

    Returns
    -------
    Sketch
    """
    kept: Rows | None = None
    limit = ALL_HASHES
    n_rows = 0
    for block in blocks(observations.values, BLOCK_ROWS):
        rows = np.asarray(block, dtype=np.float64)
        times = np.ones(len(rows))
        if observations.weights is not None:
            times = observations.weights[n_rows : n_rows + len(rows)]
        n_rows += len(rows)
        hashes = _hash(rows)
        low = (hashes <= limit) & (times > 0)
        found = Rows(rows[low], times[low], hashes[low])
        kept = (found if kept is None else kept.joined(found)).lowest(size)
        if len(kept.times) == size:
            limit = kept.hashes[-1]
    assert kept is not None  # there are at least two rows
    order = np.lexsort(kept.values.T[::-1])
    standardized = (kept.values[order] - observations.origin) / observations.scale
    return Sketch(standardized, kept.times[order])


class Rows(NamedTuple):
    """Some rows, how often each occurs, and their hashes."""

    values: np.ndarray
    times: np.ndarray
    hashes: np.ndarray

    def joined(self, other: "Rows") -> "Rows":
        """Put two sets together."""
        return Rows(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))

    def lowest(self, size: int) -> "Rows":
        """Keep the distinct rows with the lowest hashes, repeats counted."""
        hashes, first, place = np.unique(self.hashes, return_index=True, return_inverse=True)
        times = np.bincount(place, weights=self.times)
        return Rows(self.values[first[:size]], times[:size], hashes[:size])


def _hash(rows: np.ndarray) -> np.ndarray:
    """Mix the bits of each row into one 64-bit integer (the finalizer of SplitMix64)."""
    bits = np.ascontiguousarray(rows, dtype=float).view(np.uint64)
    mixed = np.zeros(len(rows), dtype=np.uint64)
    for column in bits.T:
        mixed = (mixed ^ column) + np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed ^= mixed >> np.uint64(31)
    return mixed


def seeds(
    data: Sketch, n_components: int, n_starts: int, rng: np.random.Generator
) -> Iterator[SufficientStatistics]:
    """Yield starting points for EM, as the statistics of rows that were given a label each.

    Parameters
    ----------
    data : Sketch
    n_components : int
    n_starts : int
    rng : numpy.random.Generator
        Source of randomness.

    Yields
    ------
    SufficientStatistics
        In standardized coordinates. Each component also holds D + 1 rows' worth of the scatter
        pooled over all, so that none starts out singular.
    """
    n_features = data.rows.shape[1]
    mean = np.average(data.rows, axis=0, weights=data.counts)
    covariance = np.cov(data.rows.T, aweights=data.counts, ddof=0).reshape(n_features, n_features)
    variances, axes = np.linalg.eigh(covariance)
    # A few rows may tell apart features that are one and the same in this part of the data.
    spread = np.sqrt(np.maximum(variances, FLAT * (variances[-1] or 1.0)))
    whitened = (data.rows - mean) @ axes / spread
    for start in range(n_starts if n_components > 1 else 1):
        space = whitened if start % 2 else data.rows
        labels = nearest(space, spread_out(space, data.counts, n_components, rng))
        yield labelled_statistics(data, labels, n_components)


def draw_index(chances: np.ndarray, rng: np.random.Generator) -> int:
    """Draw an index with given chances, which need not sum to one.

    Parameters
    ----------
    chances : ndarray (N,)
    rng : numpy.random.Generator

    Returns
    -------
    int
    """
    edges = np.cumsum(chances)
    return int(np.searchsorted(edges, rng.random() * edges[-1], side="right"))


def spread_out(
    rows: np.ndarray, counts: np.ndarray, n_components: int, rng: np.random.Generator
) -> np.ndarray:
    """Draw rows that lie apart: chances are proportional to the squared distance to those before.

    Parameters
    ----------
    rows : ndarray (N, D)
    counts : ndarray (N,)
    n_components : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray (K, D)

    References
    ----------
    Arthur & Vassilvitskii (2007), k-means++.
    """
    chance = counts.copy()
    distance = np.full(len(rows), np.inf)
    chosen = []
    for _ in range(n_components):
        row = rows[draw_index(chance, rng)]
        chosen.append(row)
        distance = np.minimum(distance, ((rows - row) ** 2).sum(axis=1))
        # Where every distinct row has been chosen, some are chosen again.
        chance = counts * distance if distance.any() else counts
    return np.array(chosen)


def nearest(rows: np.ndarray, means: np.ndarray) -> np.ndarray:
    """Label each row by the mean that is nearest.

    Parameters
    ----------
    rows : ndarray (N, D)
    means : ndarray (K, D)

    Returns
    -------
    ndarray of int (N,)
    """
    return np.argmin([((rows - mean) ** 2).sum(axis=1) for mean in means], axis=0)


def labelled_statistics(
    data: Sketch, labels: np.ndarray, n_components: int
) -> SufficientStatistics:
    """Statistics of labelled rows, each component helped by a little of the pooled scatter.

    Parameters
    ----------
    data : Sketch
    labels : ndarray of int (N,)
    n_components : int

    Returns
    -------
    SufficientStatistics
    """
    share = np.eye(n_components)[labels] * data.counts[:, None]
    n_features = data.rows.shape[1]
    count = share.sum(axis=0)
    center = share.T @ data.rows / np.where(count > 0, count, 1.0)[:, None]
    own = SufficientStatistics.of(data.rows, share, center, 0.0)
    pooled = own.second.sum(axis=0) / own.count.sum() + 1e-6 * np.eye(n_features)
    helpers = n_features + 1.0
    return SufficientStatistics(
        0.0, own.count + helpers, own.first, own.second + helpers * pooled, center
    )
