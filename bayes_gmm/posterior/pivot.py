r"""Relabelling to a pivot: matching the components of a draw to those of the point estimate.

The likelihood is label-invariant, so the labels of a draw are arbitrary. Each draw is relabelled so
that its joint distribution of row and label is closest to that of the pivot, the point estimate p*:

    min over permutations s of KL( p*(x, z) || p(x, s(z)) )

This is Stephens's (2000) criterion with the pivot itself in the place of the data. Written out, it
is a sum over components of phi*_k (log phi*_k / phi_s(k) + KL(N*_k || N_s(k))): an assignment
problem. It has no units, a component counts by its weight, and a component of the draw that is
narrow, or far away, is judged by how badly it would explain what the pivot's component produces.

The pivot itself must be in the mode of most draws. It is chosen by the same divergence: of the
optima found by EM, the one that is closest to the draws.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.draws import Draws

BLOCK_NUMBERS = 1 << 20  # memory for the draws compared at a time
LOOKED_AT = 200  # draws by which a pivot is chosen
TIE = 1e-9  # of the largest cost: by which the given order is preferred


class Match(NamedTuple):
    """The relabelling of draws to a pivot."""

    # (chain, draw, K), component k of the relabelled draw is component permutation[k] of the draw
    # as it came
    permutation: np.ndarray
    # (chain, draw), divergence of the relabelled draw from the pivot, in nats per row
    distance: np.ndarray
    # (chain, draw, K), how much further from the pivot the draw is by the best permutation that
    # gives a component another name, in nats per row. The least of them is the gap to the second
    # best permutation.
    gaps: np.ndarray


def typical(draws: Draws, optima: Sequence[Parameters]) -> Parameters:
    """Choose a pivot: the optimum that is closest to the draws, or a draw if none is close.

    It is the last draw of a chain if half of the draws are less than half as far from it as from
    any optimum: in one mode a draw is about twice as far from the others as the peak is, so that
    the draws are then in a mode of which no optimum is known. So it is where no optimum is given.
    """
    flat = Draws(*(array.reshape(1, -1, *array.shape[2:]) for array in draws))
    step = -(-flat.n_draws // LOOKED_AT)
    some = Draws(*(array[:, ::step] for array in flat))
    own = [
        Parameters.trusted(*(array[chain, -1] for array in draws)) for chain in range(len(draws[0]))
    ]
    near, own_near = (
        [float(np.median(match(*some, point).distance)) for point in points]
        for points in (optima, own)
    )
    drawn = int(np.argmin(own_near))
    if not near:
        return own[drawn]
    best = int(np.argmin(near))
    return own[drawn] if own_near[drawn] < near[best] / 2 else optima[best]


def match(
    weights: np.ndarray, means: np.ndarray, covariances: np.ndarray, pivot: Parameters
) -> Match:
    """Find the permutation of every draw that brings it closest to the pivot.

    Shapes: weights (chain, draw, K), means (chain, draw, K, D), covariances (chain, draw, K, D, D).

    Stephens (2000), J. R. Statist. Soc. B 62, sec. 4; for pivots, Marin, Mengersen & Robert (2005),
    Handbook of Statistics 25, sec. 3.
    """
    n_components, n_features = means.shape[-2:]
    # The divergence has no units, but an inverse keeps its digits only where features share theirs.
    units = np.sqrt(np.einsum("kii->ki", pivot.covariances).max(axis=0))
    pivot = pivot.rescale(np.zeros(n_features), 1 / units)
    phi, mu, sigma = (
        array.reshape(-1, *array.shape[2:])
        for array in (weights, means / units, covariances / np.outer(units, units))
    )
    block = max(1, BLOCK_NUMBERS // (n_components * n_features * max(n_components, n_features)))
    permutation = np.empty(phi.shape, dtype=np.int64)
    distance, gaps = np.empty(len(phi)), np.empty(phi.shape)
    for start in range(0, len(phi), block):
        some = slice(start, start + block)
        costs = divergence(phi[some], mu[some], sigma[some], pivot)
        permutation[some] = best(costs)
        chosen = np.take_along_axis(costs, permutation[some][..., None], axis=2)
        distance[some] = chosen.sum(axis=(1, 2))
        gaps[some] = runner_up(costs, permutation[some])
    return Match(
        permutation.reshape(weights.shape),
        distance.reshape(weights.shape[:2]),
        gaps.reshape(weights.shape),
    )


def divergence(
    weights: np.ndarray, means: np.ndarray, covariances: np.ndarray, pivot: Parameters
) -> np.ndarray:
    r"""Contribution to the divergence if component k of the pivot is component j of a draw.

    .. math:: \phi^*_k \left[ \log\frac{\phi^*_k}{\phi_j} + \log\frac{|L_j|}{|L^*_k|}
        + \tfrac12 \mathrm{tr}(\Sigma_j^{-1} \Sigma^*_k)
        + \tfrac12 \lVert L_j^{-1} (\mu^*_k - \mu_j) \rVert^2 - \tfrac{D}{2} \right]

    Indexed by draw, component of the pivot, component of the draw.

    Shapes: weights (S, K), means (S, K, D), covariances (S, K, D, D) -> (S, K, K).
    """
    factors = np.linalg.cholesky(covariances)
    precisions = np.linalg.inv(covariances)
    half_log_det = np.log(np.einsum("sjii->sji", factors)).sum(axis=-1)
    pivot_half_log_det = np.log(np.einsum("kii->ki", pivot.choleskys)).sum(axis=-1)
    # A weight may have underflowed to zero.
    log_weights, pivot_log_weights = (
        np.log(np.maximum(phi, np.finfo(float).tiny)) for phi in (weights, pivot.weights)
    )
    log_odds = pivot_log_weights[:, None] - log_weights[:, None, :]
    trace = np.einsum("sjab,kab->skj", precisions, pivot.covariances, optimize=True)
    gap = pivot.means[None, :, None, :] - means[:, None, :, :]
    distance = np.einsum("skja,sjab,skjb->skj", gap, precisions, gap, optimize=True)
    spread = half_log_det[:, None, :] - pivot_half_log_det[:, None]
    n_features = means.shape[-1]
    return pivot.weights[:, None] * (log_odds + spread + 0.5 * (trace + distance - n_features))


def best(costs: np.ndarray) -> np.ndarray:
    """Find the permutation of least total cost for each of S draws.

    Of permutations that cost the same, one that leaves more in place is taken, so that components
    about which a criterion says nothing stay as they were.

    Costs are indexed by draw, k, j: what it costs if component j of the draw becomes component k.
    Component k of the relabelled draw is component permutation[k] of the draw as given.

    Shapes: costs (S, K, K) -> (S, K).
    """
    n_components = costs.shape[1]
    preference = TIE * np.abs(costs).max(axis=(1, 2), initial=0.0)
    favored = costs - preference[:, None, None] * np.eye(n_components)
    found = [linear_sum_assignment(cost)[1] for cost in favored]
    return np.array(found, dtype=np.int64).reshape(-1, n_components)


def runner_up(costs: np.ndarray, permutation: np.ndarray) -> np.ndarray:
    r"""How much more the best permutation costs that relabels a component, exactly.

    Another permutation differs from the best one by cycles of components that pass their labels on.
    No cycle gains anything, so the best permutation that relabels component k is the best of all
    with the single cheapest cycle through k, and the second best of all is the least of these:

    .. math:: w_{kj} = c_{k, s(j)} - c_{k, s(k)}, \qquad
        \mathrm{gap}_k = \min_{j \ne k} \{ w_{kj} + \mathrm{path}(j \to k) \}

    with shortest paths by Floyd and Warshall's recursion, for all draws at once.

    Shapes: costs (S, K, K), permutation (S, K) -> (S, K).

    Ahuja, Magnanti & Orlin (1993), Network Flows, secs. 5.6 and 12.4.
    """
    n_components = costs.shape[1]
    edges = np.take_along_axis(costs, permutation[:, None, :], axis=2)
    own = np.arange(n_components)
    edges = edges - edges[:, own, own][:, :, None]
    path = edges.copy()
    for via in own:
        np.minimum(path, path[:, :, [via]] + path[:, [via], :], out=path)
    cycles = edges + path.swapaxes(1, 2)
    cycles[:, own, own] = np.inf
    return np.maximum(cycles.min(axis=2), 0.0)
