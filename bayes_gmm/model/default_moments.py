r"""The mean and covariance of the data on which a default prior is based.

A few outliers must not widen the prior of every component. So entries more than `WIDTH` robust
standard deviations from the median of their column are moved to that distance:

    y = median + clip(x - median, -WIDTH s, WIDTH s)

with s the distance from the median that all but 5% of the rows stay within, over that of a standard
normal. A heavy tail or a group of its own reaches less far, and most data are left as they are.

A prior must be proper where the data leave a direction without spread. With N rows of D features
the correlations are shrunk, all by the same factor,

    S* = (1 - lambda) S + lambda diag(S),      lambda = max(0, 1 - (N - 1) / (2 D)),

so that nothing is changed from 2 D + 1 rows on, unless columns determine each other exactly.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import ndtri

from bayes_gmm.data import Observations
from bayes_gmm.data.streams import blocks
from bayes_gmm.data.wording import listing
from bayes_gmm.model.quantiles import quantile

WIDTH = 12.0  # robust standard deviations from the median
FAR = 0.05  # share of the rows that the robust standard deviation looks past
BLOCK_NUMBERS = 1 << 18
DETERMINED = 1e-12  # variance left of a feature given the others, beside its own
NEGLIGIBLE = 1e-3  # a coefficient of a standardized feature that is rounding
LITTLE = 0.01  # how much is shrunk where columns determine each other


class DefaultMoments(NamedTuple):
    """What a default prior knows of the data, in the user's units."""

    mean: np.ndarray  # (D,)
    covariance: np.ndarray  # (D, D), divided by N - 1, shrunk, positive definite
    # (D,), entries of each column that count as if they lay closer to the median
    n_winsorized: np.ndarray
    shrunk: float  # lambda
    dependent: list[int]  # features that determine each other exactly, of enough rows

    @classmethod
    def of(cls, observations: Observations) -> "DefaultMoments":
        """Compute them in a few passes over the rows."""
        if not observations.is_complete:
            return cls._of_observed_entries(observations)
        center, unit = robust_location_and_scale(observations)
        n_features = observations.n_features
        total = 0.0
        first, second = np.zeros(n_features), np.zeros((n_features, n_features))
        n_far = np.zeros(n_features, dtype=np.int64)
        for rows, weights in weighted_blocks(observations)():
            standard = (rows - center) / unit
            near = np.clip(standard, -WIDTH, WIDTH)
            n_far += np.count_nonzero(standard != near, axis=0)
            total += weights.sum()
            first += weights @ near
            second += (near * weights[:, None]).T @ near
        mean = first / total
        # The unbiased divisor; weights that add up to less than two rows count as two.
        covariance = (second - total * np.outer(mean, mean)) / max(total - 1, total / 2)
        spare = np.clip((total - 1) / (2 * n_features), 0.0, 1.0)
        shrunk = float(1 - spare) if n_features > 1 else 0.0
        determined = dependent(covariance) if shrunk < LITTLE else []
        if determined:
            shrunk = LITTLE
        covariance += shrunk * (np.diag(np.diagonal(covariance)) - covariance)
        return cls(
            center + unit * mean, covariance * np.outer(unit, unit), n_far, shrunk, determined
        )

    @classmethod
    def _of_observed_entries(cls, observations: Observations) -> "DefaultMoments":
        """Compute them of each column's entries, and each pair's, that are not missing.

        The correlations of pairs that different rows tell may not be those of any distribution;
        then they are shrunk until they are.
        """
        values, n_features = np.asarray(observations.values), observations.n_features
        times = np.ones(len(values)) if observations.weights is None else observations.weights
        present = ~np.isnan(values) & (times > 0)[:, None]
        columns = [_entries(observations, j, present[:, j]) for j in range(n_features)]
        center, unit = np.ravel([robust_location_and_scale(c) for c in columns]).reshape(-1, 2).T
        standard = (values - center) / unit
        near = np.clip(standard, -WIDTH, WIDTH)
        counted = times[:, None] * present
        mean = np.where(present, counted * near, 0.0).sum(axis=0) / counted.sum(axis=0)
        gap = np.where(present, near - mean, 0.0)
        together = counted.T @ present
        covariance = gap.T @ (times[:, None] * gap) / np.maximum(together - 1, together / 2).clip(1)
        sd = np.sqrt(np.diagonal(covariance))
        lowest = np.linalg.eigvalsh(covariance / np.outer(sd, sd))[0]
        spare = np.clip((together.min() - 1) / (2 * n_features), 0.0, 1.0)
        shrunk = float(max(1 - spare, (LITTLE - lowest) / (1 - lowest))) if n_features > 1 else 0.0
        if shrunk > 0:
            covariance += shrunk * (np.diag(sd**2) - covariance)
        return cls(
            center + unit * mean,
            covariance * np.outer(unit, unit),
            (present & (standard != near)).sum(axis=0),
            max(shrunk, 0.0),
            [],
        )

    def note(self, observations: Observations) -> str:
        """Say how they differ from the plain moments of the data; nothing if they don't."""
        said = []
        moved = {
            name: n
            for name, n in zip(observations.feature_names, self.n_winsorized.tolist(), strict=True)
            if n
        }
        if moved:
            n_moved = sum(moved.values())
            said.append(
                f"{n_moved} {'entry' if n_moved == 1 else 'entries'} of {listing(moved)} more than "
                f"{WIDTH:g} robust standard deviations from the median "
                f"{'was' if n_moved == 1 else 'were'} moved to that distance."
            )
        if self.shrunk:
            why = (
                f"{observations.total_weight:g} rows are few for {observations.n_features} features"
            )
            if not observations.is_complete:
                why = "entries are missing"
            if self.dependent:
                names = listing(observations.feature_names[j] for j in self.dependent)
                why = f"columns are linearly dependent ({names})"
            said.append(
                f"The scale is shrunk by {self.shrunk:.0%} towards its diagonal, because {why}."
            )
        return " ".join(said)


