r"""The partition with the least posterior expected loss, given the co-clustering matrix P.

A loss compares the partition c with the unknown true one z, and only P enters its expectation:

    Binder:  E B(c, z)   = 2 / (N (N - 1)) sum_{i<j} |1(c_i = c_j) - P_ij|
    VI:      E VI(c, z) >= 1/N sum_i { log n_i + E log m_i - 2 log sum_{j: c_j = c_i} P_ij }

with n_i and m_i the sizes of the clusters of row i in c and in z. The second is Wade & Ghahramani's
(2018) lower bound, from Jensen's inequality. Both change in closed form when one row moves, so the
search starts from good partitions and moves rows, the most doubtful first, as long as it helps.
"""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import squareform

from bayes_gmm.kernels.membership import Ensemble
from bayes_gmm.posterior.predictive import co_clustering_matrix, draw_labels

FINALISTS = 8  # candidates that are refined
LINKAGES = ("average", "complete")
GAIN = 1e-10  # a smaller improvement per row is rounding
MOST_SWEEPS = 200
CANDIDATE_DRAWS = 100  # whose partitions the search starts from
PARTITION_BYTES = 24  # the matrix, distances, and the tree's copy of half of them
SPARE_CLUSTERS = 8  # in cuts of trees, beyond twice the number of components


class Binder:
    """Share of pairs of rows that are put together or apart wrongly; equals 1 - Rand index."""

    @staticmethod
    def value(matrix: np.ndarray, labels: np.ndarray) -> float:
        """Expected loss of a partition, in [0, 1]."""
        n = len(labels)
        counts = np.bincount(labels)
        within = cluster_mass(matrix, labels)[np.arange(n), labels].sum() - n
        together = (counts * (counts - 1)).sum()
        # Of the sum over ordered pairs: together they lose 1 - P, apart P.
        return float((together - 2 * within + matrix.sum() - n) / (n * (n - 1)))

    @staticmethod
    def insertion(
        row: np.ndarray, mass: np.ndarray, counts: np.ndarray, labels: np.ndarray, i: int
    ) -> np.ndarray:
        """Change of the loss, up to a factor, on putting row i into each cluster."""
        del row, labels
        return counts - 2 * mass[i]


class VariationOfInformation:
    """Entropy of each partition given the other, H(c | z) + H(z | c), in nats."""

    @staticmethod
    def value(matrix: np.ndarray, labels: np.ndarray) -> float:
        """Lower bound on the expected loss, up to a term that no partition changes."""
        counts = np.bincount(labels)
        own = cluster_mass(matrix, labels)[np.arange(len(labels)), labels]
        return float((np.log(counts[labels]) - 2 * np.log(own)).mean())

    @staticmethod
    def insertion(
        row: np.ndarray, mass: np.ndarray, counts: np.ndarray, labels: np.ndarray, i: int
    ) -> np.ndarray:
        """Change of the bound, up to a factor, on putting row i into each cluster."""
        own = mass[np.arange(len(labels)), labels]
        own[i] = np.inf  # the row itself is in no cluster now
        growth = np.bincount(labels, weights=np.log1p(row / own), minlength=len(counts))
        sizes = _n_log_n(counts + 1.0) - _n_log_n(counts)
        return sizes - 2 * (np.log1p(mass[i]) + growth)


Loss = type[Binder] | type[VariationOfInformation]
LOSSES: dict[str, Loss] = {"binder": Binder, "vi": VariationOfInformation}


