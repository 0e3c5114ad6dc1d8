r"""How often two rows share a cluster: a question about the mixture that no renaming changes.

Given the parameters labels are independent, so that averaging over draws needs no label to be
drawn,

    P(z_i = z_j | data) = 1/S sum_s sum_k r_ik(theta_s) r_jk(theta_s),        i != j,

which is a product of the matrix of all responsibilities with itself.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from bayes_gmm.data.row_labels import stored
from bayes_gmm.errors import InputError
from bayes_gmm.kernels.membership import Ensemble
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.blocks import GIB, require_memory
from bayes_gmm.results.predictive import mixtures, result_rows

PAIR_BYTES = 16  # the sum over draws, and what is added to it
PASS_NUMBERS = 1 << 23  # responsibilities held at a time, 64 MiB


def co_clustering(
    result: xr.DataTree | Parameters,
    X: Any = None,
    *,
    rows: int | Sequence[int] | None = None,
    memory: float = 1.0,
) -> xr.DataArray:
    r"""Posterior probability that two rows come from the same component.

    .. math:: P(z_i = z_j \mid \text{data}) =
        \frac1S \sum_s \sum_k r_{ik}(\theta_s) \, r_{jk}(\theta_s), \qquad i \ne j

    It does not depend on how components are named, so it stays meaningful where `diagnose` finds
    that they are not identified.

    Parameters
    ----------
    result : DataTree or Parameters
        A posterior result; or a point result or parameters, whose estimate is plugged in.
    X : table, optional
        As in `predict`.
    rows : int or sequence of int, optional
        Which rows, by position from 0; a single number takes so many, evenly spaced. All by
        default.
    memory : float
        How many GiB the matrix may take while it is computed, 16 bytes for each pair of rows.

    Returns
    -------
    xarray.DataArray
        co_clustering (obs_id, obs_id_bis), symmetric, with ones on the diagonal.

    Raises
    ------
    InputError
        As in `predict`; if rows are not there, or need more memory than is allowed.

    References
    ----------
    Binder (1978), Biometrika 65, sec. 3; the average without drawn labels is the Rao-Blackwell
    estimate.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> theta = bg.Parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> from bayes_gmm.results.coclustering import co_clustering
    >>> co_clustering(theta, [[0.0], [0.5], [4.0]]).values.round(2).tolist()
    [[1.0, 1.0, 0.0], [1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    chosen, index = chosen_rows(result, X, rows)
    matrix = co_clustering_matrix(Ensemble.of(mixtures(result)), chosen, memory)
    return xr.DataArray(
        matrix,
        dims=("obs_id", "obs_id_bis"),
        coords=dict.fromkeys(("obs_id", "obs_id_bis"), stored(index)["obs_id"].to_numpy()),
        name="co_clustering",
    )


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


def chosen_rows(
    result: xr.DataTree | Parameters, X: Any, rows: int | Sequence[int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Read the rows that were asked for: values (N, D) and labels (N,)."""
    values, index = result_rows(result, X)
    if rows is None:
        return values, index
    n_rows = len(values)
    wanted = np.asarray(rows)
    if wanted.dtype.kind not in "iu" or wanted.ndim > 1 or not wanted.size:
        raise InputError("rows must be a whole number, or a list of positions of rows from 0")
    if wanted.ndim == 0:
        if wanted < 1:
            raise InputError(f"rows must be at least 1; got {rows}")
        wanted = np.unique(np.linspace(0, n_rows - 1, min(int(wanted), n_rows)).round().astype(int))
    outside = (wanted < 0) | (wanted >= n_rows)
    if outside.any():
        raise InputError(
            f"rows has {wanted[outside][0]}, the first of {outside.sum()} positions that are not "
            f"there: give numbers from 0 to {n_rows - 1}"
        )
    if len(np.unique(wanted)) < len(wanted):
        raise InputError("rows names a row twice: give each row once")
    return values[wanted], index[wanted]
