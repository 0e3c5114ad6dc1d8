r"""Where starts of EM collapsed: a value that repeats, or the same few rows.

The likelihood of a mixture is unbounded wherever a component can shrink onto a hyperplane. Where
one value fills a column, such as the limit of an instrument or a code for a missing entry, the
hyperplane x_j = v holds many rows, and EM is drawn there from far away: what it then returns is
only what was left beside that pole. Near a few rows that happen to lie close together the pole is
narrow; some starts are lost there on any data, and that says nothing unless they are most of them.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.data.row_weights import in_rows
from bayes_gmm.data.streams import Stream
from bayes_gmm.posterior.deciding_rows import far

TIGHT = 0.05  # sd of a component in a column, beside the data's, from which it is about one value
MOST_ROWS = 20_000  # of more, rows that components collapse on are not looked for
MISSING, LIMIT = "code", "limit"


class Pole(NamedTuple):
    """A place at which starts collapsed."""

    # The column whose value repeats; of a row, the column in which it is far from all others, or
    # nothing
    feature: str
    value: float  # value, share: The value, and the share of the rows that hold it
    share: float
    # "code", far from all others, "limit", the end of a column of many values, or nothing
    looks_like: str
    row: str  # Label of the row, or nothing if it is a value
    position: int  # Its place from 0, -1 if it is a value
    n_starts: int  # How many starts collapsed there


def poles(collapses: Sequence[Any], observations: Observations) -> list[Pole]:
    """Find the values, and the row, that most starts collapsed on."""
    values = observations.values
    if isinstance(values, Stream):
        return []
    width = observations.n_features + 1  # so many rows span a covariance
    at_values: set[tuple[int, int, float]] = set()
    at_rows: set[tuple[int, int]] = set()
    for collapse in collapses:
        place = _repeated(collapse, observations, values)
        if place is not None:
            at_values.add((collapse.start, *place))
        elif observations.n_counted <= MOST_ROWS and _rows_of(collapse, observations) < 2 * width:
            at_rows |= {
                (collapse.start, int(row)) for row in _nearest(collapse, observations, values)
            }
    of_values = Counter((j, value) for _, j, value in at_values)
    found = [
        _at_value(observations, values[:, j], observations.feature_names[j], value, n)
        for (j, value), n in of_values.items()
    ]
    of_rows = Counter(row for _, row in at_rows)
    if of_rows:
        n_starts = max(of_rows.values())
        often = [row for row, times in of_rows.items() if times == n_starts]
        row = min(often, key=lambda row: tuple(values[row]))
        found.append(_at_row(observations, values, row, n_starts))
    return sorted(found, key=lambda pole: -pole.n_starts)


def _repeated(
    collapse: Any, observations: Observations, values: np.ndarray
) -> tuple[int, float] | None:
    """The column and the value that a component shrank onto, if enough rows hold it."""
    narrow = np.sqrt(np.diagonal(collapse.covariance)) / observations.scale
    j = int(np.argmin(narrow))
    if narrow[j] > TIGHT:
        return None
    column = values[:, j]
    value = column[np.nanargmin(np.abs(column - collapse.mean[j]))]
    held = _counted(observations, column == value)
    # Rows too few to span a covariance collapse anywhere.
    enough = _rows_of(collapse, observations) > observations.n_features + 0.5
    return (j, float(value)) if enough and held >= collapse.n_rows / 2 else None


def _nearest(collapse: Any, observations: Observations, values: np.ndarray) -> np.ndarray:
    """Positions of the few rows that a component consists of."""
    scale = observations.scale
    variances, axes = np.linalg.eigh(collapse.covariance / np.outer(scale, scale))
    spread = np.sqrt(np.maximum(variances, np.finfo(float).eps * variances[-1]))
    whitened = (values - collapse.mean) / scale @ axes / spread
    n_rows = max(1, round(_rows_of(collapse, observations)))
    distance = (whitened**2).sum(axis=1)
    if observations.weights is not None:
        distance[observations.weights == 0] = np.inf
    return np.argsort(distance, kind="stable")[:n_rows]


def _rows_of(collapse: Any, observations: Observations) -> float:
    """How many rows a component held, whatever the scale of weights that are no counts."""
    return collapse.n_rows / in_rows(observations.weights)[1]


def _at_value(
    observations: Observations, column: np.ndarray, feature: str, value: float, n_starts: int
) -> Pole:
    """Describe a value that repeats."""
    share = _counted(observations, column == value) / observations.total_weight
    looks_like = ""
    times = observations.weights
    column_of_counted = column[
        ~np.isnan(column) if times is None else (times > 0) & ~np.isnan(column)
    ]
    if value in column[far(column, in_rows(times)[0])[0]]:
        looks_like = MISSING
    elif value in (column_of_counted.min(), column_of_counted.max()):
        others = column_of_counted[column_of_counted != value]
        if len(np.unique(others)) > len(others) / 2:
            looks_like = LIMIT
    return Pole(feature, value, share, looks_like, "", -1, n_starts)


def _at_row(observations: Observations, values: np.ndarray, row: int, n_starts: int) -> Pole:
    """Describe a row, with its entry that is far from all others, if there is one."""
    weights = observations.weights
    own = 1.0 if weights is None else float(weights[row])
    label, share = str(observations.index[row]), own / observations.total_weight
    for name, column in zip(observations.feature_names, values.T, strict=True):
        if row in far(column, in_rows(weights)[0])[0]:
            return Pole(name, float(column[row]), share, "", label, row, n_starts)
    return Pole("", np.nan, share, "", label, row, n_starts)


def _counted(observations: Observations, chosen: np.ndarray) -> float:
    """How many rows these are, by their weights."""
    weights = observations.weights
    return float(chosen.sum() if weights is None else weights[chosen].sum())
