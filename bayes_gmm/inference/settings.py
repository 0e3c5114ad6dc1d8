"""What engines that run chains share: settings, seeds, starts, and what an interrupt leaves."""

from collections.abc import Sequence

import numpy as np

from bayes_gmm.errors import require_whole
from bayes_gmm.model.parameters import Parameters

SAMPLER = "nutpie"
SMALLEST_WEIGHT = 1e-6
NUDGE = 1e-4


def require_settings(
    draws: int, tune: int, chains: int, cores: int | None, seed: int | None
) -> None:
    """Check the numbers that an engine takes, so that a caller can do so before any work.

    Parameters
    ----------
    draws, tune, chains : int
    cores, seed : int or None

    Raises
    ------
    InputError
        If one is out of its range.
    """
    require_whole("draws", draws, 1)
    require_whole("tune", tune, 1)
    require_whole("chains", chains, 1)
    if cores is not None:
        require_whole("cores", cores, 1)
    if seed is not None:
        require_whole("seed", seed, 0)


def seeds_of_chains(seed: int | None, n_chains: int) -> list[int]:
    """Give each chain a seed that depends on its place alone, not on how many chains there are.

    Parameters
    ----------
    seed : int or None
    n_chains : int

    Returns
    -------
    list of int
    """
    children = np.random.SeedSequence(seed).spawn(n_chains)
    return [int(child.generate_state(1, np.uint64)[0]) for child in children]


def with_weights(start: Parameters) -> Parameters:
    """Give every component some weight, because the logarithm of zero is no number.

    Parameters
    ----------
    start : Parameters

    Returns
    -------
    theta : Parameters
    """
    weights = np.maximum(start.weights, SMALLEST_WEIGHT)
    return Parameters(weights / weights.sum(), start.means, start.covariances)


def nudged(free: np.ndarray) -> np.ndarray:
    """Move a start by too little to matter, in free coordinates.

    NUTS takes its first step sizes from the gradient, and refuses a point where an entry of it is
    exactly zero, as it can be at an optimum or where the data are symmetric.

    Parameters
    ----------
    free : ndarray (P,)

    Returns
    -------
    ndarray (P,)
    """
    return free + NUDGE * np.linspace(1, 2, free.size)


def longest_together(lengths: Sequence[int]) -> tuple[np.ndarray, int]:
    """Choose chains, and how far to cut them, so that as many draws as can be are kept.

    Chains that an interrupt met at about the same length are all cut to the shortest; a chain that
    had hardly begun while others were long is left out.

    Parameters
    ----------
    lengths : sequence of int
        Draws per chain.

    Returns
    -------
    kept : ndarray of int
        Places of the chosen chains, in order.
    length : int
    """
    order = np.argsort(lengths, kind="stable")[::-1]
    totals = np.arange(1, len(order) + 1) * np.asarray(lengths)[order]
    n_kept = len(totals) - int(np.argmax(totals[::-1]))
    return np.sort(order[:n_kept]), int(lengths[order[n_kept - 1]])
