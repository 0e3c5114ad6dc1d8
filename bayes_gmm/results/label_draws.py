r"""The posterior of the labels: draws z_n ~ p(z_n | x_n, theta_s), one for each draw theta_s.

The samplers sum the labels out. Drawing them afterwards, each from its responsibilities under the
same draw of the parameters, gives exact draws of the joint posterior of parameters and labels.
"""

from typing import Any

import numpy as np
import xarray as xr

from bayes_gmm.errors import InputError, require_whole
from bayes_gmm.kernels.membership import Ensemble
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.blocks import by_blocks, require_memory
from bayes_gmm.results.draws import draws_of, is_posterior
from bayes_gmm.results.labels import labelled
from bayes_gmm.results.predictive import MOST_DRAWS, result_rows
from bayes_gmm.results.tree import point_parameters
from bayes_gmm.seeds import Seed, as_seed

LABEL = np.int16


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
        A posterior result, of which each label draw takes another draw of the parameters; or a
        point result or parameters, which all draws share.
    X : table, optional
        As in `predict`.
    n_draws : int, optional
        How many draws, evenly spaced over the chains of a posterior; 1000 by default, or as many as
        there are.
    seed : int, SeedSequence or Generator, optional
    memory : float
        How many GiB the draws may take, two bytes each.

    Returns
    -------
    xarray.DataArray
        z (draw, obs_id), of whole numbers 0..K-1.

    Raises
    ------
    InputError
        As in `predict`; if n_draws is not a whole number, or larger than the posterior has draws;
        or if the draws need more memory than is allowed.

    Notes
    -----
    Labels go by the names of the relabelled draws. Whether two rows share a label does not depend
    on names: see `co_clustering` and `partition`.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> theta = bg.Parameters([0.5, 0.5], [[0.0], [40.0]], [[[1.0]], [[1.0]]])
    >>> from bayes_gmm.results.label_draws import sample_labels
    >>> sample_labels(theta, [[0.1], [39.0]], n_draws=3, seed=1).values.tolist()
    [[0, 1], [0, 1], [0, 1]]
    """
    rows, index = result_rows(result, X)
    mixtures = _mixtures(result, n_draws)
    drawn = draw_labels(Ensemble.of(mixtures), rows, as_seed(seed), memory)
    return labelled({"z": drawn}, index=index, dims={"z": ("draw", "obs_id")})["z"]


def draw_labels(
    ensemble: Ensemble, rows: np.ndarray, seed: int | None, memory: float
) -> np.ndarray:
    """Draw one label per mixture and row.

    Parameters
    ----------
    ensemble : Ensemble
        With S mixtures.
    rows : ndarray (N, D)
    seed : int or None
    memory : float
        Allowed, in GiB.

    Returns
    -------
    ndarray of int (S, N)
    """
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


def _mixtures(result: Any, n_draws: int | None) -> list[Parameters]:
    if n_draws is not None:
        require_whole("n_draws", n_draws, 1)
    if not is_posterior(result):
        return [point_parameters(result)] * (MOST_DRAWS if n_draws is None else n_draws)
    draws = draws_of(result)
    available = draws.n_chains * draws.n_draws
    if n_draws is not None and n_draws > available:
        raise InputError(f"n_draws is {n_draws}, but the posterior has {available} draws: ask less")
    return draws.thinned(MOST_DRAWS if n_draws is None else n_draws)
