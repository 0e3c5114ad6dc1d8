r"""Rows that decide a component alone: far from all others, and much of what it is made of.

A value of a column is far if it lies `FAR` robust standard deviations (1.4826 times the median
absolute deviation) from the median, and `GAP` times as far as every value that is not. Extremes of
heavy tails lie one behind the other, so that they seldom leave such a gap. Far values decide
component k if they make up `SHARE` of its variance in that column, or `MOST` of its rows:

    sum_far r_nk (x_nj - mu_kj)^2 / sum_n r_nk (x_nj - mu_kj)^2,        sum_far r_nk / sum_n r_nk.

A wrong entry is one row; a code for missing entries may be in many, but it is always the same.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from bayes_gmm.data import Observations
from bayes_gmm.data.row_weights import in_rows
from bayes_gmm.data.streams import Stream
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.model.missing import log_rho
from bayes_gmm.model.parameters import Parameters
from bayes_gmm.results.draws import keeps_rows
from bayes_gmm.results.observed import kept_observations

NORMAL = 1.4826  # median absolute deviations in a standard deviation, of a normal distribution
FAR = 10.0
GAP = 3.0
FEW = 5  # distinct values in a column; more of them are a group
RARE = 20  # one row in so many at most for each of these values, and in half as many for a code
SHARE = 0.1
MOST = 0.5
SHOWN = 3
MOST_ROWS = 1_000_000


class DecidingRow(NamedTuple):
    """A far value that decides a component, and the first row that holds it.

    Attributes
    ----------
    feature : str
    value : float
    deviations : float
        Distance from the median of the column, in robust standard deviations.
    row : str
        Label of the row.
    position : int
        Its place, from 0.
    n_rows : int
        How many rows hold the value.
    component : int
    share_of_variance, share_of_rows : float
        What all far values of this column make up of the component.
    """

    feature: str
    value: float
    deviations: float
    row: str
    position: int
    n_rows: int
    component: int
    share_of_variance: float
    share_of_rows: float


def far(values: np.ndarray, times: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Find the few values that are far from all others.

    Parameters
    ----------
    values : ndarray (N,)
    times : ndarray (N,), optional
        How often each counts, once by default; nan does not.

    Returns
    -------
    positions : ndarray of int
        Ascending.
    deviations : ndarray
        Their distances from the median, in robust standard deviations.
    """
    left_out = np.isnan(values)
    if times is not None:
        left_out |= times == 0
    if left_out.any():
        counted = np.flatnonzero(~left_out)
        positions, deviations = far(values[counted], None if times is None else times[counted])
        return counted[positions], deviations
    nothing = np.empty(0, dtype=int), np.empty(0)
    n_rows = len(values) if times is None else times.sum()
    n_most = 2 * n_rows // RARE
    distance = np.abs(values - _median(values, times))
    if not distance.max() > 0:
        return nothing
    # Rows that are not far lie within a third of the largest distance: nearly always too few do.
    if _count(distance > distance.max() / GAP, times) > n_most:
        return nothing
    # If more than half of the entries are the same, the spread is that of the others.
    away = distance > 0
    others = None if times is None else times[away]
    spread = NORMAL * (_median(distance, times) or _median(distance[away], others))
    beyond = np.flatnonzero(distance >= FAR * spread)
    if not 0 < _count(beyond, times) <= n_most:
        return nothing
    order = beyond[np.argsort(distance[beyond], kind="stable")]
    rest = distance[distance < FAR * spread].max()
    gaps = distance[order] >= GAP * np.concatenate([[rest], distance[order[:-1]]])
    for first in np.flatnonzero(gaps):
        positions = np.sort(order[first:])
        if len(np.unique(values[positions])) <= min(FEW, n_rows // RARE):
            return positions, distance[positions] / spread
    return nothing


def _median(values: np.ndarray, times: np.ndarray | None) -> float:
    """Median of values that count so often, the middle of two where there are two."""
    if times is None:
        return float(np.median(values))
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(times[order])
    middle = reached[-1] / 2
    low, high = (np.searchsorted(reached, middle, side) for side in ("left", "right"))
    return float((values[order[low]] + values[order[min(high, len(order) - 1)]]) / 2)


def _count(chosen: np.ndarray, times: np.ndarray | None) -> float:
    """Count rows, chosen by a mask or by position."""
    if times is None:
        return float(np.count_nonzero(chosen) if chosen.dtype == bool else chosen.size)
    return float(times[chosen].sum())


def deciding_rows(parameters: Parameters, observations: Observations) -> list[DecidingRow]:
    """Find rows that decide a component alone.

    Parameters
    ----------
    parameters : Parameters
        In the user's units.
    observations : Observations

    Returns
    -------
    list of DecidingRow
        By column and row. None of a stream, which would have to be read again, nor of very many
        rows, of which none alone weighs much.
    """
    if isinstance(observations.values, Stream) or observations.n_rows > MOST_ROWS:
        return []
    times, _ = in_rows(observations.weights)
    columns = [
        far(np.ascontiguousarray(observations.values[:, j]), times)
        for j in range(observations.n_features)
    ]
    if not any(positions.size for positions, _ in columns):
        return []
    origin, scale = observations.origin, observations.scale
    functions = parameters.rescale(-origin / scale, 1 / scale).log_quadratic()
    whole = expectation(observations)(functions)
    variance = np.einsum("kjj->kj", whole.second)
    found = []
    for j, (positions, deviations) in enumerate(columns):
        if not positions.size:
            continue
        rows = (np.asarray(observations.values[positions], dtype=float) - origin) / scale
        log_joint = log_rho(functions, rows)
        shares = np.exp(log_joint - np.logaddexp.reduce(log_joint, axis=1, keepdims=True))
        owner = shares.argmax(axis=1)
        if observations.weights is not None:
            shares = shares * observations.weights[positions, None]
        about = rows[:, j, None] - functions.center[:, j]
        with np.errstate(divide="ignore", invalid="ignore"):
            of_variance = np.nan_to_num((shares * about**2).sum(axis=0) / variance[:, j])
            of_rows = np.nan_to_num(shares.sum(axis=0) / whole.count)
        decided = (of_variance >= SHARE) | (of_rows >= MOST)
        values, first, place_of = np.unique(
            observations.values[positions, j], return_index=True, return_inverse=True
        )
        n_rows = np.bincount(place_of, None if times is None else times[positions])
        for place in np.argsort(first):
            k, one = int(owner[first[place]]), int(positions[first[place]])
            if decided[k]:
                found.append(
                    DecidingRow(
                        observations.feature_names[j],
                        float(values[place]),
                        float(deviations[first[place]]),
                        str(observations.index[one]),
                        one,
                        max(1, round(n_rows[place])),
                        k,
                        float(of_variance[k]),
                        float(of_rows[k]),
                    )
                )
    return found


def rows_that_decide(result: xr.DataTree, parameters: Parameters) -> list[DecidingRow]:
    """Find rows that decide a component alone among those that a result keeps.

    Parameters
    ----------
    result : DataTree
    parameters : Parameters

    Returns
    -------
    list of DecidingRow
        None if it keeps no rows.
    """
    if not keeps_rows(result):
        return []
    return deciding_rows(parameters, kept_observations(result))


def as_arrays(found: Sequence[DecidingRow]) -> dict[str, np.ndarray]:
    """Lay the rows out as variables `deciding_...` of a result, one entry for each."""
    kinds = DecidingRow.__annotations__
    return {
        f"deciding_{name}": np.array([getattr(one, name) for one in found], dtype=kinds[name])
        for name in DecidingRow._fields
    }


def of_arrays(search: xr.Dataset) -> list[DecidingRow]:
    """Read the rows back from the group `optimizer_result` of a result."""
    if not search.sizes["deciding"]:
        return []
    columns = [search[f"deciding_{name}"].to_numpy().tolist() for name in DecidingRow._fields]
    return [DecidingRow(*entries) for entries in zip(*columns, strict=True)]


def by_component(found: Sequence[DecidingRow]) -> list[list[DecidingRow]]:
    """Put rows together that decide the same component in the same column."""
    groups: dict[tuple[str, int], list[DecidingRow]] = {}
    for one in found:
        groups.setdefault((one.feature, one.component), []).append(one)
    return list(groups.values())


def stated(group: Sequence[DecidingRow]) -> tuple[str, str]:
    """Say which rows, how far they are and what they make up of the component; and what to do.

    Parameters
    ----------
    group : sequence of DecidingRow
        Of one component and one column.

    Returns
    -------
    statement, advice : str
    """
    first, several = group[0], sum(one.n_rows for one in group) > 1
    named = [_named(one) for one in group[:SHOWN]]
    if len(group) > SHOWN:
        named.append(f"{len(group) - SHOWN} more")
    who = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
    distances = [one.deviations for one in group]
    distance = f"{min(distances):,.0f}"
    if len(group) > 1:
        distance += f" to {max(distances):,.0f}"
    share, part = first.share_of_variance, f"variance in {first.feature}"
    if first.share_of_rows >= MOST:
        share, part = first.share_of_rows, "rows"
    codes = [f"{one.value:.10g}" for one in group if one.n_rows > 1]
    if codes:
        looks = "look" + "s" * (len(codes) == 1)
        advice = (
            f"{' and '.join(codes)} {looks} like a code for a missing entry: leave these rows out"
        )
    elif several:
        advice = "Check the entries, or leave the rows out"
    else:
        advice = "Check the entry, or leave the row out"
    verb = "decide" if share >= MOST else "strongly affect"
    statement = (
        f"{who[0].upper()}{who[1:]} {verb}{'s' * (not several)} component {first.component}: "
        f"{distance} robust standard deviations from the median, and {share:.0%} of its {part}."
    )
    return statement, f"{advice}."


def _named(one: DecidingRow) -> str:
    """Name a row by its label, and by its place if that is another."""
    place = "" if one.row == str(one.position) else f" at position {one.position}"
    entry = f"{one.feature} = {one.value:.10g}"
    if one.n_rows == 1:
        return f"row {one.row}{place} ({entry})"
    return f"{one.n_rows} rows with {entry} (the first is row {one.row}{place})"
