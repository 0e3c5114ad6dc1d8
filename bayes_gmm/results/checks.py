r"""Posterior predictive checks: replicated data should look like the data.

For draws theta_s, a replicate x_rep ~ p(x | theta_s) has as many rows as the data. A statistic T of
the data is compared with T of the replicates,

    p = 2 min(P(T(x_rep) <= T(x)), P(T(x_rep) >= T(x))).

Besides moments, quantiles and extremes of each feature there is ``distance``, how far the
distribution function of the standardized feature is from the mean one of the replicates (its
p-value is one-sided), and the correlation of each pair. With many statistics some p-value is small
by chance, so the verdict rests on p-values adjusted for looking at all of them. A sound model fails
it in fewer than 5 of 100 data sets: fewer, because the same data were used for the fit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayes_gmm.data.row_weights import copies
from bayes_gmm.errors import InputError
from bayes_gmm.model import mixture
from bayes_gmm.posterior.checks import (
    STATISTICS,
    Compared,
    Marginals,
    Statistic,
    Summary,
    correlations,
    judge,
    shape,
)
from bayes_gmm.results.predictive import result_rows, result_weights
from bayes_gmm.results.reading import complete_rows, draws_of, feature_names, require_posterior
from bayes_gmm.results.tables import Printed, counted, ends, number, some
from bayes_gmm.seeds import Seed, as_seed

MOST_ROWS = 20_000
BAND = 0.95
LEVEL = 0.05


@dataclass(frozen=True, eq=False, repr=False)
class Check(Printed):
    """Posterior predictive checks.

    Attributes
    ----------
    tree : DataTree
        ``/statistics`` by (feature, statistic) and ``/correlations`` by pair, for more than one
        feature, hold ``replicated`` (draw, ...), ``observed``, the mean, sd and central band
        (lower, upper) of the replicates, ``p_value`` and ``adjusted_p_value``. ``/density`` holds
        curves by (feature, point): ``x``, ``observed``, ``mean``, ``lower``, ``upper``.
    """

    tree: xr.DataTree

    @property
    def table(self) -> pd.DataFrame:
        """One row per statistic; numbers, not rounded."""
        names = ["observed", "mean", "sd", "lower", "upper", "p_value", "adjusted_p_value"]
        parts = []
        for group in ("statistics", "correlations"):
            if group in self.tree.children:
                frame = self.tree[group].to_dataset()[names].to_dataframe()[names]
                frame.index = pd.Index([_name(label) for label in frame.index])
                parts.append(frame)
        return pd.concat(parts).rename_axis("statistic")

    @property
    def p_value(self) -> float:
        """Joint p-value: the fraction of replicates that deviate as much as the data."""
        return float(self.table["adjusted_p_value"].min())

    @property
    def surprising(self) -> list[str]:
        """Statistics of the data that the model does not reproduce, the worst first."""
        adjusted = self.table["adjusted_p_value"].sort_values(kind="stable")
        return [str(name) for name in adjusted.index[adjusted < LEVEL]]

    @property
    def ok(self) -> bool:
        """Whether no statistic is surprising."""
        return not self.surprising

    @property
    def verdict(self) -> str:
        """One sentence."""
        table, n_replicates = self.table, self.tree.attrs["n_replicates"]
        if 1 / (n_replicates + 1) >= LEVEL:
            return f"No verdict: {n_replicates} replicates are too few to call anything surprising."
        if self.ok:
            return (
                f"The model makes data like these: none of {len(table)} statistics is surprising "
                f"(joint p = {self.p_value:.2g}, threshold {LEVEL:g})."
            )
        first, *others = self.surprising
        worst = table.loc[first]
        observed, lower, upper = (
            number(worst[name], worst["sd"]) for name in ("observed", "lower", "upper")
        )
        named = some(others, "marked in the table")
        more = f"; also surprising: {named}" if others else ""
        return (
            f"The model does not make data like these (joint p = {self.p_value:.2g}, threshold "
            f"{LEVEL:g}): {first} is {observed}, but {self.tree.attrs['band']:.0%} of replicates "
            f"have {lower} to {upper}{more}."
        )

    def _parts(self, *, html: bool) -> list[Any]:
        return [self.verdict, self.written(), self._note()]

    def written(self) -> pd.DataFrame:
        """Round the table to what the spread of the replicates supports."""
        table = self.table
        lower, upper = ends(self.tree.attrs["band"])
        titles = {
            "observed": "observed",
            "mean": "replicates",
            "sd": "sd",
            "lower": lower,
            "upper": upper,
        }
        written = pd.DataFrame(index=table.index)
        for name, title in titles.items():
            written[title] = [
                number(value, sd) for value, sd in zip(table[name], table["sd"], strict=True)
            ]
        written["p"] = [f"{p:.3f}" for p in table["p_value"]]
        written["joint p"] = [
            f"{p:.3f}{'*' if p < LEVEL else ' '}" for p in table["adjusted_p_value"]
        ]
        return written

    def _note(self) -> str:
        attrs = self.tree.attrs
        part = ""
        if attrs["n_rows_used"] < attrs["n_observations"]:
            part = f", a random part of {attrs['n_observations']}"
        made = (
            f"{counted(attrs['n_replicates'], 'replicate')} of "
            f"{counted(attrs['n_rows_used'], 'row')}{part}."
        )
        return (
            f"{made} p is two-sided, for a distance one-sided; joint p is adjusted for the number "
            f"of statistics (* below {LEVEL:g}). Means and sds are fitted by the mixture, so they "
            "are rarely surprising."
        )


def check(
    posterior: xr.DataTree,
    X: Any = None,
    *,
    statistics: Sequence[str] | Mapping[str, Statistic] | None = None,
    draws: int = 500,
    seed: Seed = None,
) -> Check:
    """Compare the data with replicates from the posterior predictive distribution.

    Parameters
    ----------
    posterior : DataTree
        A result of `sample`.
    X : table, optional
        The rows, if the result does not keep them.
    statistics : sequence of str or mapping, optional
        Which of `STATISTICS` to compute for each feature, or a mapping from names to functions of
        rows (N, D) that return one number per feature. The distance of the distribution functions,
        the densities and the correlations are always computed.
    draws : int
        Number of replicates, one per posterior draw, evenly spaced over the chains.
    seed : int, SeedSequence or Generator, optional
        Fixes the replicates.

    Returns
    -------
    Check
        Prints as a verdict with a table.

    Raises
    ------
    InputError
        If `posterior` is not a posterior result, or there is no such statistic.

    Notes
    -----
    Rows with row weights are repeated as often, after rounding weights to whole numbers. Of more
    than `MOST_ROWS` rows a random subset is used, and the replicates have as many rows. Replicates
    are simulated one after another, and only their statistics are kept.

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
    all_rows = complete_rows(all_rows, "check")
    all_rows = _copied(all_rows, result_weights(posterior, X, len(all_rows)))
    rows = _part(all_rows, rng)
    still = np.ptp(rows, axis=0) == 0
    if still.any():
        raise InputError(
            f"X has a column {features[np.argmax(still)]!r} that does not vary: check compares the "
            "variation of columns, and needs at least two rows and no constant column"
        )
    marginals = Marginals.of(rows)

    def summarize(x: np.ndarray) -> Summary:
        per_feature = [_one_per_feature(name, of, x) for name, of in functions.items()]
        columns = np.array(per_feature).reshape(len(functions), x.shape[1])
        return Summary(columns.T, correlations(x), marginals.counts(x), shape(x))

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
            "needs at least two"
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


