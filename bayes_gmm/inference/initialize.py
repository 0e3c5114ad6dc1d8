"""Starts for EM: where the search for the best optimum begins.

Starts look at a sketch of the data, its distinct rows with their multiplicities in a fixed order,
so that neither the order of the rows nor the way repeats are written down can change a fit. Each
start labels rows by the nearest of K that lie apart, as k-means++ draws them; every other start
does so in coordinates in which the data are uncorrelated, where long parallel clusters are round.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError
from bayes_gmm.model.statistics import SufficientStatistics

SKETCH_ROWS = 4096


class Sketch(NamedTuple):
    """Distinct rows, standardized and in lexicographic order, and how often each occurs."""

    rows: np.ndarray
    counts: np.ndarray

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
    values, weights = observations.values, observations.weights
    times = np.ones(len(values)) if weights is None else weights
    if len(values) > size:
        hashes = np.concatenate(
            [_hash(values[i : i + (1 << 16)]) for i in range(0, len(values), 1 << 16)]
        )
        # One more than wanted, and all that tie with it, so that repeats stay together.
        chosen = hashes <= np.partition(hashes, size)[size]
        values, times = values[chosen], times[chosen]
    values, times = values[times > 0], times[times > 0]
    rows, place = np.unique(values, axis=0, return_inverse=True)
    counts = np.bincount(place.ravel(), weights=times)
    return Sketch((rows - observations.origin) / observations.scale, counts)


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


def require_components(n_components: int, data: Sketch, n_rows: int) -> None:
    """Check that there can be so many components.

    Parameters
    ----------
    n_components : int
    data : Sketch
    n_rows : int
        Rows of the whole data, of which the sketch may hold a part.

    Raises
    ------
    InputError
        If there are fewer rows, or fewer distinct rows, than components.
    """
    if n_components > n_rows:
        raise InputError(
            f"n_components is {n_components}, but X has only {n_rows} rows; "
            "ask for at most one component per row"
        )
    if n_components > len(data.rows):
        raise InputError(
            f"n_components is {n_components}, but X has only {len(data.rows)} distinct rows; "
            "ask for fewer components"
        )


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
    factor = np.linalg.cholesky(covariance)
    whitened = solve_triangular(factor, (data.rows - mean).T, lower=True).T
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
        chance = counts * distance
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
    center = share.T @ data.rows / share.sum(axis=0)[:, None]
    own = SufficientStatistics.of(data.rows, share, center, 0.0)
    pooled = own.second.sum(axis=0) / own.count.sum() + 1e-6 * np.eye(n_features)
    helpers = n_features + 1.0
    return SufficientStatistics(
        0.0, own.count + helpers, own.first, own.second + helpers * pooled, center
    )
