r"""Leave-one-out cross-validation of the mixture with the labels summed out, in bounded memory.

    elpd = sum_n log p(x_n | x_-n),       p(x_n | x_-n) estimated by importance sampling from the
                                          draws, whose weights 1 / p(x_n | theta_s) are smoothed

Rows are processed in blocks: each needs its log-likelihood under every draw, but not those of other
rows. The smoothing, the standard error and the type of the result are those of ArviZ.
"""

from typing import NamedTuple

import numpy as np
from arviz_stats.base import array_stats
from scipy.special import logsumexp

from bayes_gmm.kernels.membership import Ensemble
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.posterior.predictive import GIB, THREADS, by_blocks, require_memory

COPIES = 8  # arrays of the size of a block's log-likelihood that are alive at a time
CONSTANT = 1e-13  # relative spread of what does not vary
FEWEST_PER_CHAIN = 4  # of which an effective sample size can be estimated


class LeftOut(NamedTuple):
    """How each row is predicted by the others, (N,) each, and the sums over all copies of rows."""

    elpd_i: np.ndarray
    pareto_k: np.ndarray
    p_loo_i: np.ndarray
    elpd: float
    se: float
    p: float


def leave_one_out(
    draws: Draws, rows: np.ndarray, times: np.ndarray | None, reff: float | None, memory: float
) -> LeftOut:
    """Predict each row (N, D), seen so often (N,), by the draws as they would be without it.

    Pareto smoothing is told that a draw is worth `reff` independent ones, and `memory` is in GiB.
    """
    shape = draws.n_chains, draws.n_draws
    n_samples = shape[0] * shape[1]
    ensemble = Ensemble.of(draws.thinned(n_samples))
    reff = _relative_efficiency(draws, n_samples) if reff is None else reff
    require_memory(
        8.0 * COPIES * n_samples,
        memory,
        f"the log-likelihood of a single row in {n_samples:,} draws",
        "thin the posterior",
    )

    def evaluate(place: slice) -> np.ndarray:
        log_likelihood = ensemble.log_density(rows[place]).reshape(-1, *shape)
        if times is not None and times[place].min() < 1:
            return _without_parts(log_likelihood, np.minimum(times[place], 1.0), reff)
        return np.stack(array_stats.loo(log_likelihood, chain_axis=1, draw_axis=2, r_eff=reff))

    # Of a row there are the log joint densities too, of K components.
    numbers = (COPIES + ensemble.n_components) * n_samples
    blocks = by_blocks(evaluate, len(rows), numbers, block_numbers=memory * GIB / 8 / THREADS)
    elpd_i, pareto_k, p_loo_i = np.concatenate([part for _, part in blocks], axis=1)
    if times is None:
        elpd, se, p_loo, _ = array_stats.loo_summary(elpd_i, p_loo_i)
    else:
        elpd, se, p_loo = _summed(elpd_i, p_loo_i, times)
    return LeftOut(elpd_i, pareto_k, p_loo_i, float(elpd), float(se), float(p_loo))


def _without_parts(log_likelihood: np.ndarray, parts: np.ndarray, reff: float) -> np.ndarray:
    """Predict rows (n, chain, draw) of which parts (n,) of a copy were seen and are left out."""
    left_out = parts[:, None, None] * log_likelihood
    log_weights, pareto_k = array_stats.psislw(left_out, r_eff=reff, axis=[1, 2])
    elpd = logsumexp(log_weights + log_likelihood, axis=(1, 2))
    lppd = logsumexp(log_likelihood, axis=(1, 2)) - np.log(log_likelihood[0].size)
    return np.stack([elpd, pareto_k, lppd - elpd])


def _summed(
    elpd_i: np.ndarray, p_loo_i: np.ndarray, times: np.ndarray
) -> tuple[float, float, float]:
    """Sums over all copies of rows, and the standard error of the first, as ArviZ takes it."""
    total = times.sum()
    elpd = times @ elpd_i
    squares = times @ (elpd_i - elpd / total) ** 2
    se = np.sqrt(total * squares / (total - 1)) if total > 1 else 0.0
    return float(elpd), float(se), float(times @ p_loo_i)


def _relative_efficiency(draws: Draws, n_samples: int) -> float:
    """Mean effective sample size of all parameters per draw, as ``az.loo`` takes it."""
    if draws.n_chains == 1 or draws.n_draws < FEWEST_PER_CHAIN:
        return 1.0
    values = np.concatenate(
        [array.reshape(draws.n_chains, draws.n_draws, -1) for array in draws], axis=2
    )
    # ArviZ takes a small spread for none, which it may be by its unit; but that of a weight which
    # is always 1 is rounding.
    spread, size = values.std(axis=(0, 1)), np.abs(values).max(axis=(0, 1))
    unit = np.where(spread > CONSTANT * size, spread, np.where(size > 0, size, 1.0))
    values = (values - values.mean(axis=(0, 1))) / unit
    effective = array_stats.ess(values, chain_axis=0, draw_axis=1, method="mean")
    return float(effective.mean()) / n_samples
