"""Starts for EM: where the search for the best optimum begins.

Starts look at a sketch of the data, its distinct rows with their multiplicities in a fixed order, so
that neither the order of the rows nor the way repeats are written down can change a fit. Each start
seeds the means by k-means++, half of them in coordinates in which the data are uncorrelated, where
long parallel clusters are as easy to see as round ones.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular

from bayes_gmm.data import Observations
from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters

SKETCH_ROWS = 4096
LLOYD_STEPS = 5


class Sketch(NamedTuple):
    """Distinct rows, standardized and in lexicographic order, and how often each occurs."""

    rows: np.ndarray
    counts: np.ndarray


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
    values = observations.values
    if len(values) > size:
        hashes = np.concatenate(
            [_hash(values[i : i + (1 << 16)]) for i in range(0, len(values), 1 << 16)]
        )
        # One more than wanted, and all that tie with it, so that repeats stay together.
        values = values[hashes <= np.partition(hashes, size)[size]]
    rows, counts = np.unique(values, axis=0, return_counts=True)
    return Sketch((rows - observations.origin) / observations.scale, counts.astype(float))


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


def starts(
    data: Sketch, n_components: int, n_starts: int, rng: np.random.Generator
) -> Iterator[Parameters]:
    """Yield starting points for EM, in standardized coordinates.

    Parameters
    ----------
    data : Sketch
    n_components : int
    n_starts : int
    rng : numpy.random.Generator
        Source of randomness.

    Yields
    ------
    Parameters
        Components share one covariance, the pooled one, so that none starts out singular.
    """
    mean = np.average(data.rows, axis=0, weights=data.counts)
    covariance = np.cov(data.rows.T, aweights=data.counts, ddof=0).reshape(len(mean), len(mean))
    if n_components == 1:
        yield Parameters([1.0], mean[None], covariance[None])
        return
    factor = np.linalg.cholesky(covariance)
    whitened = solve_triangular(factor, (data.rows - mean).T, lower=True).T
    for start in range(n_starts):
        space = whitened if start % 2 else data.rows
        yield _from_labels(data, _cluster(space, data.counts, n_components, rng), n_components)


def _cluster(
    rows: np.ndarray, counts: np.ndarray, n_components: int, rng: np.random.Generator
) -> np.ndarray:
    """Label rows by a few steps of k-means from a k-means++ seeding."""
    from sklearn.cluster import KMeans  # noqa: PLC0415 - a second to import, needed only here

    state = int(rng.integers(2**31))
    means = KMeans(n_components, init="k-means++", n_init=1, max_iter=LLOYD_STEPS, random_state=state)
    return means.fit_predict(rows, sample_weight=counts)


def _from_labels(data: Sketch, labels: np.ndarray, n_components: int) -> Parameters:
    """Weights and means of the labelled rows, and the covariance pooled over the labels."""
    share = np.eye(n_components)[labels] * data.counts[:, None]
    count = share.sum(axis=0)
    means = share.T @ data.rows / count[:, None]
    residual = data.rows - means[labels]
    pooled = (data.counts[:, None] * residual).T @ residual / count.sum()
    # Labels that follow the data exactly leave no spread; a little of the data's own is enough.
    pooled += 1e-6 * np.eye(len(pooled))
    return Parameters(count / count.sum(), means, np.tile(pooled, (n_components, 1, 1)))