def least_loss(
    ensemble: Ensemble,
    repeated: Ensemble,
    rows: np.ndarray,
    loss: str,
    ci_prob: float,
    seed: int | None,
    memory: float,
) -> dict[str, Any]:
    """Find the partition of rows (N, D) with the least expected loss, and the ball around it.

    Labels are drawn from the mixtures of `repeated`, which are those of `ensemble`, or of a single
    one many copies. What is returned has the names that `bg.partition` documents.
    """
    matrix = co_clustering_matrix(ensemble, rows, memory, PARTITION_BYTES)
    step = -(-ensemble.n_mixtures // CANDIDATE_DRAWS)
    some = Ensemble(*(part[..., ::step].copy() for part in ensemble))
    candidates = some.membership(rows)[0].argmax(axis=1).T
    most_clusters = 2 * ensemble.n_components + SPARE_CLUSTERS
    labels = best_partition(matrix, LOSSES[loss], candidates, most_clusters)
    drawn = draw_labels(repeated, rows, seed, memory)
    distance = distances(labels, drawn, loss)
    expected = LOSSES[loss].value(matrix, labels) if loss == "binder" else distance.mean()
    radius = np.quantile(distance, ci_prob, method="inverted_cdf")
    return {
        "label": labels,
        "confidence": confidence(matrix, labels, drawn),
        **edges(drawn, distance, radius),
        "n_clusters": labels.max() + 1,
        "expected_loss": float(expected),
        "ball_radius": float(radius),
    }


def best_partition(
    matrix: np.ndarray, loss: Loss, candidates: Iterable[np.ndarray], most_clusters: int
) -> np.ndarray:
    """Search for the partition with the least expected loss.

    Clusters come by decreasing size. Cuts of hierarchical clusterings of the matrix, into
    `most_clusters` at most, are added to the candidates.

    Shapes: matrix (N, N), each of candidates (N,) -> (N,).
    """
    distinct = {
        labels.tobytes(): labels
        for labels in map(ordered, (*candidates, *_cuts(matrix, most_clusters)))
    }
    partitions = list(distinct.values())
    values = np.array([loss.value(matrix, labels) for labels in partitions])
    finalists = np.argsort(values, kind="stable")[:FINALISTS]
    refined = [refine(matrix, loss, partitions[place]) for place in finalists]
    return min(refined, key=lambda labels: loss.value(matrix, labels))


def refine(matrix: np.ndarray, loss: Loss, labels: np.ndarray) -> np.ndarray:
    """Move single rows to other clusters, or to new ones, while that lowers the loss."""
    labels = ordered(labels)
    everyone = np.arange(len(labels))
    for _ in range(MOST_SWEEPS):
        labels = ordered(labels)
        mass, counts = _with_empty(cluster_mass(matrix, labels), np.bincount(labels))
        doubt = mass[everyone, labels] / counts[labels]
        moved = False
        for i in np.argsort(doubt, kind="stable"):
            mine, row = labels[i], matrix[i]
            mass[:, mine] -= row
            counts[mine] -= 1
            change = loss.insertion(row, mass, counts, labels, i)
            best = int(np.argmin(change))
            if change[best] < change[mine] - GAIN:
                labels[i] = best
                moved = True
            mass[:, labels[i]] += row
            counts[labels[i]] += 1
            if counts.all():
                mass, counts = _with_empty(mass, counts)
        if not moved:
            break
    return ordered(labels)


def ordered(labels: np.ndarray) -> np.ndarray:
    """Number clusters 0, 1, ... by decreasing size, of equal ones the first to appear first."""
    _, first, inverse, counts = np.unique(
        labels, return_index=True, return_inverse=True, return_counts=True
    )
    names = np.empty(len(counts), dtype=np.intp)
    names[np.lexsort((first, -counts))] = np.arange(len(counts))
    return names[inverse]


def _cuts(matrix: np.ndarray, most_clusters: int) -> Iterator[np.ndarray]:
    """Cut trees of the distances 1 - P at every number of clusters."""
    n = len(matrix)
    distances = squareform(1 - matrix, checks=False)
    sizes = np.arange(1, min(n, most_clusters) + 1)
    for method in LINKAGES:
        yield from cut_tree(linkage(distances, method), sizes).T


def cluster_mass(matrix: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Sum the probabilities of each row with the members of each cluster, (N, C)."""
    return matrix @ np.eye(labels.max() + 1)[labels]


def _with_empty(mass: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Append a cluster that has no rows yet."""
    return np.column_stack([mass, np.zeros(len(mass))]), np.append(counts, 0)


def _n_log_n(n: np.ndarray) -> np.ndarray:
    return n * np.log(np.maximum(n, 1))


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


def edges(drawn: np.ndarray, distance: np.ndarray, radius: float) -> dict[str, np.ndarray]:
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
