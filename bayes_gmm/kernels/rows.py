r"""Rows as the passes take them, and the pass over a block of them.

Rows in which entries are missing (nan) are sorted by which ones, so that rows that lack the same
entries stand together.

Rows may be spread: each stands for the normal distribution N(x, R) about it, R diagonal. The
average of a log-quadratic function over it has another offset, and the second moments gain N R,

    offset - 1/2 tr(W R W')            second = S + N R,

so that the M-step adds R to every covariance, which therefore cannot become singular.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numba import types

from bayes_gmm.data import Observations
from bayes_gmm.data.streams import blocks, is_on_disk
from bayes_gmm.kernels.cpu import loop
from bayes_gmm.kernels.kernel import at_address, c_order, kernel
from bayes_gmm.kernels.signatures import FUNCTIONS, MATRIX, PASS, REAL, SUMS, VECTOR, WHOLE
from bayes_gmm.model.missing import by_pattern
from bayes_gmm.model.parameters import LogQuadratic
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures import UNCONSTRAINED, Structure

UNWEIGHTED = np.empty(0)


class Rows(NamedTuple):
    """Some rows, every array read-only.

    `x` (n, D) in the user's units; `weights` (n,), how often each counts, empty for once; `spread`
    (D,), the diagonal of R in the coordinates of the pass, empty for none.
    """

    x: np.ndarray
    weights: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(
        cls, x: np.ndarray, weights: np.ndarray | None = None, spread: np.ndarray | None = None
    ) -> "Rows":
        """Take rows without a copy, if they are float64 in C order."""
        given = (x, *(UNWEIGHTED if part is None else part for part in (weights, spread)))
        return cls(*map(read_only, c_order(*given)))


def read_only(array: np.ndarray) -> np.ndarray:
    """Look at an array without the right to write, so that all have the same type."""
    view = array.view()
    view.flags.writeable = False
    return view


def sorted_blocks(
    observations: Observations, block_rows: int, spread: np.ndarray | None = None
) -> Callable[[], Iterator[Rows]]:
    """Return a function that gives the rows of a data set again, block by block."""
    values, weights = observations.values, observations.weights
    if not observations.is_complete:
        order = by_pattern(np.asarray(values))
        values = np.asarray(values)[order]
        weights = None if weights is None else weights[order]

    def read() -> Iterator[Rows]:
        start = 0
        for block in blocks(values, block_rows):
            own = None if weights is None else weights[start : start + len(block)]
            start += len(block)
            yield Rows.of(block, own, spread)

    if is_on_disk(values):
        return read
    held = list(read())
    return lambda: iter(held)


ROWS = types.BaseTuple.from_types((MATRIX, VECTOR, VECTOR), Rows)
pass_at = at_address(PASS)


def accumulate(
    rows: np.ndarray | Rows,
    origin: np.ndarray,
    scale: np.ndarray,
    log_quadratic: LogQuadratic,
    weights: np.ndarray | None = None,
    structure: Structure = UNCONSTRAINED,
    *,
    complete: bool = True,
) -> SufficientStatistics:
    """Expected sufficient statistics of a block of rows; see `reference.accumulate`.

    Of second moments only that is made which an M-step of this structure reads.
    """
    rows = rows if isinstance(rows, Rows) else Rows.of(rows, weights)
    functions = c_order(*log_quadratic)
    n_components, n_features = log_quadratic.center.shape
    count = np.zeros(n_components)
    first = np.zeros((n_components, n_features))
    second = np.zeros((n_components, n_features, n_features))
    address = loop(n_features, structure, complete=complete).address
    log_normalizer = run_pass(
        address, rows, *c_order(origin, 1 / scale), *functions, count, first, second
    )
    return SufficientStatistics(log_normalizer, count, first, second, log_quadratic.center)


@kernel(REAL(WHOLE, ROWS, VECTOR, VECTOR, *FUNCTIONS, *SUMS))
def run_pass(
    address, rows, origin, inverse_scale, offset, center, whitener, count, first, second
):  # pragma: no cover - compiled
    """Run the kernel at an address over rows, each with its spread."""
    accumulate = pass_at(address)
    if rows.spread.size == 0:
        return accumulate(
            rows.x, rows.weights, origin, inverse_scale, offset, center, whitener,
            count, first, second,
        )  # fmt: skip
    n_components, n_features = center.shape
    averaged = np.empty(n_components)
    for k in range(n_components):
        averaged[k] = offset[k]
        for i in range(n_features):
            for j in range(i + 1):
                averaged[k] -= 0.5 * whitener[k, i, j] ** 2 * rows.spread[j]
    log_normalizer = accumulate(
        rows.x, rows.weights, origin, inverse_scale, averaged, center, whitener,
        count, first, second,
    )  # fmt: skip
    for k in range(n_components):
        for j in range(n_features):
            second[k, j, j] += count[k] * rows.spread[j]
    return log_normalizer
