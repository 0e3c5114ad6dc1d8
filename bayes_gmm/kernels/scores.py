r"""A pass for the curvature at the optimum: sums of products of the rows' scores.

The score of a row is an expectation over its label of scores that are easy (Fisher's identity),
s_n = sum_k r_nk g_nk, and the curvature needs the sums of s s' and of sum_k r g g'. They are summed
over blocks of rows as they come; no array of N x P numbers is ever made.
"""

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.data.streams import blocks
from bayes_gmm.model.information import ScoreProducts
from bayes_gmm.model.structures.local_coordinates import LocalCoordinates

BLOCK_NUMBERS = 1 << 17  # doubles per array, so that a block stays in cache


def score_products(observations: Observations, local: LocalCoordinates) -> ScoreProducts:
    """Sum the products of scores over all rows, each as often as it counts."""
    sums = ScoreProducts.zeros(local)._replace(n_rows=observations.total_weight)
    # As many rows as coordinates at least, or adding P x P matrices would take most of the time.
    size = local.n_coordinates
    block_rows = max(size, BLOCK_NUMBERS // (size + local.parameters.means.size))
    start = 0
    for block in blocks(observations.values, block_rows):
        rows = slice(start, start + len(block))
        weights = observations.weights
        _add(sums, np.asarray(block, float), local, None if weights is None else weights[rows])
        start = rows.stop
    return sums


def _add(
    sums: ScoreProducts, x: np.ndarray, local: LocalCoordinates, weights: np.ndarray | None
) -> None:
    """Add a block of rows (n, D)."""
    residual = x - local.parameters.means[:, None]
    whitened = residual @ local.whitener.swapaxes(1, 2)
    shares = _responsibilities(whitened, local)
    times = np.ones(len(x)) if weights is None else weights
    scores = np.zeros((len(x), local.n_coordinates))
    a, b = local.pairs
    n_features = x.shape[1]
    for k, (e, share) in enumerate(zip(whitened, shares, strict=True)):
        features = np.empty((len(x), 1 + n_features + len(a)))
        features[:, 0] = 1.0
        features[:, 1 : 1 + n_features] = e
        np.multiply(e[:, a], e[:, b], out=features[:, 1 + n_features :])
        features[:, 1 + n_features : 1 + 2 * n_features] *= 0.5
        features[:, 1 + n_features : 1 + 2 * n_features] -= 0.5
        of_label = features @ local.score_map(k)
        counted = times * share
        places = local.places(k)
        scores[:, places] += share[:, None] * of_label
        # A matrix times its own transpose costs BLAS half of what a general product does.
        half = np.sqrt(counted)[:, None] * of_label
        sums.within[np.ix_(places, places)] += half.T @ half
        sums.counts[k] += counted.sum()
        sums.first[k] += counted @ e
        sums.second[k] += (counted[:, None] * e).T @ e
    sums.total[:] += times @ scores
    scores *= np.sqrt(times)[:, None]
    sums.outer[:] += scores.T @ scores


def _responsibilities(whitened: np.ndarray, local: LocalCoordinates) -> np.ndarray:
    """p(z = k | x) from whitened residuals, (K, n)."""
    log_volume = np.linalg.slogdet(local.root)[1]
    with np.errstate(divide="ignore"):  # a component may be empty, its weight zero
        log_joint = np.log(local.parameters.weights) - log_volume
    log_joint = log_joint[:, None] - 0.5 * (whitened**2).sum(axis=2)
    shares = np.exp(log_joint - log_joint.max(axis=0))
    return shares / shares.sum(axis=0)
