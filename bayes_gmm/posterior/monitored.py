"""Which few rows of the data are monitored while the parameters vary: chosen once, label-free.

Five rows, from low to high density, at which the mixture density is monitored. And pairs of rows
of which it is asked whether they belong to the same component: rows about which the point estimate
is of two minds, and rows well inside a component, each with the row at the core of its component.
The choice depends on the values of the rows alone, not on their order or on names of components.
"""

from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from bayes_gmm.data import Observations
from bayes_gmm.data.streams import blocks
from bayes_gmm.model.parameters import Parameters

BLOCK_ROWS = 1 << 14
DENSITY = (0.1, 0.3, 0.5, 0.7, 0.9)  # quantiles of the density at the rows
CERTAINTY = (0.0, 0.1, 0.5)  # quantiles of the probability of the rows' most probable component


class Monitored(NamedTuple):
    """The rows."""

    points: np.ndarray  # (P,), rows at which the density is monitored, the least likely first
    pairs: np.ndarray  # (Q, 2), pairs of rows, those near a boundary between components first
    rows: np.ndarray  # The values of all these, standardized, pair after pair


def monitor(observations: Observations, pivot: Parameters) -> Monitored:
    """Choose the rows."""
    log_quadratic = pivot.log_quadratic()
    origin, scale = observations.origin, observations.scale
    density, certainty, first, second = [], [], [], []
    core, height = np.zeros(pivot.n_components, int), np.full(pivot.n_components, -np.inf)
    start, times = 0, observations.weights
    for block in blocks(observations.values, BLOCK_ROWS):
        log_joint = log_quadratic((np.asarray(block) - origin) / scale)
        total = logsumexp(log_joint, axis=1)
        ranked = np.argsort(log_joint, axis=1, kind="stable")
        counted = log_joint
        if times is not None:  # what does not count is no core
            left_out = times[start : start + len(block), None] == 0
            counted = np.where(left_out, -np.inf, log_joint)
        best = counted.argmax(axis=0)
        higher = counted.max(axis=0) > height
        core = np.where(higher, start + best, core)
        height = np.maximum(height, counted.max(axis=0))
        density.append(total)
        certainty.append(log_joint.max(axis=1) - total)
        first.append(ranked[:, -1].astype(np.int16))  # as small as can be: there may be many rows
        second.append(ranked[:, -2:][:, 0].astype(np.int16))
        start += len(block)
    points = _at_quantiles(np.concatenate(density), DENSITY, times)
    doubtful = _at_quantiles(np.concatenate(certainty), CERTAINTY, times)
    own, other = core[np.concatenate(first)[doubtful]], core[np.concatenate(second)[doubtful]]
    pairs = [
        (doubtful[0], own[0]),
        (doubtful[0], other[0]),
        *zip(doubtful[1:], own[1:], strict=True),
        (own[0], other[0]),
    ]
    distinct = [pair for pair in dict.fromkeys(pairs) if pair[0] != pair[1]]
    chosen = np.array(distinct, dtype=int).reshape(-1, 2)
    values = _rows_at(observations, np.concatenate([points, chosen.ravel()]))
    return Monitored(points, chosen, (values - origin) / scale)


def _rows_at(observations: Observations, places: np.ndarray) -> np.ndarray:
    """Read some rows, wherever they are kept."""
    found = np.empty((len(places), observations.n_features))
    start = 0
    for block in blocks(observations.values, BLOCK_ROWS):
        here = (places >= start) & (places < start + len(block))
        found[here] = block[places[here] - start]
        start += len(block)
    return found


def _at_quantiles(
    values: np.ndarray, quantiles: tuple[float, ...], times: np.ndarray | None
) -> np.ndarray:
    """Rows at these quantiles of the values, each row as often as it counts."""
    order = np.argsort(values, kind="stable")
    if times is None:
        return order[np.unique(np.rint(np.multiply(quantiles, len(order) - 1)).astype(int))]
    reached = np.cumsum(times[order])
    wanted = np.rint(np.multiply(quantiles, max(reached[-1] - 1, 0)))
    return order[np.unique(np.searchsorted(reached, wanted, side="right"))]
