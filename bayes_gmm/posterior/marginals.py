"""The distribution of each feature on a fine grid, the same grid for the data and for replicates.

Counts in the bins, blurred by a Gaussian, are a kernel density estimate. Data and replicates are
blurred alike, so that the blur is no reason for them to differ.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter1d

N_BINS = 512
MARGIN = 0.25  # how far the grid goes beyond the data, relative to their range
STEPS = np.linspace(-6, 6, 481)  # standard deviations from the mean
NARROWER = 0.5  # of Silverman's width, which takes the mixture for a single normal


@dataclass(frozen=True, eq=False)
class Marginals:
    """A grid for each feature.

    Attributes
    ----------
    start, width : ndarray (D,)
        Where the first bin begins, and how wide the bins are.
    bandwidth : ndarray (D,)
        Standard deviation of the blur.
    """

    start: np.ndarray
    width: np.ndarray
    bandwidth: np.ndarray

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
        blurred = np.stack(
            [
                gaussian_filter1d(shares[..., j, :], sigma, axis=-1, mode="constant")
                for j, sigma in enumerate(self.bandwidth / self.width)
            ],
            axis=-2,
        )
        return blurred / self.width[:, None]


def shape(x: np.ndarray) -> np.ndarray:
    """Distribution function of each standardized feature of rows (N, D), at `STEPS`: (D, ...).

    Its location and scale are taken out because a model that knows them only roughly makes
    replicates that differ in them, and that would hide a wrong shape.
    """
    standardized = np.sort((x - x.mean(axis=0)) / x.std(axis=0), axis=0)
    below = [np.searchsorted(column, STEPS, side="right") for column in standardized.T]
    return np.stack(below) / len(x)
