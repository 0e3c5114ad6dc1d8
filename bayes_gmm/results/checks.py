r"""Posterior predictive checks: a fitted mixture should make data that look like the data.

For draws theta_s, a replicate x_rep ~ p(x | theta_s) has as many rows as the data. A statistic T of
the data is then held against T of the replicates,

    p = 2 min(P(T(x_rep) <= T(x)), P(T(x_rep) >= T(x))).

Besides moments, quantiles and extremes of each feature there is ``distance``, how far the
distribution function of the standardized feature is from the mean one of the replicates (its
p-value is one-sided), and the correlation of each pair. With many statistics some p-value is small
by chance, so the verdict rests on p-values adjusted for looking at all of them. A sound model fails
it in fewer than 5 of 100 data sets: fewer, because the same data were used for the fit.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayes_gmm.data.row_weights import copies
from bayes_gmm.errors import InputError
from bayes_gmm.model import mixture
from bayes_gmm.posterior.envelope import adjusted_p_values, p_values
from bayes_gmm.posterior.marginals import Marginals, shape
from bayes_gmm.results.check_result import Check
from bayes_gmm.results.draws import draws_of, feature_names, require_posterior
from bayes_gmm.results.predictive import result_rows, result_weights
from bayes_gmm.seeds import Seed, as_seed

Statistic = Callable[[np.ndarray], np.ndarray]

MOST_ROWS = 20_000
BAND = 0.95


def _skewness(x: np.ndarray) -> np.ndarray:
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    return np.einsum("nd,nd,nd->d", z, z, z) / len(z)


def _kurtosis(x: np.ndarray) -> np.ndarray:
    squared = ((x - x.mean(axis=0)) / x.std(axis=0)) ** 2
    return np.einsum("nd,nd->d", squared, squared) / len(x)


STATISTICS: dict[str, Statistic] = {
    "mean": lambda x: x.mean(axis=0),
    "sd": lambda x: x.std(axis=0),
    "skewness": _skewness,
    "kurtosis": _kurtosis,
    "min": lambda x: x.min(axis=0),
    "q05": lambda x: np.quantile(x, 0.05, axis=0),
    "q25": lambda x: np.quantile(x, 0.25, axis=0),
    "median": lambda x: np.median(x, axis=0),
    "q75": lambda x: np.quantile(x, 0.75, axis=0),
    "q95": lambda x: np.quantile(x, 0.95, axis=0),
    "max": lambda x: x.max(axis=0),
}


def check(
    posterior: xr.DataTree,
    X: Any = None,
    *,
    statistics: Sequence[str] | Mapping[str, Statistic] | None = None,
    draws: int = 500,
    seed: Seed = None,
) -> Check:
    """Hold the data against replicates of them from the posterior predictive distribution.

    Parameters
    ----------
    posterior : DataTree
        A result of `sample`.
    X : table, optional
        The rows, which a result of very many does not keep.
    statistics : sequence of str or mapping, optional
        Which of `STATISTICS` to compute for each feature, or own ones by name: functions of rows
        (N, D) that return one number per feature. The distance of the distribution functions, the
        densities and the correlations are always looked at.
    draws : int
        How many posterior draws make a replicate each, evenly spaced over the chains.
    seed : int, SeedSequence or Generator, optional
        Makes the replicates repeatable.

    Returns
    -------
    Check
        Prints as a verdict with a table.

    Raises
    ------
    InputError
        If `posterior` is no posterior result, or a statistic is not known.

    Notes
    -----
    Rows that have weights are repeated so often, rounded where weights are no whole numbers.
    Of more than `MOST_ROWS` rows a random part is used, and the replicates have as many. Replicates
    are made one after another, and only their statistics are kept.

    References
    ----------
    Gelman, Meng & Stern (1996), Statistica Sinica 6.

    Examples
    --------
    >>> import bayes_gmm as bg
    >>> posterior = bg.sample(bg.datasets.load("faithful"), 2, seed=1, progressbar=False)
    >>> checked = bg.check(posterior, seed=1)
    """
    functions = _functions(statistics)
    if draws < 1:
        raise InputError(f"draws must be at least 1; got {draws}")
    rng = np.random.default_rng(as_seed(seed))
    features = feature_names(require_posterior(posterior))
    all_rows, _ = result_rows(posterior, X)
    all_rows = _copied(all_rows, result_weights(posterior, X, len(all_rows)))
    rows = _part(all_rows, rng)
    still = np.ptp(rows, axis=0) == 0
    if still.any():
        raise InputError(
            f"X has a column {features[np.argmax(still)]!r} that does not vary, and check compares "
            "how columns vary: it takes two rows, and columns that are not constant"
        )
    marginals = Marginals.of(rows)

    def summarize(x: np.ndarray) -> Summary:
        per_feature = [_one_per_feature(name, of, x) for name, of in functions.items()]
        columns = np.array(per_feature).reshape(len(functions), x.shape[1])
        return Summary(columns.T, _correlations(x), marginals.counts(x), shape(x))

    observed = summarize(rows)
    mixtures = draws_of(posterior).thinned(draws)
    made = [summarize(mixture.sample(theta, len(rows), rng)[0]) for theta in mixtures]
    replicated = Summary(*(np.stack(part) for part in zip(*made, strict=True)))
    tree = _labelled(replicated, observed, (*functions, "distance"), features, marginals)
    tree.attrs = {
        "n_replicates": len(mixtures),
        "n_rows_used": len(rows),
        "n_observations": len(all_rows),
        "band": BAND,
    }
    return Check(tree)


class Summary(NamedTuple):
    """What is kept of a data set; replicates have a leading axis.

    Attributes
    ----------
    per_feature : ndarray (D, T)
    correlations : ndarray (P,)
        Lower triangle.
    counts : ndarray (D, B)
        Of `Marginals`.
    shapes : ndarray (D, B)
        Distribution functions, standardized.
    """

    per_feature: np.ndarray
    correlations: np.ndarray
    counts: np.ndarray
    shapes: np.ndarray


def _functions(statistics: Any) -> dict[str, Statistic]:
    if statistics is None:
        return STATISTICS
    if isinstance(statistics, Mapping):
        return dict(statistics)
    names = [statistics] if isinstance(statistics, str) else list(statistics)
    for name in names:
        if name not in STATISTICS:
            raise InputError(
                f"statistics has no {name!r}: choose from {', '.join(STATISTICS)}, or give a dict "
                "of functions"
            )
    return {name: STATISTICS[name] for name in names}


def _copied(rows: np.ndarray, weights: np.ndarray | None) -> np.ndarray:
    """Write each row as often as it was seen, as replicates would have it."""
    if weights is None:
        return rows
    times = copies(weights)
    if times.sum() < 2:
        raise InputError(
            f"row_weights sum to {weights.sum():g}, which is the number of observations: check "
            "compares how columns vary, and takes two at least"
        )
    return np.repeat(rows, times, axis=0)


def _part(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if len(rows) > MOST_ROWS:
        rows = rows[np.sort(rng.choice(len(rows), MOST_ROWS, replace=False, shuffle=False))]
    return np.asarray(rows, dtype=np.float64)


def _one_per_feature(name: str, function: Statistic, x: np.ndarray) -> np.ndarray:
    value = np.asarray(function(x), dtype=np.float64)
    if value.shape != x.shape[1:]:
        raise InputError(
            f"statistic {name!r} must return one number per feature, shape {x.shape[1:]}; got "
            f"shape {value.shape}"
        )
    return value


def _correlations(x: np.ndarray) -> np.ndarray:
    matrix = np.atleast_2d(np.corrcoef(x, rowvar=False))
    return matrix[np.tril_indices(len(matrix), -1)]


def _labelled(
    replicated: Summary,
    observed: Summary,
    statistics: tuple[str, ...],
    features: tuple[str, ...],
    marginals: Marginals,
) -> xr.DataTree:
    """Judge all statistics together, and label them."""
    distances = _distances(replicated.shapes, observed.shapes)
    per_feature = [
        np.concatenate([part, distance[..., None]], axis=-1)
        for part, distance in zip(
            (replicated.per_feature, observed.per_feature), distances, strict=True
        )
    ]
    shape = per_feature[1].shape
    everything = [
        np.concatenate([part.reshape(*part.shape[:-2], -1), correlations], axis=-1)
        for part, correlations in zip(
            per_feature, (replicated.correlations, observed.correlations), strict=True
        )
    ]
    one_sided = np.zeros(everything[1].size, dtype=bool)
    one_sided[: per_feature[1].size] = np.tile(np.array(statistics) == "distance", len(features))
    p = p_values(everything[0], everything[1], one_sided)
    adjusted = adjusted_p_values(everything[0], everything[1], one_sided)
    n = per_feature[1].size
    rows, columns = np.tril_indices(len(features), -1)
    pairs = [f"{features[i]}, {features[j]}" for i, j in zip(rows, columns, strict=True)]
    groups = {
        "statistics": _compared(
            (*per_feature, p[:n].reshape(shape), adjusted[:n].reshape(shape)),
            {"feature": list(features), "statistic": list(statistics)},
        ),
        "density": _densities(replicated.counts, observed.counts, features, marginals),
    }
    if pairs:
        groups["correlations"] = _compared(
            (replicated.correlations, observed.correlations, p[n:], adjusted[n:]), {"pair": pairs}
        )
    return xr.DataTree.from_dict(groups)


def _compared(arrays: tuple[np.ndarray, ...], coordinates: dict[str, list[str]]) -> xr.Dataset:
    replicated, observed, p, adjusted = arrays
    lower, upper = np.quantile(replicated, _ends(), axis=0)
    dims = tuple(coordinates)
    return xr.Dataset(
        {
            "replicated": (("draw", *dims), replicated),
            "observed": (dims, observed),
            "mean": (dims, replicated.mean(axis=0)),
            "sd": (dims, replicated.std(axis=0)),
            "lower": (dims, lower),
            "upper": (dims, upper),
            "p_value": (dims, p),
            "adjusted_p_value": (dims, adjusted),
        },
        coords={**coordinates, "draw": np.arange(len(replicated))},
    )


def _distances(replicated: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest difference from the mean distribution function: of replicates and of the data."""
    # The data count as one more replicate, so that no distance is favored.
    mean = (replicated.sum(axis=0) + observed) / (len(replicated) + 1)
    return np.abs(replicated - mean).max(axis=-1), np.abs(observed - mean).max(axis=-1)


def _densities(
    replicated: np.ndarray, observed: np.ndarray, features: tuple[str, ...], marginals: Marginals
) -> xr.Dataset:
    curves = marginals.density(replicated)
    lower, upper = np.quantile(curves, _ends(), axis=0)
    dims = ("feature", "point")
    return xr.Dataset(
        {
            "x": (dims, marginals.centers),
            "observed": (dims, marginals.density(observed)),
            "mean": (dims, curves.mean(axis=0)),
            "lower": (dims, lower),
            "upper": (dims, upper),
        },
        coords={"feature": list(features), "point": np.arange(marginals.centers.shape[1])},
    )


def _ends() -> tuple[float, float]:
    return (1 - BAND) / 2, (1 + BAND) / 2