def _labelled(
    replicated: Summary,
    observed: Summary,
    statistics: tuple[str, ...],
    features: tuple[str, ...],
    marginals: Marginals,
) -> xr.DataTree:
    """Label statistics of replicates and of the data, judged all together."""
    per_feature, between = judge(replicated, observed)
    rows, columns = np.tril_indices(len(features), -1)
    pairs = [f"{features[i]}, {features[j]}" for i, j in zip(rows, columns, strict=True)]
    groups = {
        "statistics": _compared(
            per_feature, {"feature": list(features), "statistic": list(statistics)}
        ),
        "density": _densities(replicated.counts, observed.counts, features, marginals),
    }
    if pairs:
        groups["correlations"] = _compared(between, {"pair": pairs})
    return xr.DataTree.from_dict(groups)


def _compared(of: Compared, coordinates: dict[str, list[str]]) -> xr.Dataset:
    lower, upper = np.quantile(of.replicated, _ends(), axis=0)
    dims = tuple(coordinates)
    return xr.Dataset(
        {
            "replicated": (("draw", *dims), of.replicated),
            "observed": (dims, of.observed),
            "mean": (dims, of.replicated.mean(axis=0)),
            "sd": (dims, of.replicated.std(axis=0)),
            "lower": (dims, lower),
            "upper": (dims, upper),
            "p_value": (dims, of.p_value),
            "adjusted_p_value": (dims, of.adjusted_p_value),
        },
        coords={**coordinates, "draw": np.arange(len(of.replicated))},
    )


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


def _name(label: str | tuple[str, str]) -> str:
    if isinstance(label, str):
        return f"correlation[{label}]"
    feature, statistic = label
    return f"{statistic}[{feature}]"
