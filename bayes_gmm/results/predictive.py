r"""What a fitted mixture says about a row: which cluster, how surely, and how dense it is there.

A point result plugs its estimate in. A posterior result averages over its draws theta_s,

    P(z = k | x, data) = 1/S sum_s p(z = k | x, theta_s)
          p(x | data) = 1/S sum_s p(x | theta_s),

so that not knowing theta widens both. How unsure the label is splits in two,

    H[z | x, data] = E_theta H[z | x, theta]  +  I[z, theta | x, data],

what would be left if theta were known, because clusters overlap there, and what more data would
take away. Draws are thinned to `MOST_DRAWS` and rows are taken in blocks, so that memory stays
bounded whatever N is.
"""

from pathlib import Path
from typing import Any, overload

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import entr

from bayes_gmm.data.new_rows import row_blocks, rows_like
from bayes_gmm.data.row_labels import restored
from bayes_gmm.data.scan import MAR
from bayes_gmm.data.wording import free_name
from bayes_gmm.data.writing import write_table
from bayes_gmm.errors import InputError
from bayes_gmm.kernels.membership import Ensemble
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.posterior.predictive import density_band, memberships, tails
from bayes_gmm.results.given import known_number
from bayes_gmm.results.labels import labelled
from bayes_gmm.results.reading import (
    draws_of,
    feature_names,
    is_posterior,
    keeps_rows,
    observed_rows,
    point_parameters,
    row_weights,
)

MOST_DRAWS = 1000


DIGITS = 6


@overload
def predict(
    result: xr.DataTree | Parameters, X: Any = None, *, ci_prob: float = 0.95, out: None = None
) -> xr.Dataset: ...


@overload
def predict(
    result: xr.DataTree | Parameters, X: Any = None, *, ci_prob: float = 0.95, out: str | Path
) -> Path: ...


def predict(
    result: xr.DataTree | Parameters,
    X: Any = None,
    *,
    ci_prob: float = 0.95,
    out: str | Path | None = None,
) -> xr.Dataset | Path:
    r"""Compute the membership probabilities of rows, and assign each to a cluster.

    .. math:: P(z = k \mid x, \text{data}) = \frac1S \sum_s
        \frac{\phi_k^s N(x; \mu_k^s, \Sigma_k^s)}{\sum_j \phi_j^s N(x; \mu_j^s, \Sigma_j^s)}

    Parameters
    ----------
    result : DataTree or Parameters
        A point result, a posterior result, or parameters.
    X : table, optional
        Rows in the original units, in any form that `fit` takes; by default the data of the result.
        A table with column names is matched to the result by these names.
    ci_prob : float
        Probability of the credible intervals, equal-tailed.
    out : str or Path, optional
        A CSV or Parquet file to write instead, block by block, so that X may be a file or a stream
        of any length. Its columns are those of X, then cluster, probability, for a posterior lower
        and upper, and entropy.

    Returns
    -------
    xarray.Dataset, or Path if `out` is given
        ``responsibilities`` (obs_id, cluster), the probability of each cluster; ``label`` (obs_id),
        the most probable cluster; ``uncertainty`` (obs_id), one minus its probability; ``entropy``
        (obs_id) of the label, in nats, between 0 (certain) and log K.

        For a posterior also ``responsibilities_lower`` and ``responsibilities_upper``, the ends of
        the credible intervals, and the two parts of the entropy: ``expected_entropy`` (obs_id),
        which would remain if the parameters were known, and ``mutual_information`` (obs_id), which
        is due to the uncertainty of the parameters.

    Raises
    ------
    InputError
        If X does not match the result, or is missing and the result has no data.

    Notes
    -----
    For a posterior, probabilities are averages over the relabelled draws. If `diagnose` finds that
    components are not identified, they average over different components with the same label, and
    the mutual information includes the uncertainty of labels. ``expected_entropy``,
    `co_clustering` and `log_density` are label-invariant.

    References
    ----------
    Houlsby, Huszár, Ghahramani & Lengyel (2011), arXiv:1112.5745, eq. 2, for the two parts.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> theta = bg.Parameters([0.5, 0.5], [[0.0], [4.0]], [[[1.0]], [[1.0]]])
    >>> bg.predict(theta, [[0.1], [3.0]])["label"].values
    array([0, 1])
    """
    interval = tails(ci_prob)
    result = known_number(result)
    probabilities = interval if is_posterior(result) else ()
    ensemble = Ensemble.of(mixtures(result))
    described = {"ci_prob": ci_prob} if probabilities else {}
    if out is None:
        rows, index = result_rows(result, X)
        return _predicted(ensemble, rows, index, probabilities).assign_attrs(described)
    if isinstance(X, str | Path) and Path(X).exists() and Path(X).resolve() == Path(out).resolve():
        raise InputError(f"out is {str(out)!r}, the file from which X is read: give another name")
    features = _features(result)
    blocks = (
        iter([(None, *result_rows(result, None))])
        if X is None
        else row_blocks(X, features, whole=False, missing=models_missing(result))
    )
    return write_table(
        out,
        (
            with_clusters(
                pd.DataFrame(values, columns=list(features), index=index)
                if frame is None
                else frame,
                _predicted(ensemble, values, index, probabilities),
            )
            for frame, values, index in blocks
        ),
    )


