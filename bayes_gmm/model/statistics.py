r"""Sufficient statistics of a mixture: all that a rule needs to know about the data.

For labels that are expected (EM) or sampled (Gibbs), r_nk is the share of row n that component k
takes. With d = x_n - center_k,

    count_k = sum_n r_nk     first_k = sum_n r_nk d     second_k = sum_n r_nk d d'.

The moments are taken about the current component means. Raw moments, sum r x x' - N m m', would
lose every digit where the mean is 1e8 standard deviations from zero; centered ones do not.
Statistics of separate rows add, so that any number of chunks gives one total.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from bayes_gmm.model.parameters import LogQuadratic


@dataclass(frozen=True, eq=False)
class SufficientStatistics:
    """Counts and centered moments of every component, and the log normalizer of the pass."""

    log_normalizer: float  # sum_n log sum_k rho_k(x_n); at point parameters, the log-likelihood
    count: np.ndarray  # (K,), expected number of rows per component
    first: np.ndarray  # (K, D), sum of r d
    second: np.ndarray  # (K, D, D), sum of r d d'
    center: np.ndarray  # (K, D), what d is measured from

    @classmethod
    def of(
        cls, x: np.ndarray, responsibilities: np.ndarray, center: np.ndarray, log_normalizer: float
    ) -> "SufficientStatistics":
        """Sum the statistics of rows whose responsibilities are known.

        x (N, D), responsibilities (N, K), center (K, D).
        """
        first, second = np.empty(center.shape), np.empty((*center.shape, center.shape[1]))
        for k in range(len(center)):  # products of matrices, which are faster than one einsum
            residual = x - center[k]
            weighted = responsibilities[:, k, None] * residual
            first[k], second[k] = weighted.sum(axis=0), weighted.T @ residual
        return cls(log_normalizer, responsibilities.sum(axis=0), first, second, center)

    def __add__(self, other: "SufficientStatistics") -> "SufficientStatistics":
        """Statistics of two sets of rows together; both must be about the same centers."""
        if not np.array_equal(self.center, other.center):
            raise ValueError("statistics add only when they share their centers")
        return SufficientStatistics(
            self.log_normalizer + other.log_normalizer,
            self.count + other.count,
            self.first + other.first,
            self.second + other.second,
            self.center,
        )

    def __radd__(self, other: Literal[0]) -> "SufficientStatistics":
        """Let the built-in sum, which starts at 0, add statistics up."""
        if other != 0:
            return NotImplemented
        return self

    def reorder(self, order: np.ndarray) -> "SufficientStatistics":
        """Return the statistics with the components in another order. order (K,)."""
        return SufficientStatistics(
            self.log_normalizer,
            self.count[order],
            self.first[order],
            self.second[order],
            self.center[order],
        )

    @property
    def mean(self) -> np.ndarray:
        """Weighted mean of the rows of each component, (K, D); its center where count is zero."""
        return self.center + self._mean_residual

    @property
    def scatter(self) -> np.ndarray:
        """Weighted scatter about each component's own mean, W_k = sum r (x - mean)(x - mean)'."""
        shift = self._mean_residual
        return self.second - self.count[:, None, None] * shift[:, :, None] * shift[:, None, :]

    @property
    def _mean_residual(self) -> np.ndarray:
        occupied = np.where(self.count > 0, self.count, 1.0)
        return self.first / occupied[:, None]


def entropy(log_quadratic: LogQuadratic, statistics: SufficientStatistics) -> float:
    r"""Entropy of the responsibilities, how uncertain all labels are together, without a new pass.

    .. math:: H = -\sum_{nk} r_{nk} \log r_{nk}
        = \sum_n \log \sum_k \rho_{nk} - \sum_{nk} r_{nk} \log \rho_{nk}
    """
    whitener = log_quadratic.whitener
    squared = (whitener @ statistics.second) * whitener
    occupied = statistics.count > 0
    expected = statistics.count[occupied] @ log_quadratic.offset[occupied] - squared.sum() / 2
    return float(statistics.log_normalizer - expected)


def from_log_quadratic(
    x: np.ndarray, log_quadratic: LogQuadratic, weights: np.ndarray | None = None
) -> SufficientStatistics:
    """Expected sufficient statistics of rows under K log-quadratic functions: the E-step.

    x (N, D), weights (N,).
    """
    log_rho = log_quadratic(x)
    peak = log_rho.max(axis=1, keepdims=True)
    shares = np.exp(log_rho - peak)
    total = shares.sum(axis=1, keepdims=True)
    times = np.ones((len(x), 1)) if weights is None else weights[:, None]
    log_normalizer = float((times * (peak + np.log(total))).sum())
    return SufficientStatistics.of(x, times * shares / total, log_quadratic.center, log_normalizer)
