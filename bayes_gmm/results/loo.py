"""Leave-one-out cross-validation as ArviZ has it; rows are labelled, large Pareto k reported."""

import warnings
from typing import Any

import numpy as np
import xarray as xr
from arviz_stats.utils import ELPDDataLOO

from bayes_gmm.errors import InputError
from bayes_gmm.posterior.loo import leave_one_out
from bayes_gmm.results.predictive import fitted_rows
from bayes_gmm.results.reading import draws_of, require_posterior, row_weights
from bayes_gmm.results.tables import counted

FEWEST_DRAWS = 100


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

    The log-likelihood is that of the mixture, with the label of the row summed out, so it is
    label-invariant. The numbers are those of ``az.loo``, without storing the array of all rows and
    draws.

    Parameters
    ----------
    posterior : DataTree
        From `sample`.
    X : table, optional
        The rows from which the posterior was computed, if the result does not keep them.
    reff : float, optional
        Relative efficiency, effective draws per draw, which sets the length of the smoothed tail.
        By default it is computed from the parameters, as in ``az.loo``.
    memory : float
        Memory in GiB to use at a time. It affects the speed but not the numbers.

    Returns
    -------
    arviz_stats.utils.ELPDDataLOO
        elpd and its standard error se, in nats, for densities in the original units; p, the
        effective number of parameters; and for each row (obs_id) elpd_i, p_loo_i and pareto_k.
        ``az.compare`` accepts it.

    Raises
    ------
    InputError
        If `posterior` is not a posterior, X has a different number of rows, or the chains are too
        short.

    Warns
    -----
    UserWarning
        If the Pareto k of some row is so large that its estimate is unreliable.

    Notes
    -----
    With row weights one copy of a row is left out, or the whole row if its weight is below one;
    elpd_i is its log predictive density, and elpd = sum_n w_n elpd_i, as for repeated rows. Rows of
    weight 0 are excluded. ``az.loo`` and ``az.compare`` ignore row weights.

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
    n_samples = draws.n_chains * draws.n_draws
    if n_samples < FEWEST_DRAWS:
        raise InputError(
            f"posterior has {n_samples} draws, too few to smooth a tail: sample {FEWEST_DRAWS} "
            "or more"
        )
    found = leave_one_out(draws, rows, times, reff, memory)
    good = min(1 - 1 / np.log10(n_samples), 0.7)
    _warn_of_large_k(found.pareto_k, good, index)

    def of_rows(name: str, values: np.ndarray) -> xr.DataArray:
        return xr.DataArray(values, dims="obs_id", coords={"obs_id": index}, name=name)

    return ELPDDataLOO(
        elpd=found.elpd,
        se=found.se,
        p=found.p,
        n_samples=n_samples,
        n_data_points=len(rows) if times is None else round(times.sum()),
        scale="log",
        warning=bool((found.pareto_k > good).any()),
        good_k=good,
        elpd_i=of_rows("elpd_i", found.elpd_i),
        pareto_k=of_rows("pareto_k", found.pareto_k),
        p_loo_i=of_rows("p_loo_i", found.p_loo_i),
    )


def _warn_of_large_k(pareto_k: np.ndarray, good: float, index: np.ndarray) -> None:
    bad = np.flatnonzero(pareto_k > good)
    if bad.size:
        worst = bad[np.argmax(pareto_k[bad])]
        warnings.warn(
            f"Pareto k is above {good:.2f} in {counted(len(bad), 'row')} of {len(pareto_k):,} "
            f"(largest: {pareto_k[worst]:.2f} in row {index[worst]}), so that part of elpd is "
            "unreliable: leaving out such a row changes the posterior too much for importance "
            "sampling. Check these rows (see pareto_k), and refit without them if a decision "
            "depends on elpd.",
            stacklevel=3,
        )
