r"""The best permutation of each draw, and how much worse the second best is.

    min over permutations s of sum_k cost[k, s(k)]

is an assignment problem, solved exactly in K^3 steps.
"""

import numpy as np
from scipy.optimize import linear_sum_assignment

TIE = 1e-9  # of the largest cost: what being in order already is worth


def best(costs: np.ndarray) -> np.ndarray:
    """Find the permutation of least total cost for each of S draws.

    Of permutations that cost the same, one that leaves more in place is taken, so that components
    about which a criterion says nothing stay as they were.

    Costs are indexed by draw, k, j: what it costs if component j of the draw becomes component k.
    Component k of the relabelled draw is component permutation[k] of the draw as given.

    Shapes: costs (S, K, K) -> (S, K).
    """
    n_components = costs.shape[1]
    worth = TIE * np.abs(costs).max(axis=(1, 2), initial=0.0)
    favored = costs - worth[:, None, None] * np.eye(n_components)
    found = [linear_sum_assignment(cost)[1] for cost in favored]
    return np.array(found, dtype=np.int64).reshape(-1, n_components)


def runner_up(costs: np.ndarray, permutation: np.ndarray) -> np.ndarray:
    r"""How much more the best permutation costs that renames a component, exactly.

    Another permutation differs from the best one by cycles of components that pass their labels on.
    No cycle gains anything, so the best permutation that renames component k is the best of all
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
