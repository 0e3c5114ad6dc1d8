"""Starts for EM.

Starts are computed from a sketch of the data, its distinct rows with their counts in a fixed order,
so that neither the order of the rows nor the representation of repeats (row weights or copies)
changes a fit. A start labels each row: the first ones by k-means, the others by the nearest of K
rows drawn by k-means++. Every other start uses decorrelated coordinates, in which long parallel
clusters become round.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from bayes_gmm.data import Observations
from bayes_gmm.data.streams import blocks
from bayes_gmm.inference.em import kmeans
from bayes_gmm.kernels.rows import Rows
from bayes_gmm.model.missing import by_pattern, filled
from bayes_gmm.model.statistics import SufficientStatistics

SKETCH_ROWS, MOST_SKETCH_ROWS = 1 << 12, 1 << 16
ROWS_PER_MEAN = 8  # rows of the sketch for each component and feature, if these are many
N_KMEANS = 2  # starts by k-means: in plain coordinates and in decorrelated ones
BLOCK_ROWS = 1 << 16
FLAT = 1e-10
TIE = 0.1  # standard deviations between means, where rows do not tell them apart
ALL_HASHES = np.uint64(np.iinfo(np.uint64).max)


class Sketch(NamedTuple):
    """Distinct rows, standardized and in lexicographic order, and how often each occurs.

    Where entries are missing (`lacking`, bool, or None of complete rows) rows have expected ones.
    """

    rows: np.ndarray
    counts: np.ndarray
    lacking: np.ndarray | None = None

    @property
    def as_given(self) -> np.ndarray:
        """Rows, nan where entries are missing."""
        return self.rows if self.lacking is None else np.where(self.lacking, np.nan, self.rows)

    def filled(self, mean: np.ndarray, covariance: np.ndarray) -> "Sketch":
        """Put what one normal expects in the place of missing entries."""
        if self.lacking is None:
            return self
        return self._replace(rows=filled(self.as_given, mean, covariance))

    def as_rows(self, share: float = 1.0, spread: np.ndarray | None = None) -> Rows:
        """Rows as the compiled loops take them, each standing for `share` rows of the data."""
        given, times = self.as_given, share * self.counts
        if self.lacking is not None:
            order = by_pattern(given)
            given, times = given[order], times[order]
        return Rows.of(given, None if (times == 1).all() else times, spread)

    def observations(self, whole: Observations) -> Observations:
        """Take these rows for the whole data, if they are not all of it.

        The same object if no row was left out; else these rows, weighted to the same total.
        """
        if self.counts.sum() >= whole.total_weight * (1 - 1e-12):
            return whole
        n_features = whole.n_features
        return replace(
            whole,
            values=np.ascontiguousarray(self.as_given),
            row_labels=None,
            origin=np.zeros(n_features),
            scale=np.ones(n_features),
            weights=self.counts * (whole.total_weight / self.counts.sum()),
        )

    def draw(self, rng: np.random.Generator) -> np.ndarray:
        """Draw a row of the data at random."""
        return self.rows[kmeans.draw_index(self.counts, rng)]


def sketch(observations: Observations, size: int = SKETCH_ROWS) -> Sketch:
    """Distinct rows of the data; of many, those whose values hash lowest.

    Choosing by a hash of the values, not by position, makes the choice the same in any order.
    """
    kept: HashedRows | None = None
    limit = ALL_HASHES
    n_rows = 0
    for block in blocks(observations.values, BLOCK_ROWS):
        rows = np.asarray(block, dtype=np.float64)
        if not observations.is_complete:
            rows = np.where(np.isnan(rows), np.nan, rows)  # one nan, whose bits are hashed
        times = np.ones(len(rows))
        if observations.weights is not None:
            times = observations.weights[n_rows : n_rows + len(rows)]
        n_rows += len(rows)
        hashes = _hash(rows)
        low = (hashes <= limit) & (times > 0)
        found = HashedRows(rows[low], times[low], hashes[low])
        kept = (found if kept is None else kept.joined(found)).lowest(size)
        if len(kept.times) == size:
            limit = kept.hashes[-1]
    assert kept is not None  # there are at least two rows
    order = np.lexsort(kept.values.T[::-1])
    standardized = (kept.values[order] - observations.origin) / observations.scale
    lacking = None if observations.is_complete else np.isnan(standardized)
    return Sketch(standardized, kept.times[order], lacking)


def sketch_size(n_components: int, n_features: int) -> int:
    """How many rows tell optima apart: more of them where there are many components."""
    return max(SKETCH_ROWS, min(ROWS_PER_MEAN * n_components * n_features, MOST_SKETCH_ROWS))


class HashedRows(NamedTuple):
    """Some rows, how often each occurs, and their hashes."""

    values: np.ndarray
    times: np.ndarray
    hashes: np.ndarray

    def joined(self, other: "HashedRows") -> "HashedRows":
        """Put two sets together."""
        return HashedRows(*(np.concatenate(pair) for pair in zip(self, other, strict=True)))

    def lowest(self, size: int) -> "HashedRows":
        """Keep the distinct rows with the lowest hashes, repeats counted."""
        hashes, first, place = np.unique(self.hashes, return_index=True, return_inverse=True)
        times = np.bincount(place, weights=self.times)
        return HashedRows(self.values[first[:size]], times[:size], hashes[:size])


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
    """Yield starts for EM, as the statistics of the rows of the sketch with a label each.

    Each component also holds D + 1 rows' worth of the scatter pooled over all, so that none starts
    out singular. k-means comes first; the others are single draws of k-means++.
    """
    spaces = data.rows, decorrelated(data)
    for start in range(n_starts if n_components > 1 else 1):
        space = spaces[start % 2]
        if start < N_KMEANS:
            labels = kmeans.kmeans(space, data.counts, n_components, rng).labels
        else:
            means = kmeans.spread_out(space, data.counts, n_components, rng)
            labels = kmeans.nearest(space, means)
        yield labelled_statistics(data, labels, n_components)


def means_apart(observations: Observations, near: np.ndarray) -> np.ndarray:
    """Choose means that differ, by k-means of the rows: where a sampler may start.

    Shapes: near (K, D) -> (K, D).

    Returned: in the user's units. The same for the same data.
    """
    n_components = len(near)
    data = sketch(observations)
    found = kmeans.kmeans(data.rows, data.counts, n_components, np.random.default_rng(0)).means
    found = found[np.lexsort(found.T[::-1])]
    if len(np.unique(found, axis=0)) < n_components:  # there are fewer rows than components
        found = found + TIE * np.linspace(-1, 1, n_components)[:, None]
    expected = (near - observations.origin) / observations.scale
    if (expected != expected[0]).any():
        cost = ((expected[:, None] - found) ** 2).sum(axis=2)
        found = found[linear_sum_assignment(cost)[1]]
    return observations.origin + observations.scale * found


def decorrelated(data: Sketch) -> np.ndarray:
    """Rows (N, D) in coordinates without correlation, where long parallel clusters are round."""
    mean = np.average(data.rows, axis=0, weights=data.counts)
    covariance = np.cov(data.rows.T, aweights=data.counts, ddof=0)
    variances, axes = np.linalg.eigh(np.atleast_2d(covariance))
    # A few rows may tell apart features that are one and the same in this part of the data.
    spread = np.sqrt(np.maximum(variances, FLAT * (variances[-1] or 1.0)))
    return (data.rows - mean) @ axes / spread


def labelled_statistics(
    data: Sketch, labels: np.ndarray, n_components: int
) -> SufficientStatistics:
    """Statistics of labelled rows, each component helped by a little of the pooled scatter."""
    n_features = data.rows.shape[1]
    count = np.bincount(labels, weights=data.counts, minlength=n_components)
    center = np.empty((n_components, n_features))
    second = np.empty((n_components, n_features, n_features))
    for k in range(n_components):
        members = labels == k
        rows, times = data.rows[members], data.counts[members]
        center[k] = times @ rows / count[k] if count[k] else data.counts @ data.rows / count.sum()
        residual = rows - center[k]
        second[k] = (residual * times[:, None]).T @ residual
    pooled = second.sum(axis=0) / count.sum() + 1e-6 * np.eye(n_features)
    helpers = n_features + 1.0
    return SufficientStatistics(
        0.0, count + helpers, np.zeros_like(center), second + helpers * pooled, center
    )
