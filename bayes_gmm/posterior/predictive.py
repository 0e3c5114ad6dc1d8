"""What many mixtures say of rows: densities, labels, and whether two rows share a component.

Averages over S draws theta_s, in blocks of rows or of draws, so that memory stays bounded.
"""

import os
from collections.abc import Callable, Iterator

import numpy as np

from bayes_gmm.errors import InputError
from bayes_gmm.kernels.chunks import in_order
from bayes_gmm.kernels.membership import Ensemble
from bayes_gmm.model import mixture
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.draws import Draws

BLOCK_NUMBERS = 1 << 19  # doubles per array of a block: 4 MiB
GIB = 1 << 30
NUMBER = 8  # bytes
THREADS = os.cpu_count() or 1
PAIR_BYTES = 16  # the sum over draws, and what is added to it
PASS_NUMBERS = 1 << 23  # responsibilities held at a time, 64 MiB
LABEL = np.int16


def by_blocks[T](
    evaluate: Callable[[slice], T],
    n_rows: int,
    numbers_per_row: int,
    *,
    block_numbers: float | None = None,
) -> Iterator[tuple[slice, T]]:
    """Evaluate blocks of rows and give the outcomes in order.

    `evaluate`, from a slice of the rows to whatever is kept of it, runs in threads.
    """
    size = max(1, int((block_numbers or BLOCK_NUMBERS) // numbers_per_row))
    cut = [slice(start, start + size) for start in range(0, n_rows, size)]
    alone = THREADS == 1 or len(cut) == 1
    outcomes = map(evaluate, cut) if alone else in_order(evaluate, cut, THREADS, 2 * THREADS)
    yield from zip(cut, outcomes, strict=True)


def require_memory(needed: float, allowed: float, what: str, advice: str) -> None:
    """Raise if an array would be larger than the memory that the user allows."""
    if not allowed > 0:
        raise InputError(f"memory must be a positive number of GiB; got {allowed!r}")
    if needed > allowed * GIB:
        raise InputError(
            f"{what} needs {needed / GIB:.3g} GiB of memory, more than memory={allowed:g} allows: "
            f"{advice}, or pass memory={np.ceil(needed / GIB * 10) / 10:g}"
        )


def density_band(
    ensemble: Ensemble, rows: np.ndarray, probabilities: tuple[float, ...]
) -> dict[str, np.ndarray]:
    """Average the density of rows (N, D) over mixtures, with the quantiles of its logarithm."""
    names = ("log_density", "log_density_lower", "log_density_upper")

    def evaluate(place: slice) -> np.ndarray:
        of_draws = ensemble.log_density(rows[place])
        peak = of_draws.max(axis=1)
        mean = peak + np.log(np.exp(of_draws - peak[:, None]).mean(axis=1))
        if not probabilities:
            return mean[None]
        return np.stack([mean, *np.quantile(of_draws, probabilities, axis=1)])

    blocks = [outcome for _, outcome in by_blocks(evaluate, len(rows), ensemble.offset.size)]
    return dict(zip(names, np.concatenate(blocks, axis=1), strict=False))


def memberships(
    ensemble: Ensemble, rows: np.ndarray, probabilities: tuple[float, ...]
) -> list[np.ndarray]:
    """Average responsibilities of rows (N, D): (N, K), their entropy (N,), each quantile (N, K)."""

    def evaluate(place: slice) -> tuple[np.ndarray, ...]:
        shares, entropy = ensemble.membership(rows[place])
        mean = shares.mean(axis=2)
        if not probabilities:
            return mean, entropy
        return mean, entropy, *np.quantile(shares, probabilities, axis=2, overwrite_input=True)

    blocks = [outcome for _, outcome in by_blocks(evaluate, len(rows), ensemble.offset.size)]
    return [np.concatenate(parts) for parts in zip(*blocks, strict=True)]


def pointwise(draws: Draws, rows: np.ndarray) -> np.ndarray:
    """Log density of each row (N, D) under each draw, the label summed out (chain, draw, N)."""
    n_samples = draws.n_chains * draws.n_draws
    ensemble = Ensemble.of(draws.thinned(n_samples))
    result = np.empty((n_samples, len(rows)))

    def evaluate(place: slice) -> None:
        result[:, place] = ensemble.log_density(rows[place]).T

    for _ in by_blocks(evaluate, len(rows), ensemble.offset.size):
        pass
    return result.reshape(draws.n_chains, draws.n_draws, -1)


def replicates(draws: Draws, n_rows: int, rng: np.random.Generator) -> np.ndarray:
    """Draw so many rows from the mixture of each draw, (chain, draw, N, D)."""
    n_samples = draws.n_chains * draws.n_draws
    rows = np.empty((n_samples, n_rows, draws.means.shape[-1]))
    for place, theta in enumerate(draws.thinned(n_samples)):
        rows[place] = mixture.sample(theta, n_rows, rng)[0]
    return rows.reshape(draws.n_chains, draws.n_draws, *rows.shape[1:])


def log_likelihood(
    parameters: Parameters, rows: np.ndarray, times: np.ndarray | None = None
) -> float:
    """Log-likelihood of rows (N, D) seen so often (N,), a block of them at a time."""
    log_density = density_band(Ensemble.of([parameters]), rows, ())["log_density"]
    return float(log_density.sum() if times is None else times @ log_density)


def tails(ci_prob: float) -> tuple[float, float]:
    """Probabilities of the two ends of an equal-tailed interval."""
    if not 0 < ci_prob < 1:
        raise InputError(f"ci_prob must lie between 0 and 1; got {ci_prob}")
    return (1 - ci_prob) / 2, (1 + ci_prob) / 2


def co_clustering_matrix(
    ensemble: Ensemble, rows: np.ndarray, memory: float, pair_bytes: int = PAIR_BYTES
) -> np.ndarray:
    """Compute the matrix of rows (N, D): (N, N)."""
    n_rows = len(rows)
    most = int(np.sqrt(max(memory, 0.0) * GIB / pair_bytes))
    require_memory(
        pair_bytes * n_rows**2,
        memory,
        f"the co-clustering matrix of {n_rows:,} rows",
        f"choose rows, such as rows={max(most // 100 * 100, min(most, 100))}",
    )
    matrix = np.zeros((n_rows, n_rows))
    draws = max(1, PASS_NUMBERS // (n_rows * ensemble.n_components))
    for start in range(0, ensemble.n_mixtures, draws):
        some = Ensemble(*(part[..., start : start + draws].copy() for part in ensemble))
        shares = some.membership(rows)[0].reshape(n_rows, -1)
        matrix += shares @ shares.T
    matrix /= ensemble.n_mixtures
    np.minimum(matrix, 1.0, out=matrix)  # of rounding
    np.fill_diagonal(matrix, 1.0)
    return matrix


def draw_labels(
    ensemble: Ensemble, rows: np.ndarray, seed: int | None, memory: float
) -> np.ndarray:
    """Draw one label per mixture and row (N, D): (S, N)."""
    n_mixtures = ensemble.n_mixtures
    require_memory(
        np.dtype(LABEL).itemsize * n_mixtures * len(rows),
        memory,
        f"the labels of {len(rows):,} rows in {n_mixtures:,} draws",
        "take fewer draws (n_draws) or fewer rows",
    )
    source = np.random.SeedSequence(seed)
    labels = np.empty((n_mixtures, len(rows)), dtype=LABEL)

    def evaluate(place: slice) -> None:
        shares, _ = ensemble.membership(rows[place])
        # A row's uniform numbers stand at its place in one stream, however the rows are cut.
        stream = np.random.PCG64(source).advance(place.start * n_mixtures)
        level = np.random.Generator(stream).random((len(shares), n_mixtures))
        z = np.zeros(level.shape, dtype=LABEL)
        reached = np.zeros(level.shape)
        for k in range(ensemble.n_components - 1):
            reached += shares[:, k]
            z += level >= reached
        labels[:, place] = z.T

    for _ in by_blocks(evaluate, len(rows), ensemble.offset.size):
        pass
    return labels
