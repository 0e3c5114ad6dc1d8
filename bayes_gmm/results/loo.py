r"""Leave-one-out cross-validation of the mixture with the labels summed out, in bounded memory.

    elpd = sum_n log p(x_n | x_-n),       p(x_n | x_-n) estimated by importance sampling from the
                                          draws, whose weights 1 / p(x_n | theta_s) are smoothed

Rows are taken in blocks: each needs its log-likelihood under every draw, and nothing needs those of
all rows at once. The smoothing, the standard error and the result's type are ArviZ's own.
"""

import warnings
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.base import array_stats
from arviz_stats.utils import ELPDDataLOO
from scipy.special import logsumexp

from bayes_gmm.errors import InputError
from bayes_gmm.kernels.membership import Ensemble
from bayes_gmm.posterior.blocks import GIB, THREADS, by_blocks, require_memory
from bayes_gmm.posterior.draws import Draws
from bayes_gmm.results.draws import draws_of, require_posterior, row_weights
from bayes_gmm.results.predictive import fitted_rows
from bayes_gmm.results.tables import counted

COPIES = 8  # arrays of the size of a block's log-likelihood that are alive at a time
FEWEST_DRAWS = 100
ROUNDING = 1e-13
FEWEST_PER_CHAIN = 4  # of which an effective sample size can be estimated


def loo(
    posterior: xr.DataTree,
    X: Any = None,
    *,
    reff: float | None = None,
    memory: float = 0.25,
) -> ELPDDataLOO:
    r"""Estimate how well the mixture predicts a row that it has not seen (PSIS-LOO).

    .. math:: \mathrm{elpd} = \sum_n \log \sum_s w_{ns} \, p(x_n \mid \theta_s), \qquad
        w_{ns} \propto 1 / p(x_n \mid \theta_s) \text{, Pareto smoothed}

    The log-likelihood is that of the mixture, with the label of the row summed out, so neither the
    names of components nor label switching matter. The numbers are those of ``az.loo`` on the
    array of all rows and draws, which is never made.

    Parameters
    ----------
    posterior : DataTree
        From `sample`.
    X : table, optional
        The rows that the posterior was computed from, if the result does not hold them.
    reff : float, optional
        Effective draws per draw, from which the length of the smoothed tail follows. By default it
        is computed as ``az.loo`` does, from the parameters.
    memory : float
        How many GiB may be used at a time. It changes the speed and not the numbers.

    Returns
    -------
    arviz_stats.utils.ELPDDataLOO
        elpd and its standard error se, in nats relative to the user's units; p, the effective
        number of parameters; and by row (obs_id) elpd_i, p_loo_i and pareto_k. ``az.compare`` takes
        it, in place of a tree.

    Raises
    ------
    InputError
        If it is no posterior, or X holds another number of rows, or the chains are too short.

    Warns
    -----
    UserWarning
        If for some row the Pareto k is so large that its estimate cannot be relied on.

    Notes
    -----
    With row weights one copy of a row is left out, or all of a row with a weight below one; elpd_i
    is its log predictive density, and elpd = sum_n w_n elpd_i, as of repeated rows. Rows of weight
    0 are not in it. ``az.loo`` and ``az.compare`` know no weights, and count each row once.

    References
    ----------
    Vehtari, Gelman & Gabry (2017), Statistics and Computing 27; Vehtari, Simpson, Gelman, Yao &
    Gabry (2024), JMLR 25(72).

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> x = bg.datasets.load("faithful")
    >>> posterior = bg.sample(x, 2, draws=250, seed=1, progressbar=False)
    >>> bool(-1145 < bg.loo(posterior).elpd < -1138)
    True
    """
    draws = draws_of(require_posterior(posterior))
    rows, index = fitted_rows(posterior, X)
    times = row_weights(posterior)
    if times is not None:
        counted = times > 0
        rows, index, times = rows[counted], index[counted], times[counted]
    shape = draws.n_chains, draws.n_draws
    n_samples = shape[0] * shape[1]
    if n_samples < FEWEST_DRAWS:
        raise InputError(
            f"posterior has {n_samples} draws, too few to smooth a tail: sample {FEWEST_DRAWS} "
            "or more"
        )
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
    good = min(1 - 1 / np.log10(n_samples), 0.7)
    _warn_of_large_k(pareto_k, good, index)

    def of_rows(name: str, values: np.ndarray) -> xr.DataArray:
        return xr.DataArray(values, dims="obs_id", coords={"obs_id": index}, name=name)

    return ELPDDataLOO(
        elpd=float(elpd),
        se=float(se),
        p=float(p_loo),
        n_samples=n_samples,
        n_data_points=len(rows) if times is None else round(times.sum()),
        scale="log",
        warning=bool((pareto_k > good).any()),
        good_k=good,
        elpd_i=of_rows("elpd_i", elpd_i),
        pareto_k=of_rows("pareto_k", pareto_k),
        p_loo_i=of_rows("p_loo_i", p_loo_i),
    )


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
    unit = np.where(spread > ROUNDING * size, spread, np.where(size > 0, size, 1.0))
    values = (values - values.mean(axis=(0, 1))) / unit
    effective = array_stats.ess(values, chain_axis=0, draw_axis=1, method="mean")
    return float(effective.mean()) / n_samples


def _warn_of_large_k(pareto_k: np.ndarray, good: float, index: np.ndarray) -> None:
    bad = np.flatnonzero(pareto_k > good)
    if bad.size:
        worst = bad[np.argmax(pareto_k[bad])]
        warnings.warn(
            f"{counted(len(bad), 'row')} of {len(pareto_k):,} have a Pareto k above {good:.2f} "
            f"(row {index[worst]}: {pareto_k[worst]:.2f}), so that their part of elpd cannot be "
            "relied on: the posterior without such a row is another one. They are in pareto_k; "
            "look at these rows, and refit without them if elpd decides something",
            stacklevel=3,
        )
