r"""What a draw says whatever its components are called: quantities that convergence is judged by.

A chain whose labels switch looks as if it had not converged, and one whose labels never switch may
only look converged. Label-invariant quantities avoid both: the log-likelihood, the log posterior,
sum_k phi_k^2, the mean and covariance of the whole mixture, its density at a few rows, the number
of nonempty components, and whether two rows are in the same component.

The monitored observations are chosen once: five rows, from low to high density, at which the
mixture density is monitored, and pairs of rows whose co-clustering is monitored: rows that the
point estimate cannot allocate with certainty, and rows well inside a component, each with the row
at the center of its component. The choice depends on the values of the rows only, not on their
order or on labels.
"""

from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from bayes_gmm.data import Observations
from bayes_gmm.data.streams import blocks
from bayes_gmm.kernels.chunks import expectation
from bayes_gmm.model.missing import as_expected
from bayes_gmm.model.mixture import mixture_moments
from bayes_gmm.model.normal import cholesky
from bayes_gmm.model.parameters import LogQuadratic, Parameters
from bayes_gmm.posterior.draws import Draws

OCCUPIED = 0.5  # rows that a component holds at least
BLOCK_ROWS = 1 << 14
DENSITY = (0.1, 0.3, 0.5, 0.7, 0.9)  # quantiles of the density at the rows
CERTAINTY = (0.0, 0.1, 0.5)  # quantiles of the probability of the rows' most probable component


class Monitored(NamedTuple):
    """The rows."""

    points: np.ndarray  # (P,), rows at which the density is monitored, the least likely first
    pairs: np.ndarray  # (Q, 2), pairs of rows, those near a boundary between components first
    rows: np.ndarray  # The values of all these, standardized, pair after pair


class Invariants(NamedTuple):
    """Label-invariant quantities of every draw, in the user's units."""

    # (chain, draw, ...): log_likelihood; log_posterior, the log joint density of data and
    # parameters, where the prior has one; sum_squared_weights; mixture_mean (D);
    # mixture_covariance_logdet; log_density_at (P) the monitored rows; occupied_components, those
    # that hold half a row or more, expected or sampled; co_clustering (Q), the probability sum_k
    # p(z_n = k | x) p(z_m = k | x) that the two rows of a monitored pair belong to the same
    # component
    quantities: dict[str, np.ndarray]
    monitored: Monitored

    @property
    def values(self) -> np.ndarray:
        """All of them beside one another, (chain, draw, all)."""
        arrays = self.quantities.values()
        return np.concatenate([array.reshape(*array.shape[:2], -1) for array in arrays], axis=2)


def invariants(
    draws: Draws,
    observations: Observations,
    prior: Any,
    pivot: Parameters,
    *,
    log_likelihood: np.ndarray | None = None,
    component_counts: np.ndarray | None = None,
    log_prior: np.ndarray | None = None,
) -> Invariants:
    """Compute the label-invariant quantities of draws, named as the sampler had them.

    A prior needs `log_densities` of parameters in the user's units, or there is no log posterior.
    The pivot says which rows are monitored. What a sampler knows of each draw, in the user's units
    (chain, draw) and (chain, draw, K), spares a pass over the rows per draw.
    """
    origin, scale = observations.origin, observations.scale
    shape = draws.weights.shape[:2]
    # In standardized coordinates every digit counts; a density per unit of x is smaller by the
    # product of the scales.
    log_unit = np.log(scale).sum()
    standard = Draws(
        draws.weights, (draws.means - origin) / scale, draws.covariances / np.outer(scale, scale)
    )
    functions = standard.log_quadratic()
    if log_likelihood is None or component_counts is None:
        log_likelihood, component_counts = _passes(functions, observations, shape)
        log_likelihood = log_likelihood - observations.log_volume
    if log_prior is None and hasattr(prior, "log_densities"):
        factors = cholesky(draws.covariances, "covariances")
        log_prior = prior.log_densities(draws.weights, draws.means, factors)

    monitored = monitor(as_expected(observations, pivot), pivot.rescale(-origin / scale, 1 / scale))
    log_density, together = _at_rows(functions, monitored)
    mean, covariance = mixture_moments(*standard)
    found = {"log_likelihood": log_likelihood}
    if log_prior is not None:
        found["log_posterior"] = log_likelihood + log_prior
    found |= {
        "sum_squared_weights": (draws.weights**2).sum(axis=-1),
        "mixture_mean": origin + scale * mean,
        "mixture_covariance_logdet": np.linalg.slogdet(covariance)[1] + 2 * log_unit,
        "log_density_at": log_density.reshape(*shape, -1) - log_unit,
        "occupied_components": (component_counts >= OCCUPIED).sum(axis=-1),
        "co_clustering": together.reshape(*shape, -1),
    }
    return Invariants(found, monitored)


def _passes(
    functions: LogQuadratic, observations: Observations, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Log-likelihood of standardized rows and expected counts, by a pass over the rows per draw."""
    expect = expectation(observations)
    found = [expect(LogQuadratic(*one)) for one in zip(*functions, strict=True)]
    log_likelihood = np.array([statistics.log_normalizer for statistics in found])
    counts = np.stack([statistics.count for statistics in found])
    return log_likelihood.reshape(shape), counts.reshape(*shape, -1)


def _at_rows(functions: LogQuadratic, monitored: Monitored) -> tuple[np.ndarray, np.ndarray]:
    """Log densities at the points (S, P), and the co-clustering of the pairs (S, Q)."""
    n_points = len(monitored.points)
    gap = monitored.rows[:, None, None, :] - functions.center
    whitened = np.matmul(functions.whitener, gap[..., None])[..., 0]
    log_joint = functions.offset - 0.5 * (whitened**2).sum(axis=-1)
    log_density = logsumexp(log_joint, axis=-1)
    shares = np.exp(log_joint - log_density[..., None])[n_points:]
    first, second = shares[0::2], shares[1::2]
    return log_density[:n_points].T, (first * second).sum(axis=-1).T


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
