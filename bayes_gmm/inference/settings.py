"""Common parts of the samplers: settings, seeds, starts, and chains cut short by an interrupt."""

from typing import TYPE_CHECKING, Protocol, Self

import numpy as np

from bayes_gmm.errors import require_whole
from bayes_gmm.model.parameters import Parameters

if TYPE_CHECKING:
    from bayes_gmm.data import Observations
    from bayes_gmm.inference.em.point import PointEstimate

SMALLEST_WEIGHT = 1e-6
NUDGE = 1e-4
OF_STARTS = 2**32 - 1  # in a spawn key where the number of a chain would be


def require_settings(
    draws: int, tune: int, chains: int, cores: int | None, seed: int | None, *, least_tune: int = 1
) -> None:
    """Check the numbers that an engine takes, so that a caller can do so before any work."""
    require_whole("draws", draws, 1)
    require_whole("tune", tune, least_tune)
    require_whole("chains", chains, 1)
    if cores is not None:
        require_whole("cores", cores, 1)
    if seed is not None:
        require_whole("seed", seed, 0)


def sequences_of_chains(seed: int | None, n_chains: int) -> list[np.random.SeedSequence]:
    """Give each chain randomness that depends on its place alone, not on how many there are."""
    return np.random.SeedSequence(seed).spawn(n_chains)


def sequences_of_starts(seed: int | None, n_chains: int) -> list[np.random.SeedSequence]:
    """Give the start of each chain randomness of its own, which no chain uses again."""
    return np.random.SeedSequence(seed, spawn_key=(OF_STARTS,)).spawn(n_chains)


def seeds_of_chains(seed: int | None, n_chains: int) -> list[int]:
    """Turn the randomness of each chain into a number, for a sampler that takes one."""
    sequences = sequences_of_chains(seed, n_chains)
    return [int(sequence.generate_state(1, np.uint64)[0]) for sequence in sequences]


class Located(Protocol):
    """What is somewhere in the space of the features, in their units: a prior, or parameters."""

    def rescale(self, shift: np.ndarray, scale: np.ndarray) -> Self: ...  # noqa: D102


def standardized[T: Located](located: T, view: "Observations | PointEstimate") -> T:
    """Take a prior or parameters to the coordinates (x - origin) / scale of the pass.

    The origin goes first: far from zero, the difference is exact where a ratio is not.
    """
    at_origin = located.rescale(-view.origin, np.ones_like(view.scale))
    return at_origin.rescale(np.zeros_like(view.scale), 1 / view.scale)


def with_weights(start: Parameters) -> Parameters:
    """Give every component some weight, because the logarithm of zero is no number."""
    weights = np.maximum(start.weights, SMALLEST_WEIGHT)
    return Parameters(weights / weights.sum(), start.means, start.covariances)


def nudged(free: np.ndarray) -> np.ndarray:
    """Move a start by too little to matter, in free coordinates.

    NUTS takes its first step sizes from the gradient, and refuses a point where an entry of it is
    exactly zero, as it can be at an optimum or where the data are symmetric.

    Shapes: free (P,) -> (P,).
    """
    return free + NUDGE * np.linspace(1, 2, free.size)