def _entries(observations: Observations, j: int, present: np.ndarray) -> Observations:
    """One column's observed entries, by themselves."""
    weights = observations.weights
    return replace(
        observations,
        values=np.asarray(observations.values)[present, j : j + 1],
        weights=None if weights is None else weights[present],
        feature_names=observations.feature_names[j : j + 1],
        origin=observations.origin[j : j + 1],
        scale=observations.scale[j : j + 1],
        row_labels=None,
        is_complete=True,
    )


def robust_location_and_scale(observations: Observations) -> tuple[np.ndarray, np.ndarray]:
    """Median of each column, and a standard deviation that a few wild entries do not change.

    Where more than half of the entries are equal, those that differ speak for the spread: the
    quantile of the distances is at least the median of those that are not zero.

    Returns median, sd (D,).
    """
    read = weighted_blocks(observations)
    center = quantile(read, np.full(observations.n_features, 0.5))
    away = np.zeros(observations.n_features)
    total = 0.0
    for rows, weights in read():
        away += weights @ (rows != center)
        total += weights.sum()
    away /= total

    def distances() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for rows, weights in read():
            yield np.abs(rows - center), weights

    distance = quantile(distances, np.maximum(1 - FAR, 1 - away / 2))
    among_others = np.maximum(1 - FAR / away, 0.5)
    return center, distance / ndtri((1 + among_others) / 2)


def dependent(covariance: np.ndarray) -> list[int]:
    """Find a feature that those before it determine, and those of them that it depends on.

    covariance (D, D).
    """
    sd = np.sqrt(np.diagonal(covariance))
    covariance = covariance / np.outer(sd, sd)
    factor = np.zeros_like(covariance)
    for j in range(len(covariance)):
        # Row j of the Cholesky factor; the coefficients of feature j on those before are
        # row L^-1, and what they leave is its conditional variance.
        before = factor[:j, :j]
        row = solve_triangular(before, covariance[:j, j], lower=True) if j else np.empty(0)
        left = 1 - row @ row
        if left < DETERMINED:
            coefficients = solve_triangular(before, row, lower=True, trans=1)
            return [*np.flatnonzero(np.abs(coefficients) > NEGLIGIBLE).tolist(), j]
        factor[j, :j], factor[j, j] = row, np.sqrt(left)
    return []


def weighted_blocks(
    observations: Observations,
) -> Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]:
    """Return a function that reads the rows that count, block by block, with their weights."""

    def read() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        size = max(1, BLOCK_NUMBERS // observations.n_features)
        start = 0
        for block in blocks(observations.values, size):
            rows, weights = np.asarray(block, dtype=np.float64), np.ones(len(block))
            if observations.weights is not None:
                weights = observations.weights[start : start + len(block)]
                rows, weights = rows[weights > 0], weights[weights > 0]
            start += len(block)
            if len(rows):
                yield rows, weights

    return read
