r"""Relabelling by the allocation of rows: four methods with one formula.

A draw has a membership a[n, j] of every row in every component: the probability p(z_n = j | x), or
one for the most probable component and zero for the others. With l[n, k] the loss of allocating row
n to cluster k, giving component j of the draw the label k costs

    cost[k, j] = sum_n a[n, j] l[n, k]

and the draw gets the labels with the smallest total cost. The methods differ in a and l:

    ecr             most probable    -1 if row n is in cluster k at the pivot (agreement counted)
    ecr-iterative   most probable    the same, with the clusters of most relabelled draws
    stephens        probabilities    -log q[n, k], q the mean of the relabelled probabilities
    data            most probable    sum_d ((x_nd - m_kd) / s_kd)^2, m and s of relabelled clusters

The last three start from the labels of the pivot and are iterated until no draw changes. Memory is
bounded: of many rows, a subset is used, with `NUMBERS` memberships in total, evenly spaced within
each of the pivot's components and weighted accordingly.
"""

import warnings
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bayes_gmm.data.streams import blocks
from bayes_gmm.errors import ConvergenceWarning
from bayes_gmm.kernels.membership import Ensemble
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.pivot import best

NUMBERS = 1 << 24  # memberships held: 128 MiB
BLOCK_ROWS = 1 << 14
ITERATIONS = 100
NARROWEST = 1e-3  # spread of a group, in sds of the data; a group of one row has none

Losses = Callable[[np.ndarray], np.ndarray]


class Chosen(NamedTuple):
    """Rows that stand for all."""

    x: np.ndarray  # (n, D)
    times: np.ndarray  # (n,), how many rows each stands for


def choose_rows(
    x: np.ndarray, pivot: Parameters, most: int, weights: np.ndarray | None = None
) -> Chosen:
    """Choose at most so many rows, from each component of the pivot as many if it has them.

    Shapes: x (N, D), weights (N,).
    """
    if weights is None:
        seen = np.ones(len(x))
    else:
        x, seen = x[weights > 0], weights[weights > 0]
    if len(x) <= most:
        return Chosen(x, seen)
    log_joint = np.concatenate([pivot.log_quadratic()(block) for block in blocks(x, BLOCK_ROWS)])
    label, height = log_joint.argmax(axis=1), log_joint.max(axis=1)
    held = np.unique(label)
    each = max(1, most // len(held))
    rows, times = [], []
    for k in held:
        own = np.flatnonzero(label == k)
        own = own[np.argsort(height[own], kind="stable")]
        size = min(each, len(own))
        middles = ((np.arange(size) + 0.5) * len(own) / size).astype(int)
        rows.append(own[middles])
        times.append(seen[own[middles]] * (seen[own].sum() / seen[own[middles]].sum()))
    return Chosen(x[np.concatenate(rows)], np.concatenate(times))


def by_rows(
    method: str,
    draws: Draws,
    x: np.ndarray,
    pivot: Parameters,
    weights: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Relabel draws that are in the order of the pivot.

    Component k of the relabelled draw is component permutation[k] of the draw as given; `order` is
    the same for the pivot.

    Shapes: x (N, D), weights (N,) -> permutation (chain, draw, K), order (K,).

    Papastamoulis & Iliopoulos (2010), J. Comput. Graph. Statist. 19 (ecr); Papastamoulis (2016),
    J. Statist. Softw. 69 (ecr-iterative); Stephens (2000), J. R. Statist. Soc. B 62, algorithm 2;
    Rodriguez & Walker (2014), J. Comput. Graph. Statist. 23, sec. 3 (data).
    """
    rows = choose_rows(x, pivot, max(1, NUMBERS // draws.weights.size), weights)
    own = Draws(*(a[None, None] for a in (pivot.weights, pivot.means, pivot.covariances)))
    memberships, of_pivot = (
        Ensemble(*(np.moveaxis(part, 0, -1).copy() for part in which.log_quadratic())).membership(
            rows.x
        )[0]
        for which in (draws, own)
    )
    if method != "stephens":
        memberships, of_pivot = hardened(memberships), hardened(of_pivot)
    losses = {
        "ecr": lambda _: -of_pivot[..., 0],
        "ecr-iterative": lambda share: -hardened(share[..., None])[..., 0],
        "stephens": lambda share: -np.log(np.maximum(share, np.finfo(float).tiny)),
        "data": lambda share: _scaled_distances(rows, share, pivot),
    }[method]
    permutation, loss = iterate(memberships, rows.times, losses)
    order = best(costs(of_pivot, rows.times[:, None] * loss))[0]
    return permutation.reshape(draws.weights.shape), order


def iterate(
    memberships: np.ndarray, times: np.ndarray, losses: Losses
) -> tuple[np.ndarray, np.ndarray]:
    """Relabel to groups and form the groups anew, in turn, until no draw changes.

    Shapes: memberships (n, K, S), times (n,) -> permutation (S, K), losses (n, K).
    """
    _, n_components, n_draws = memberships.shape
    permutation = np.tile(np.arange(n_components), (n_draws, 1))
    for _ in range(ITERATIONS):
        loss = losses(_averages(memberships, permutation))
        found = best(costs(memberships, times[:, None] * loss))
        if (found == permutation).all():
            return found, loss
        permutation = found
    warnings.warn(
        f"relabel did not converge in {ITERATIONS} iterations; the labels of the last one are "
        "returned. Try method='pivot' or 'ecr', which are not iterative.",
        ConvergenceWarning,
        stacklevel=4,
    )
    return permutation, loss


def costs(memberships: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Cost of naming component j of a draw "k": (n, K, S) and (n, K) to (S, K, K) by s, k, j."""
    n_rows, n_components, n_draws = memberships.shape
    total = loss.T @ memberships.reshape(n_rows, -1)
    return np.ascontiguousarray(
        total.reshape(n_components, n_components, n_draws).transpose(2, 0, 1)
    )


def hardened(memberships: np.ndarray) -> np.ndarray:
    """Give each row to its most probable component: (n, K, S) of zeros and ones."""
    own = memberships.argmax(axis=1)[:, None]
    return (np.arange(memberships.shape[1])[:, None] == own).astype(float)


def _averages(memberships: np.ndarray, permutation: np.ndarray) -> np.ndarray:
    draw = np.arange(len(permutation))
    return np.stack([memberships[:, column, draw].mean(axis=1) for column in permutation.T], axis=1)


def _scaled_distances(rows: Chosen, share: np.ndarray, pivot: Parameters) -> np.ndarray:
    """Squared distances of rows from the groups' centers, each feature in the group's own sd."""
    weight = rows.times[:, None] * share
    total = weight.sum(axis=0)[:, None]
    held = total > 0
    safe = np.where(held, total, 1.0)
    center = np.where(held, weight.T @ rows.x / safe, pivot.means)
    gap = rows.x[:, None, :] - center
    variance = np.einsum("nk,nkd->kd", weight, gap**2) / safe
    variance = np.where(held, variance, np.einsum("kii->ki", pivot.covariances))
    spread = np.maximum(variance, (NARROWEST * rows.x.std(axis=0)) ** 2)
    return (gap**2 / spread).sum(axis=2)
