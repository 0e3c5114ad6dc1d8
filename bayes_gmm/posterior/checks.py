r"""Deviation of the data from their replicates, by single statistics and jointly.

A statistic's deviation is measured in its own spread among the replicates, separately above and
below their median since few statistics are symmetric:

    d = (T - median) / (q84 - median) above,   (median - T) / (median - q16) below.

The largest d over all statistics has a distribution among the replicates, for any number of
statistics and any dependence between them. P-values are adjusted by this distribution, so that the
smallest one is the joint p-value of the data (the directional quantile envelope test of Myllymaki
et al., 2017, J. R. Statist. Soc. B 79).

The distribution of each feature is evaluated on a fine grid, the same for data and replicates.
Counts in its bins, smoothed by a Gaussian, are a kernel density estimate; data and replicates are
smoothed alike, so that the smoothing causes no difference.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d

UPPER, LOWER = 0.8413, 0.1587  # one standard deviation to each side of a normal distribution
N_BINS = 512
MARGIN = 0.25  # how far the grid goes beyond the data, relative to their range
STEPS = np.linspace(-6, 6, 481)  # standard deviations from the mean
NARROWER = 0.5  # of Silverman's width, which takes the mixture for a single normal
Statistic = Callable[[np.ndarray], np.ndarray]


def p_values(replicated: np.ndarray, observed: np.ndarray, upper_only: np.ndarray) -> np.ndarray:
    """Posterior predictive p-values, one statistic at a time.

    At least 1 / (S + 1): the data count as one more replicate. Statistics that are `upper_only`
    surprise only when they are large; for the others p is two-sided.

    Shapes: replicated (S, M), observed (M,), upper_only (M,) -> (M,).
    """
    n = len(replicated) + 1
    above = (1 + (replicated >= observed).sum(axis=0)) / n
    below = (1 + (replicated <= observed).sum(axis=0)) / n
    return np.where(upper_only, above, np.minimum(1, 2 * np.minimum(above, below)))


def adjusted_p_values(
    replicated: np.ndarray, observed: np.ndarray, upper_only: np.ndarray
) -> np.ndarray:
    """P-values that hold for all statistics jointly, (M,)."""
    # The data count as one more replicate, so that the test is exact where they are one.
    together = deviations(np.vstack([replicated, observed]), upper_only)
    largest = together.max(axis=1)
    return (largest[:, None] >= together[-1]).sum(axis=0) / len(together)


def deviations(values: np.ndarray, upper_only: np.ndarray) -> np.ndarray:
    """Distance of every row from the median of all rows, in units of their spread on that side.

    Infinite where nearly all rows agree on one value and this one differs.

    Shapes: values (R, M), upper_only (M,) -> (R, M).
    """
    lower, middle, upper = np.quantile(values, (LOWER, 0.5, UPPER), axis=0)
    difference = values - middle
    spread = np.where(difference > 0, upper - middle, middle - lower)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.where(difference == 0, 0.0, np.abs(difference) / spread)
    return np.where(upper_only & (difference < 0), 0.0, distance)


@dataclass(frozen=True, eq=False)
class Marginals:
    """A grid for each feature."""

    start: np.ndarray  # start, width: (D,), where the first bin begins, and how wide the bins are
    width: np.ndarray
    bandwidth: np.ndarray  # (D,), standard deviation of the kernel

    @classmethod
    def of(cls, x: np.ndarray) -> "Marginals":
        """Fit the grid to data (N, D)."""
        low, high = x.min(axis=0), x.max(axis=0)
        first, third = np.quantile(x, (0.25, 0.75), axis=0)
        sd = x.std(axis=0)
        middle_half = (third - first) / 1.349
        spread = np.where(middle_half > 0, np.minimum(sd, middle_half), sd)
        start = low - MARGIN * (high - low)
        width = (1 + 2 * MARGIN) * (high - low) / N_BINS
        return cls(start, width, NARROWER * 0.9 * spread * len(x) ** -0.2)

    @property
    def centers(self) -> np.ndarray:
        """Middles of the bins, (D, N_BINS)."""
        return self.start[:, None] + self.width[:, None] * (np.arange(N_BINS) + 0.5)

    def counts(self, x: np.ndarray) -> np.ndarray:
        """Count rows (N, D) in bins: (D, N_BINS + 2), what lies outside in the first and last."""
        position = np.floor((x - self.start) / self.width) + 1
        bins = np.clip(position, 0, N_BINS + 1).astype(np.intp)
        return np.stack([np.bincount(column, minlength=N_BINS + 2) for column in bins.T])

    def density(self, counts: np.ndarray) -> np.ndarray:
        """Kernel density estimate from counts (..., D, N_BINS + 2): (..., D, N_BINS)."""
        shares = counts[..., 1:-1] / counts.sum(axis=-1, keepdims=True)
        smoothed = np.stack(
            [
                gaussian_filter1d(shares[..., j, :], sigma, axis=-1, mode="constant")
                for j, sigma in enumerate(self.bandwidth / self.width)
            ],
            axis=-2,
        )
        return smoothed / self.width[:, None]


def shape(x: np.ndarray) -> np.ndarray:
    """Distribution function of each standardized feature of rows (N, D), at `STEPS`: (D, ...).

    Its location and scale are taken out because a model that knows them only roughly makes
    replicates that differ in them, and that would hide a wrong shape.
    """
    standardized = np.sort((x - x.mean(axis=0)) / x.std(axis=0), axis=0)
    below = [np.searchsorted(column, STEPS, side="right") for column in standardized.T]
    return np.stack(below) / len(x)


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


class Summary(NamedTuple):
    """What is kept of a data set; replicates have a leading axis."""

    per_feature: np.ndarray  # (D, T)
    correlations: np.ndarray  # (P,), lower triangle
    counts: np.ndarray  # (D, B), of `Marginals`
    shapes: np.ndarray  # (D, B), distribution functions, standardized


def correlations(x: np.ndarray) -> np.ndarray:
    """Lower triangle of the correlations of rows (N, D), row by row."""
    matrix = np.atleast_2d(np.corrcoef(x, rowvar=False))
    return matrix[np.tril_indices(len(matrix), -1)]


def distances(replicated: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Largest difference from the mean distribution function: of replicates and of the data."""
    # The data count as one more replicate, so that no distance is favored.
    mean = (replicated.sum(axis=0) + observed) / (len(replicated) + 1)
    return np.abs(replicated - mean).max(axis=-1), np.abs(observed - mean).max(axis=-1)


