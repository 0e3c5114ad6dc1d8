"""Which rows belong together: labels drawn from their posterior, co-clustering, one clustering.

The samplers sum the labels out. Drawing them afterwards, each from its responsibilities under the
same draw of the parameters, gives exact draws of the joint posterior of parameters and labels. A
partition is a set of sets: neither the loss nor the answer knows names of components, and the
number of clusters is part of the answer. Around it lies the credible ball, the smallest in the
distance that the loss is that holds the partition with a given probability.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from bayes_gmm.data.row_labels import stored
from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.kernels.membership import Ensemble
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.partition import LOSSES, least_loss
from bayes_gmm.posterior.predictive import co_clustering_matrix, draw_labels, tails
from bayes_gmm.results.labels import labelled
from bayes_gmm.results.predictive import MOST_DRAWS, mixtures, result_rows
from bayes_gmm.results.reading import draws_of, is_posterior, point_parameters
from bayes_gmm.seeds import Seed, as_seed


def partition(
    result: xr.DataTree | Parameters,
    X: Any = None,
    *,
    loss: str = "vi",
    rows: int | Sequence[int] | None = None,
    ci_prob: float = 0.95,
    seed: Seed = None,
    memory: float = 1.0,
) -> xr.Dataset:
    r"""Find the clustering with the smallest posterior expected loss.

    .. math:: c^* = \arg\min_c \; E[\, \mathrm{loss}(c, z) \mid \text{data} \,]

    Candidates are cuts of hierarchical clusterings of the co-clustering matrix (average and
    complete linkage) and the partitions of draws; the best of them are improved by moving single
    rows. With up to 8 rows it finds the same optimum as an exhaustive search. Row weights are
    ignored.

    Parameters
    ----------
    result : DataTree or Parameters
        A posterior result, or a point result or parameters.
    X : table, optional
        As in `predict`.
    loss : "vi" or "binder"
        The variation of information, in nats, whose expectation is minimized through a lower
        bound; or Binder's loss, the fraction of pairs of rows that are wrongly together or apart,
        which tends to give more and smaller clusters.
    rows : int or sequence of int, optional
        As in `co_clustering`. Time grows with the square of the number of rows, so with many rows
        choose a few thousand.
    ci_prob : float
        Probability of the credible ball.
    seed : int, SeedSequence or Generator, optional
        Fixes the draws of labels from which the ball, its bounds and the expected variation of
        information are computed. The partition itself is not random.
    memory : float
        Largest memory of the search in GiB; it needs 24 bytes for each pair of rows.

    Returns
    -------
    xarray.Dataset
        ``label`` (obs_id), the cluster of each row, 0, 1, ... by decreasing size, which are not the
        labels of the components. ``confidence`` (obs_id), the mean probability of being in the same
        component as the other rows of its cluster; for a row alone in its cluster, the probability
        of being in a component with no other row. ``n_clusters``; ``expected_loss``;
        ``ball_radius``, the largest loss in the credible ball. Three partitions at the edge of the
        ball: ``lower_bound`` and ``upper_bound`` (obs_id), the farthest of those with most and with
        fewest clusters, and ``horizontal_bound`` (obs_id), the farthest of all.

    Raises
    ------
    InputError
        As in `co_clustering`; if there is one row only, or no such loss.

    References
    ----------
    Wade & Ghahramani (2018), Bayesian Analysis 13, sec. 3 and 4; Binder (1978), Biometrika 65.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> theta = bg.Parameters([0.5, 0.5], [[0.0], [40.0]], [[[1.0]], [[1.0]]])

    >>> partition(theta, [[41.0], [0.0], [39.0], [40.0]], seed=1)["label"].values.tolist()
    [0, 1, 0, 0]
    """
    if loss not in LOSSES:
        raise InputError(f"loss must be 'vi' or 'binder'; got {loss!r}")
    tails(ci_prob)
    values, index = chosen_rows(result, X, rows)
    if len(values) < 2:
        raise InputError("partition needs at least two rows: give more")
    averaged = mixtures(result)
    ensemble = Ensemble.of(averaged)
    repeated = ensemble if is_posterior(result) else Ensemble.of(averaged * MOST_DRAWS)
    variables = least_loss(ensemble, repeated, values, loss, ci_prob, as_seed(seed), memory)
    dims = {name: ("obs_id",) for name, value in variables.items() if np.ndim(value)}
    return labelled(variables, index=index, dims=dims).assign_attrs(
        loss=loss, ci_prob=ci_prob, n_draws=ensemble.n_mixtures
    )


def co_clustering(
    result: xr.DataTree | Parameters,
    X: Any = None,
    *,
    rows: int | Sequence[int] | None = None,
    memory: float = 1.0,
) -> xr.DataArray:
    r"""Compute the posterior probability that two rows come from the same component.

    .. math:: P(z_i = z_j \mid \text{data}) =
        \frac1S \sum_s \sum_k r_{ik}(\theta_s) \, r_{jk}(\theta_s), \qquad i \ne j

    It is label-invariant, so it remains valid if `diagnose` finds that components are not
    identified.

    Parameters
    ----------
    result : DataTree or Parameters
        A posterior result, or a point result or parameters.
    X : table, optional
        As in `predict`.
    rows : int or sequence of int, optional
        Positions of the rows to use, from 0; a single number selects that many rows, evenly spaced.
        All by default.
    memory : float
        Largest memory of the computation in GiB; it needs 16 bytes for each pair of rows.

    Returns
    -------
    xarray.DataArray
        co_clustering (obs_id, obs_id_bis), symmetric, with ones on the diagonal.

    Raises
    ------
    InputError
        As in `predict`; if rows are out of range, or need more memory than is allowed.

    References
    ----------
    Binder (1978), Biometrika 65, sec. 3; the average without drawn labels is the Rao-Blackwell
    estimate.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> theta = bg.Parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])

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


