"""Densities and ranges of single posterior quantities, whatever their units."""

import numpy as np
from arviz_stats.base import array_stats

OUTER = (0.001, 0.999)
REACH = 1.5  # how many widths of the draws an axis is stretched to include an estimate


def density(values: np.ndarray, n: int = 100) -> tuple[np.ndarray, np.ndarray]:
    """Estimate the density of draws, scaled so that its peak is one.

    Shapes: values (S,) -> x, height (n,).
    """
    center, spread = values.mean(), values.std()
    if not spread > 0 or np.ptp(values) <= 0:
        return np.empty(0), np.empty(0)
    grid, height, _ = array_stats.kde((values - center) / spread, grid_len=n)
    return center + spread * grid, height / height.max()


def window(values: np.ndarray, estimates: np.ndarray) -> tuple[float, float]:
    """Ends of an axis that shows the draws, and the estimates unless they are far away.

    Shapes: values (S,), estimates (E,).
    """
    low, high = np.quantile(values, OUTER)
    width = high - low
    if width <= 0:
        width = abs(low) or 1.0
    near = estimates[(estimates > low - REACH * width) & (estimates < high + REACH * width)]
    low, high = min(low, *near, low), max(high, *near, high)
    margin = 0.06 * (high - low or width)
    return float(low - margin), float(high + margin)
