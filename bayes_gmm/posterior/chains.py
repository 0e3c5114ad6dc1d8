"""The behaviour of single chains: stuck, stationary or not, and in which mode.

R-hat says that chains disagree, but not why. Chains that are stationary and yet differ by many
Monte Carlo errors are in different modes, and longer chains will not help. Chains that are not
stationary are too short. A chain that does not move is stuck.
"""

from collections.abc import Sequence

import numpy as np

from bayes_gmm.posterior.convergence import convergence

REPEATED = 0.5  # share of draws equal to the one before from which a chain counts as stuck
STILL = 0.01  # spread, relative to the other chains', below which a chain counts as stuck
SETTLED = 25  # effective draws of a chain alone, of which a drift or a jump leaves few
SEPARATED = 6  # Monte Carlo standard errors between the means of two chains


def stuck(values: np.ndarray) -> list[int]:
    """Find chains that hardly move; values (chain, draw, Q)."""
    if not values.shape[2]:
        return []
    repeated = (np.diff(values, axis=1) == 0).all(axis=2).mean(axis=1) >= REPEATED
    spread = values.std(axis=1)
    typical = np.median(spread, axis=0)
    moving = typical > 0
    relative = np.median(spread[:, moving] / typical[moving], axis=1) if moving.any() else 1.0
    return [int(chain) for chain in np.flatnonzero(repeated | (relative < STILL))]


def settled(sizes: np.ndarray) -> np.ndarray:
    """Whether each chain looks stationary (chain,), by its sizes (chain, Q)."""
    defined = np.isfinite(sizes)
    return defined.any(axis=1) & ((sizes >= SETTLED) | ~defined).all(axis=1)


def modes(values: np.ndarray) -> list[list[int]]:
    """Group stationary chains by their mode.

    Two chains share a mode if their means agree within `SEPARATED` Monte Carlo errors on every
    quantity, directly or through other chains.

    Shapes: values (chain, draw, Q).
    """
    sizes = np.stack([convergence(chain[None], ["ess_bulk"]).ess_bulk for chain in values])
    means, errors = values.mean(axis=1), values.std(axis=1) / np.sqrt(sizes)
    groups: list[list[int]] = []
    for chain in np.flatnonzero(settled(sizes)).tolist():
        near = [group for group in groups if any(_agree(means, errors, chain, c) for c in group)]
        groups = [group for group in groups if group not in near]
        groups.append(sorted([chain, *(other for group in near for other in group)]))
    return sorted(groups)


def _agree(means: np.ndarray, errors: np.ndarray, one: int, other: int) -> bool:
    distance = np.abs(means[one] - means[other])
    error = np.hypot(errors[one], errors[other])
    return bool((distance <= SEPARATED * error)[np.isfinite(error)].all())


def switches(permutation: np.ndarray) -> tuple[np.ndarray, bool]:
    """Measure label switching within chains (chain,), and say whether chains differ."""
    common = np.stack([usual_order(chain) for chain in permutation])
    within = (permutation != common[:, None]).any(axis=2).mean(axis=1)
    return within, bool((common != common[0]).any())


def usual_order(orders: np.ndarray) -> np.ndarray:
    """The most frequent of orders (n, K) -> (K,)."""
    distinct, counts = np.unique(orders, axis=0, return_counts=True)
    return distinct[counts.argmax()]


def other_labels(permutation: np.ndarray) -> np.ndarray:
    """Share of each chain's draws whose labels were not those of the point estimate, (chain,)."""
    return (permutation != np.arange(permutation.shape[2])).any(axis=2).mean(axis=1)


def longest_together(lengths: Sequence[int]) -> tuple[np.ndarray, int]:
    """Choose chains, and how far to cut them, so that as many draws as can be are kept.

    Chains that an interrupt met at about the same length are all cut to the shortest; a chain that
    had hardly begun while others were long is left out.

    `kept`: Places of the chosen chains, in order.
    """
    order = np.argsort(lengths, kind="stable")[::-1]
    totals = np.arange(1, len(order) + 1) * np.asarray(lengths)[order]
    n_kept = len(totals) - int(np.argmax(totals[::-1]))
    return np.sort(order[:n_kept]), int(lengths[order[n_kept - 1]])