def chosen_rows(
    result: xr.DataTree | Parameters, X: Any, rows: int | Sequence[int] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the chosen rows: values (N, D) and labels (N,)."""
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
            f"rows has {wanted[outside][0]}, the first of {outside.sum()} positions out of range: "
            f"give numbers from 0 to {n_rows - 1}"
        )
    if len(np.unique(wanted)) < len(wanted):
        raise InputError("rows has a row twice: give each row once")
    return values[wanted], index[wanted]


def sample_labels(
    result: xr.DataTree | Parameters,
    X: Any = None,
    *,
    n_draws: int | None = None,
    seed: Seed = None,
    memory: float = 1.0,
) -> xr.DataArray:
    r"""Draw the labels of rows from their posterior.

    .. math:: z_n^s \sim p(z_n \mid x_n, \theta_s) =
        \frac{\phi_{z_n}^s N(x_n; \mu_{z_n}^s, \Sigma_{z_n}^s)}
        {\sum_k \phi_k^s N(x_n; \mu_k^s, \Sigma_k^s)}

    Parameters
    ----------
    result : DataTree or Parameters
        A posterior result, whose parameter draws are used in turn; or a point result or parameters,
        used for all draws.
    X : table, optional
        As in `predict`.
    n_draws : int, optional
        Number of draws, for a posterior evenly spaced over the chains; by default 1000, or as many
        as there are.
    seed : int, SeedSequence or Generator, optional
        Fixes the draws.
    memory : float
        Largest size of the draws in GiB; they take two bytes each.

    Returns
    -------
    xarray.DataArray
        z (draw, obs_id), whole numbers 0, ..., K - 1.

    Raises
    ------
    InputError
        As in `predict`; if n_draws is not a whole number, or larger than the posterior has draws;
        or if the draws need more memory than is allowed.

    Notes
    -----
    The labels are those of the relabelled draws. Whether two rows have the same label is
    label-invariant: see `co_clustering` and `partition`.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> theta = bg.Parameters([0.5, 0.5], [[0.0], [40.0]], [[[1.0]], [[1.0]]])

    >>> sample_labels(theta, [[0.1], [39.0]], n_draws=3, seed=1).values.tolist()
    [[0, 1], [0, 1], [0, 1]]
    """
    rows, index = result_rows(result, X)
    mixtures = _mixtures(result, n_draws)
    drawn = draw_labels(Ensemble.of(mixtures), rows, as_seed(seed), memory)
    return labelled({"z": drawn}, index=index, dims={"z": ("draw", "obs_id")})["z"]


def _mixtures(result: Any, n_draws: int | None) -> list[Parameters]:
    if n_draws is not None:
        require_whole("n_draws", n_draws, 1)
    if not is_posterior(result):
        return [point_parameters(result)] * (MOST_DRAWS if n_draws is None else n_draws)
    draws = draws_of(result)
    available = draws.n_chains * draws.n_draws
    if n_draws is not None and n_draws > available:
        raise InputError(f"n_draws is {n_draws}, but the posterior has only {available} draws")
    return draws.thinned(MOST_DRAWS if n_draws is None else n_draws)
