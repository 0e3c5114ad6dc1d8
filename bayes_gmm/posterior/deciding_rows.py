r"""Rows that determine a component: far from all other rows, and most of the component.

A value of a column is far if it lies `FAR` robust standard deviations (1.4826 times the median
absolute deviation) from the median, and `GAP` times as far as every value that is not. Extremes of
heavy tails rarely leave such a gap. Far values determine component k if they contribute `SHARE` of
its variance in that column, or `MOST` of its rows:

    sum_far r_nk (x_nj - mu_kj)^2 / sum_n r_nk (x_nj - mu_kj)^2,        sum_far r_nk / sum_n r_nk.

A wrong entry is one row; a code for missing entries may be in many, but it is always the same.
"""

from typing import NamedTuple

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.data.row_weights import in_rows
from bayes_gmm.data.streams import Stream
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.model.missing import log_rho
from bayes_gmm.model.parameters import Parameters

NORMAL = 1.4826  # median absolute deviations in a standard deviation, of a normal distribution
FAR = 10.0
GAP = 3.0
FEW = 5  # distinct values in a column; more of them are a group
RARE = 20  # one row in so many at most for each of these values, and in half as many for a code
SHARE = 0.1
MOST = 0.5
MOST_ROWS = 1_000_000


class DecidingRow(NamedTuple):
    """A far value that determines a component, and the first row with this value."""

    feature: str
    value: float
    deviations: float  # Distance from the median of the column, in robust standard deviations
    row: str  # Label of the row
    position: int  # Its place, from 0
    n_rows: int  # How many rows hold the value
    component: int
    # share_of_variance, share_of_rows: What all far values of this column make up of the component
    share_of_variance: float
    share_of_rows: float


def far(values: np.ndarray, times: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Find the few values (N,) that are far from all others."""
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
    """Find rows that determine a component.

    Returns none for a stream, which would have to be read again, and for very many rows, where a
    single row has little influence.
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
