r"""What a fitted mixture says about a row: which cluster, how surely, and how dense it is there.

A point result plugs its estimate in. A posterior result averages over its draws theta_s,

    P(z = k | x, data) = 1/S sum_s p(z = k | x, theta_s)
          p(x | data) = 1/S sum_s p(x | theta_s),

so that not knowing theta widens both. Draws are thinned to `MOST_DRAWS` and rows are taken in
blocks, so that memory stays bounded whatever N is.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import logsumexp, softmax

from bayes_gmm.errors import InputError
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.results.draws import Draws, feature_names, is_posterior, observed_rows
from bayes_gmm.results.labels import labelled
from bayes_gmm.results.rows import rows_like
from bayes_gmm.results.tree import point_parameters

MOST_DRAWS = 1000
BLOCK_NUMBERS = 1 << 22  # doubles held at a time: 32 MiB


def predict(
    result: xr.DataTree | Parameters, X: Any = None, *, ci_prob: float = 0.95
) -> xr.Dataset:
    """Assign rows to clusters.

    Parameters
    ----------
    result : DataTree or Parameters
        A point result, a posterior result, or parameters.
    X : table, optional
        Rows, in the user's units; the data of the result by default. A DataFrame is matched to the
        result by the names of its columns.
    ci_prob : float
        Probability of the credible intervals, equal-tailed.

    Returns
    -------
    xarray.Dataset
        ``responsibilities`` (obs_id, cluster), the probability of each cluster; ``label`` (obs_id),
        the most probable one; ``uncertainty`` (obs_id), one minus its probability. Of a posterior
        also ``responsibilities_lower`` and ``responsibilities_upper``, between which the
        responsibility lies with probability `ci_prob` as the parameters vary.

    Raises
    ------
    InputError
        If X does not fit the result, or is missing where the result holds no data.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> theta = bg.Parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> bg.predict(theta, [[0.1], [3.0]])["label"].values
    array([0, 1])
    """
    probabilities = tails(ci_prob)
    mixtures = _mixtures(result)
    values, index = _rows(result, X)
    n_components = mixtures[0].n_components
    variables = {"responsibilities": np.empty((len(values), n_components))}
    if is_posterior(result):
        variables["responsibilities_lower"] = np.empty_like(variables["responsibilities"])
        variables["responsibilities_upper"] = np.empty_like(variables["responsibilities"])
    for rows, log_joint in _blocks(values, mixtures):
        shares = softmax(log_joint, axis=2)
        variables["responsibilities"][rows] = shares.mean(axis=1)
        if is_posterior(result):
            lower, upper = np.quantile(shares, probabilities, axis=1)
            variables["responsibilities_lower"][rows] = lower
            variables["responsibilities_upper"][rows] = upper
    mean = variables["responsibilities"]
    # The sum of the others, and not 1 - max, keeps the digits of a small uncertainty.
    others = np.sort(mean, axis=1)[:, :-1].sum(axis=1)
    dims: dict[str, tuple[str, ...]] = {"label": ("obs_id",), "uncertainty": ("obs_id",)}
    dims |= dict.fromkeys(variables, ("obs_id", "cluster"))
    dataset = labelled(
        {**variables, "label": mean.argmax(axis=1), "uncertainty": others},
        index=index,
        dims=dims,
    )
    described = {"ci_prob": ci_prob} if is_posterior(result) else {}
    return dataset.assign_attrs(n_draws=len(mixtures), **described)


def log_density(result: xr.DataTree | Parameters, X: Any = None) -> xr.DataArray:
    """Log density of rows under the fitted mixture.

    Parameters
    ----------
    result : DataTree or Parameters
        A point result or parameters, whose density is plugged in, or a posterior result, whose
        density is averaged over the draws.
    X : table, optional
        As in `predict`.

    Returns
    -------
    xarray.DataArray
        (obs_id), in nats, relative to the user's units.

    Raises
    ------
    InputError
        As in `predict`.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> theta = bg.Parameters([1.0], [[0.0]], [[[1.0]]])
    >>> bg.log_density(theta, [[0.0]]).values.round(4)
    array([-0.9189])
    """
    mixtures = _mixtures(result)
    values, index = _rows(result, X)
    density = np.empty(len(values))
    for rows, log_joint in _blocks(values, mixtures):
        density[rows] = logsumexp(log_joint, axis=(1, 2)) - np.log(len(mixtures))
    dataset = labelled({"log_density": density}, index=index, dims={"log_density": ("obs_id",)})
    return dataset["log_density"].assign_attrs(n_draws=len(mixtures))


def log_likelihood(parameters: Parameters, rows: np.ndarray) -> float:
    """Log-likelihood of rows (N, D), without holding more than a block of them at a time."""
    blocks = _blocks(rows, [parameters])
    return float(sum(logsumexp(log_joint, axis=2).sum() for _, log_joint in blocks))


def _mixtures(result: Any) -> list[Parameters]:
    if is_posterior(result):
        return Draws.of(result).thinned(MOST_DRAWS)
    return [point_parameters(result)]


def _rows(result: xr.DataTree | Parameters, X: Any) -> tuple[np.ndarray, np.ndarray]:
    if isinstance(result, Parameters):
        if X is None:
            raise InputError("X is needed, because Parameters hold no data: give rows to predict")
        return rows_like(X, tuple(f"x{j}" for j in range(result.n_features)))
    if X is None:
        return observed_rows(result), result["observed_data"]["obs_id"].to_numpy()
    return rows_like(X, feature_names(result))


def _blocks(values: np.ndarray, mixtures: list[Parameters]) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield slices of the rows, with their log joint density (rows, S, K) under each mixture.

    The whitened residuals of all mixtures come from one matrix product, as L^-1 (x - a) minus
    L^-1 (mu - a). The origin a lies amid the means, so that the difference keeps its digits
    wherever the data are.
    """
    quadratics = [mixture.log_quadratic() for mixture in mixtures]
    offset, center, whitener = (np.stack(part) for part in zip(*quadratics, strict=True))
    origin = center.mean(axis=(0, 1))
    shift = np.einsum("skij,skj->ski", whitener, center - origin)
    project = whitener.reshape(-1, len(origin)).T
    size = max(1, BLOCK_NUMBERS // shift.size)
    for start in range(0, len(values), size):
        rows = slice(start, start + size)
        block = np.asarray(values[rows], dtype=np.float64) - origin
        whitened = (block @ project).reshape(-1, *shift.shape) - shift
        yield rows, offset - 0.5 * np.einsum("nskd,nskd->nsk", whitened, whitened)


def tails(ci_prob: float) -> tuple[float, float]:
    """Probabilities of the two ends of an equal-tailed interval."""
    if not 0 < ci_prob < 1:
        raise InputError(f"ci_prob must lie between 0 and 1; got {ci_prob}")
    return (1 - ci_prob) / 2, (1 + ci_prob) / 2