def _predicted(
    ensemble: Ensemble, rows: np.ndarray, index: pd.Index, probabilities: tuple[float, ...]
) -> xr.Dataset:
    """What `predict` says of rows (N, D); the quantiles are those of a posterior, or none."""
    mean, expected, *interval = memberships(ensemble, rows, probabilities)
    variables = {
        "responsibilities": mean,
        "label": mean.argmax(axis=1),
        # The sum of the others, and not 1 - max, keeps the digits of a small uncertainty.
        "uncertainty": np.sort(mean, axis=1)[:, :-1].sum(axis=1),
        "entropy": expected,
    }
    if probabilities:
        information = np.maximum(entr(mean).sum(axis=1) - expected, 0.0)
        variables |= {
            "responsibilities_lower": interval[0],
            "responsibilities_upper": interval[1],
            "entropy": expected + information,
            "expected_entropy": expected,
            "mutual_information": information,
        }
    dims: dict[str, tuple[str, ...]] = {
        name: ("obs_id", "cluster")[: value.ndim] for name, value in variables.items()
    }
    return labelled(variables, index=index, dims=dims).assign_attrs(n_draws=ensemble.n_mixtures)


def log_density(
    result: xr.DataTree | Parameters, X: Any = None, *, ci_prob: float | None = None
) -> xr.DataArray | xr.Dataset:
    r"""Compute the log density of rows under the fitted mixture.

    .. math:: \log p(x \mid \text{data}) = \log \frac1S \sum_s \sum_k
        \phi_k^s N(x; \mu_k^s, \Sigma_k^s)

    Parameters
    ----------
    result : DataTree or Parameters
        A point result or parameters, or a posterior result, whose density is averaged over the
        draws.
    X : table, optional
        As in `predict`.
    ci_prob : float, optional
        For a posterior: also return the equal-tailed credible interval of the log density with this
        probability.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        (obs_id), in nats, for densities in the original units. With `ci_prob` a Dataset of
        ``log_density``, ``log_density_lower`` and ``log_density_upper``.

    Raises
    ------
    InputError
        As in `predict`, and if `ci_prob` is given for a point result.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> theta = bg.Parameters([1.0], [[0.0]], [[[1.0]]])
    >>> bg.log_density(theta, [[0.0]]).values.round(4)
    array([-0.9189])
    """
    probabilities = () if ci_prob is None else tails(ci_prob)
    if probabilities and not is_posterior(result):
        raise InputError("ci_prob needs a result of bg.sample: for a point estimate, omit ci_prob")
    ensemble = Ensemble.of(mixtures(result))
    rows, index = result_rows(result, X)
    variables = density_band(ensemble, rows, probabilities)
    dataset = labelled(variables, index=index, dims=dict.fromkeys(variables, ("obs_id",)))
    if ci_prob is None:
        return dataset["log_density"].assign_attrs(n_draws=ensemble.n_mixtures)
    return dataset.assign_attrs(n_draws=ensemble.n_mixtures, ci_prob=ci_prob)