class Compared(NamedTuple):
    """Statistics of replicates beside those of the data, and how surprising the data are."""

    replicated: np.ndarray  # (S, ...)
    observed: np.ndarray
    p_value: np.ndarray
    adjusted_p_value: np.ndarray


def judge(replicated: Summary, observed: Summary) -> tuple[Compared, Compared]:
    """Compare all statistics together: those of each feature (D, T + 1), and correlations (P,).

    The distance of the distribution functions, whose p-value is one-sided, comes after the others.
    """
    distance, own = distances(replicated.shapes, observed.shapes)
    made = np.concatenate([replicated.per_feature, distance[..., None]], axis=-1)
    seen = np.concatenate([observed.per_feature, own[..., None]], axis=-1)
    all_made = np.concatenate([made.reshape(len(made), -1), replicated.correlations], axis=-1)
    all_seen = np.concatenate([seen.ravel(), observed.correlations])
    one_sided = np.zeros(all_seen.size, dtype=bool)
    one_sided[seen.shape[1] - 1 : seen.size : seen.shape[1]] = True
    p = p_values(all_made, all_seen, one_sided)
    adjusted = adjusted_p_values(all_made, all_seen, one_sided)
    here, there = slice(seen.size), slice(seen.size, None)
    shape = seen.shape
    return (
        Compared(made, seen, p[here].reshape(shape), adjusted[here].reshape(shape)),
        Compared(replicated.correlations, observed.correlations, p[there], adjusted[there]),
    )
