"""The fold with sampled labels: a function from log-quadratic functions to sampled statistics.

It is `chunks.expectation` with one draw of every label in the place of the responsibilities, and of
every missing entry in the place of its moments. A draw depends on its key and on the places of the
rows alone.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from bayes_gmm.data import Observations
from bayes_gmm.data.row_weights import copies
from bayes_gmm.kernels import labels
from bayes_gmm.kernels.incomplete_labels import incomplete_labels
from bayes_gmm.kernels.kernel import Kernel, c_order
from bayes_gmm.kernels.label_counts import counted_rows
from bayes_gmm.kernels.rows import sorted_blocks
from bayes_gmm.model.parameters import LogQuadratic
from bayes_gmm.model.statistics import SufficientStatistics

Sampled = Callable[[LogQuadratic, int], SufficientStatistics]

BLOCK_ROWS = 1 << 16  # a multiple of the kernel's chunk, so that blocks change no sum


def look_at(observations: Observations) -> Kernel:
    """Choose the pass with sampled labels."""
    if not observations.is_complete:
        return incomplete_labels
    return labels.loop(observations.n_features) if observations.weights is None else counted_rows


def sampled_statistics(observations: Observations) -> Sampled:
    """Close over the data: statistics of sampled labels, in the coordinates (x - origin) / scale.

    Every copy of a row has a label, so row weights that are no whole numbers are rounded; see
    `copies`.
    """
    if observations.weights is not None:
        whole = copies(observations.weights).astype(float)
        observations = replace(observations, weights=whole)
    look, read = look_at(observations), sorted_blocks(observations, BLOCK_ROWS)
    coordinates = c_order(observations.origin, 1 / observations.scale)
    nothing_kept = np.empty(0, np.int64)

    def draw(log_quadratic: LogQuadratic, key: int) -> SufficientStatistics:
        n_components, n_features = log_quadratic.center.shape
        count, first = np.zeros(n_components), np.zeros((n_components, n_features))
        second = np.zeros((n_components, n_features, n_features))
        functions = c_order(*log_quadratic)
        place, log_normalizer = 0, 0.0
        for rows in read():
            log_normalizer = look(
                rows.x, rows.weights, place, np.uint64(key), *coordinates, *functions,
                count, first, second, nothing_kept, log_normalizer,
            )  # fmt: skip
            place += len(rows.x)
        second = np.tril(second) + np.tril(second, -1).swapaxes(1, 2)  # passes fill the triangle
        return SufficientStatistics(log_normalizer, count, first, second, log_quadratic.center)

    return draw
