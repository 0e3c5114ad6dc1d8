r"""One clustering to report: the partition that loses least against all that the posterior allows.

    c* = argmin_c E[ loss(c, z) | data ]

A partition is a set of sets, so neither the loss nor the answer knows names of components, and the
number of clusters is part of the answer. Around it lies the credible ball: the smallest ball, in
the distance that the loss is, that holds the partition with a given probability. Its edges show in
which ways the clustering could be another one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from bayes_gmm.errors import InputError
from bayes_gmm.kernels.membership import Ensemble
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.partition_search import LOSSES, best_partition, cluster_mass, ordered
from bayes_gmm.results.coclustering import chosen_rows, co_clustering_matrix
from bayes_gmm.results.draws import is_posterior
from bayes_gmm.results.label_draws import draw_labels
from bayes_gmm.results.labels import labelled
from bayes_gmm.results.predictive import MOST_DRAWS, mixtures, tails
from bayes_gmm.seeds import Seed, as_seed

CANDIDATE_DRAWS = 100  # whose partitions the search starts from
PAIR_BYTES = 24  # the matrix, distances, and the tree's copy of half of them
SPARE_CLUSTERS = 8  # in cuts of trees, beyond twice the number of components


def partition(
    result: xr.DataTree | Parameters,
    X: Any = None,
    *,
    loss: str = "vi",
    rows: int | Sequence[int] | None = None,
    ci_prob: float = 0.95,
    seed: Seed = None,
    memory: float = 1.0,
) -> xr.Dataset:
    r"""Find the clustering with the least posterior expected loss.

    .. math:: c^* = \arg\min_c \; E[\, \mathrm{loss}(c, z) \mid \text{data} \,]

    The search goes over cuts of trees grown on the co-clustering matrix (average and complete
    linkage) and over the partitions of draws; the best of them are improved by moving single rows.
    On 8 rows and fewer it finds what trying all partitions finds. Each row is one, whatever its
    row weight.

    Parameters
    ----------
    result : DataTree or Parameters
        A posterior result; or a point result or parameters, whose estimate is plugged in.
    X : table, optional
        As in `predict`.
    loss : "vi" or "binder"
        The variation of information, in nats, whose expectation is minimized through its lower
        bound; or Binder's loss, the share of pairs of rows that are put together or apart wrongly.
        Binder's tends to make more and smaller clusters.
    rows : int or sequence of int, optional
        As in `co_clustering`. The work grows with the square of the number of rows, so with many,
        take some thousand.
    ci_prob : float
        Probability of the credible ball.
    seed : int, SeedSequence or Generator, optional
        Fixes the draws of labels that the ball, its edges and the expected variation of information
        are computed from; the partition itself has nothing random.
    memory : float
        How many GiB the search may take, 24 bytes for each pair of rows.

    Returns
    -------
    xarray.Dataset
        ``label`` (obs_id), the cluster of each row, 0, 1, ... by decreasing size: these are not the
        names of the components. ``confidence`` (obs_id), the probability of sharing a component
        with the other rows of its cluster, on average; of a row alone in its cluster, that of
        sharing with no other. ``n_clusters``; ``expected_loss``; ``ball_radius``, the largest loss
        in the ball. Three partitions at the edge of the ball: ``lower_bound`` and ``upper_bound``
        (obs_id), of those in the ball with most and with fewest clusters the farthest, and
        ``horizontal_bound`` (obs_id), the farthest of all.

    Raises
    ------
    InputError
        As in `co_clustering`; if there is one row only, or no such loss.

    References
    ----------
    Wade & Ghahramani (2018), Bayesian Analysis 13, sec. 3 and 4; Binder (1978), Biometrika 65.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> theta = bg.Parameters([0.5, 0.5], [[0.0], [40.0]], [[[1.0]], [[1.0]]])
    >>> from bayes_gmm.results.partition import partition
    >>> partition(theta, [[41.0], [0.0], [39.0], [40.0]], seed=1)["label"].values.tolist()
    [0, 1, 0, 0]
    """
    if loss not in LOSSES:
        raise InputError(f"loss must be 'vi' or 'binder'; got {loss!r}")
    tails(ci_prob)
    values, index = chosen_rows(result, X, rows)
    if len(values) < 2:
        raise InputError("partition needs at least two rows: give more")
    averaged = mixtures(result)
    ensemble = Ensemble.of(averaged)
    matrix = co_clustering_matrix(ensemble, values, memory, PAIR_BYTES)
    step = -(-ensemble.n_mixtures // CANDIDATE_DRAWS)
    some = Ensemble(*(part[..., ::step].copy() for part in ensemble))
    candidates = some.membership(values)[0].argmax(axis=1).T
    most_clusters = 2 * ensemble.n_components + SPARE_CLUSTERS
    labels = best_partition(matrix, LOSSES[loss], candidates, most_clusters)

    repeated = ensemble if is_posterior(result) else Ensemble.of(averaged * MOST_DRAWS)
    drawn = draw_labels(repeated, values, as_seed(seed), memory)
    distance = distances(labels, drawn, loss)
    expected = LOSSES[loss].value(matrix, labels) if loss == "binder" else distance.mean()
    radius = np.quantile(distance, ci_prob, method="inverted_cdf")
    variables = {
        "label": labels,
        "confidence": confidence(matrix, labels, drawn),
        **_edges(drawn, distance, radius),
        "n_clusters": labels.max() + 1,
        "expected_loss": float(expected),
        "ball_radius": float(radius),
    }
    dims = {name: ("obs_id",) for name, value in variables.items() if np.ndim(value)}
    return labelled(variables, index=index, dims=dims).assign_attrs(
        loss=loss, ci_prob=ci_prob, n_draws=ensemble.n_mixtures
    )


def distances(labels: np.ndarray, drawn: np.ndarray, loss: str) -> np.ndarray:
    """Loss between a partition (N,) and each of others (S, N): (S,)."""
    n, n_mine, n_theirs = len(labels), int(labels.max()) + 1, int(drawn.max()) + 1
    result = np.empty(len(drawn))
    for s, other in enumerate(drawn):
        cells = np.bincount(labels * n_theirs + other, minlength=n_mine * n_theirs)
        both = cells.reshape(n_mine, n_theirs)
        sizes = both.sum(axis=1), both.sum(axis=0), both.ravel()
        if loss == "binder":
            one, two, common = (float((size * size).sum()) for size in sizes)
            result[s] = (one + two - 2 * common) / (n * (n - 1))
        else:
            one, two, common = (float((size * np.log(np.maximum(size, 1))).sum()) for size in sizes)
            result[s] = max((one + two - 2 * common) / n, 0.0)
    return result


def confidence(matrix: np.ndarray, labels: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """How surely each row belongs to its cluster, (N,)."""
    counts = np.bincount(labels)[labels]
    shared = cluster_mass(matrix, labels)[np.arange(len(labels)), labels] - 1
    alone = counts == 1
    result = shared / np.maximum(counts - 1, 1)
    if alone.any():
        sizes = np.stack([np.bincount(z, minlength=int(drawn.max()) + 1)[z] for z in drawn])
        result[alone] = (sizes[:, alone] == 1).mean(axis=0)
    return np.clip(result, 0.0, 1.0)


def _edges(drawn: np.ndarray, distance: np.ndarray, radius: float) -> dict[str, np.ndarray]:
    """Partitions of the ball that lie at its edge, upwards, downwards and anywhere."""
    inside = np.flatnonzero(distance <= radius)
    sizes = np.array([len(np.unique(drawn[s])) for s in inside])

    def farthest(among: np.ndarray) -> np.ndarray:
        return ordered(drawn[among[np.argmax(distance[among])]])

    return {
        "lower_bound": farthest(inside[sizes == sizes.max()]),
        "upper_bound": farthest(inside[sizes == sizes.min()]),
        "horizontal_bound": farthest(inside),
    }