def mixtures(result: Any) -> list[Parameters]:
    """List the draws that a posterior result is averaged over, or a point alone."""
    if is_posterior(result):
        return draws_of(result).thinned(MOST_DRAWS)
    return [point_parameters(result)]


def result_rows(result: xr.DataTree | Parameters, X: Any) -> tuple[np.ndarray, pd.Index]:
    """Read the rows to say something about, X or those of the result: (N, D), labels (N,)."""
    if X is not None:
        return rows_like(X, _features(result), missing=models_missing(result))
    if isinstance(result, Parameters):
        raise InputError("X is needed, because Parameters hold no data: give rows to predict")
    if not keeps_rows(result):
        raise InputError("X is needed, because the result keeps no copy of its rows")
    return observed_rows(result), restored(result["observed_data"].dataset)


def result_weights(result: xr.DataTree | Parameters, X: Any, n_rows: int) -> np.ndarray | None:
    """Read how often each of the rows that `result_rows` gave was seen, if they are the result's.

    X stands for them where the result keeps no rows, and has as many; else its rows are new ones.
    """
    if isinstance(result, Parameters) or (X is not None and keeps_rows(result)):
        return None
    weights = row_weights(result)
    return weights if weights is not None and len(weights) == n_rows else None


def models_missing(result: xr.DataTree | Parameters) -> bool:
    """Whether the result is of rows in which entries may be missing at random."""
    return isinstance(result, xr.DataTree) and result.attrs.get("missing") == MAR


def _features(result: xr.DataTree | Parameters) -> tuple[str, ...]:
    """Names of the columns; of Parameters, which have none, x0, x1, ..."""
    if isinstance(result, Parameters):
        return tuple(f"x{j}" for j in range(result.n_features))
    return feature_names(result)


def fitted_rows(posterior: xr.DataTree, X: Any) -> tuple[np.ndarray, pd.Index]:
    """Read the rows that a posterior was computed from: (N, D), labels (N,)."""
    rows, index = result_rows(posterior, X)
    fitted = posterior.attrs.get("n_observations", len(rows))
    if len(rows) != fitted:
        raise InputError(
            f"X has {len(rows):,} rows, but the posterior was computed from {fitted:,}: give the "
            "same rows"
        )
    return rows, index


def with_clusters(table: pd.DataFrame, predicted: xr.Dataset) -> pd.DataFrame:
    """Put the cluster of each row beside it.

    Columns cluster, its probability, of a posterior the ends of its credible interval, and the
    entropy of the label in nats. A column of the table that has such a name keeps it.
    """
    label = predicted["label"]
    shares = {
        name: predicted[variable]
        for name, variable in (
            ("probability", "responsibilities"),
            ("lower", "responsibilities_lower"),
            ("upper", "responsibilities_upper"),
        )
        if variable in predicted
    }
    values = {
        "cluster": label.to_numpy(),
        **{name: _of_the_label(share, label).round(DIGITS) for name, share in shares.items()},
        "entropy": predicted["entropy"].to_numpy().round(DIGITS),
    }
    made = table.set_axis(list(map(str, table.columns)), axis=1)
    for name, column in values.items():
        made[free_name(name, made.columns)] = column
    return made


def _of_the_label(shares: xr.DataArray, label: xr.DataArray) -> np.ndarray:
    """Take the share of each row's own cluster."""
    rows = np.arange(label.size)
    return shares.transpose("obs_id", "cluster").to_numpy()[rows, label.to_numpy()]
