r"""The pass over groups of rows, in each of which the same entries are observed.

For a component with whitener W, and the features in the order observed o, missing m, rotations Q
make its whitener triangular again:

    W P = Q L,     L = [L_oo 0; L_mo L_mm],     |W d|^2 = |L_oo d_o|^2 + |L_mo d_o + L_mm d_m|^2

Integrating x_m out leaves a log-quadratic function of x_o, and given x_o and the label x_m is
normal about B d_o:

    offset_o = offset + |m|/2 log 2 pi - log|L_mm|         whitener_o = L_oo
    B = -L_mm^-1 L_mo                                       C = (L_mm' L_mm)^-1

So a pass has three steps: before, restrict the functions; the kernel, on the observed features; and
after, complete the sums N, F and S of a group by what is expected of the missing entries,

    first_m = B F      second_mo = B S      second_mm = B S B' + N C.

No entry is imputed. Sums add over groups, blocks and workers.

Rows may also be spread: each stands for the normal distribution N(x, R) about it, R diagonal. The
average of a log-quadratic function over it has another offset, and S gains N R,

    offset - 1/2 tr(W R W')            second = S + N R,

so that the M-step adds R to every covariance, which therefore cannot become singular.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
from numba import types

from bayes_gmm.data import Observations
from bayes_gmm.data.patterns import by_pattern
from bayes_gmm.data.streams import Stream, blocks
from bayes_gmm.kernels import cpu
from bayes_gmm.kernels.kernel import Kernel, at_address, c_order, inlined, kernel
from bayes_gmm.kernels.signatures import (
    FUNCTIONS,
    PASS,
    PLACES,
    PLACES_OF_GROUPS,
    REAL,
    SUMS,
    VECTOR,
    WHOLE,
)
from bayes_gmm.model.normal import LOG_2PI
from bayes_gmm.model.parameters import LogQuadratic
from bayes_gmm.model.statistics import SufficientStatistics
from bayes_gmm.model.structures import UNCONSTRAINED, Structure

UNWEIGHTED = np.empty(0)


class Groups(NamedTuple):
    """Rows as compiled loops take them: G groups, every array read-only.

    Attributes
    ----------
    values : ndarray (sum of n_g |o_g|,)
        The rows (n_g, |o_g|) of one group after the other, in the user's units.
    weights : ndarray (N,)
        How often each row counts, in the same order; empty for once.
    edges : ndarray of int (G + 1,)
        The first row of each group, and N.
    order : ndarray of int (G, D)
        The observed features of each, ascending, then the missing ones.
    widths : ndarray of int (G,)
        How many are observed.
    spread : ndarray (D,)
        The diagonal of R, in the coordinates of the pass; zeros for none.
    """

    values: np.ndarray
    weights: np.ndarray
    edges: np.ndarray
    order: np.ndarray
    widths: np.ndarray
    spread: np.ndarray

    @classmethod
    def of(
        cls, x: np.ndarray, weights: np.ndarray | None = None, spread: np.ndarray | None = None
    ) -> "Groups":
        """Take rows (n, D) in which entries may be missing."""
        order, edges, observed = by_pattern(x)
        rows = x[order]
        parts = zip(edges, edges[1:], observed, strict=False)
        values = np.concatenate([rows[start:stop, own].ravel() for start, stop, own in parts])
        return cls._made(
            values,
            None if weights is None else weights[order],
            edges,
            np.argsort(~observed, axis=1, kind="stable"),
            observed.sum(axis=1),
            spread,
        )

    @classmethod
    def complete(
        cls, x: np.ndarray, weights: np.ndarray | None = None, spread: np.ndarray | None = None
    ) -> "Groups":
        """Take rows (n, D) without missing entries, which are not copied."""
        n_rows, n_features = x.shape
        edges, order = np.array([0, n_rows]), np.arange(n_features)[None]
        values = np.ascontiguousarray(x).reshape(-1)
        return cls._made(values, weights, edges, order, np.array([n_features]), spread)

    @classmethod
    def _made(
        cls,
        values: np.ndarray,
        weights: np.ndarray | None,
        edges: np.ndarray,
        order: np.ndarray,
        widths: np.ndarray,
        spread: np.ndarray | None,
    ) -> "Groups":
        zeros = np.zeros(order.shape[1])
        floats = c_order(
            values,
            UNWEIGHTED if weights is None else weights,
            zeros if spread is None else spread,
        )
        places = (np.ascontiguousarray(part, np.int64) for part in (edges, order, widths))
        values, weights, spread = map(read_only, floats)
        edges, order, widths = map(read_only, places)
        return cls(values, weights, edges, order, widths, spread)

    @property
    def is_complete(self) -> bool:
        """Whether no entry is missing."""
        return len(self.widths) == 1 and self.widths[0] == self.order.shape[1]


def read_only(array: np.ndarray) -> np.ndarray:
    """Look at an array without the right to write, so that all have the same type."""
    view = array.view()
    view.flags.writeable = False
    return view


FIELDS = (VECTOR, VECTOR, PLACES, PLACES_OF_GROUPS, PLACES, VECTOR)
GROUPS = types.BaseTuple.from_types(FIELDS, Groups)
# A pass over groups: the address of the kernel, groups, origin and inverse scale, functions, sums.
GROUP_PASS = REAL(WHOLE, GROUPS, VECTOR, VECTOR, *FUNCTIONS, *SUMS)
pass_at = at_address(PASS)


def accumulate(
    rows: np.ndarray | Groups,
    origin: np.ndarray,
    scale: np.ndarray,
    log_quadratic: LogQuadratic,
    weights: np.ndarray | None = None,
    structure: Structure = UNCONSTRAINED,
) -> SufficientStatistics:
    """Expected sufficient statistics of a block of rows; see `reference.accumulate`.

    Of second moments only that is made which an M-step of this structure reads.
    """
    groups = rows if isinstance(rows, Groups) else Groups.complete(rows, weights)
    functions = c_order(*log_quadratic)
    n_components, n_features = log_quadratic.center.shape
    count = np.zeros(n_components)
    first = np.zeros((n_components, n_features))
    second = np.zeros((n_components, n_features, n_features))
    kernel = cpu.loop(n_features, structure).address
    log_normalizer = pass_over(groups)(
        kernel, groups, *c_order(origin, 1 / scale), *functions, count, first, second
    )
    return SufficientStatistics(log_normalizer, count, first, second, log_quadratic.center)


def pass_over(groups: Groups) -> Kernel:
    """Choose the pass, `complete_rows` or `incomplete_rows`, of the signature `GROUP_PASS`."""
    return complete_rows if groups.is_complete else incomplete_rows


@inlined
def softened(offset, whitener, spread, order):  # pragma: no cover - compiled
    """Offsets (K,) of functions averaged over the spread of each row, in the features `order`."""
    averaged = np.empty(offset.size)
    for k in range(offset.size):
        averaged[k] = offset[k]
        for i in range(whitener.shape[1]):
            for j in range(i + 1):
                averaged[k] -= 0.5 * whitener[k, i, j] ** 2 * spread[order[j]]
    return averaged


@inlined
def add_spread(count, second, spread, order):  # pragma: no cover - compiled
    """Add N R to second moments (K, |o|, |o|)."""
    for k in range(count.size):
        for j in range(second.shape[1]):
            second[k, j, j] += count[k] * spread[order[j]]


@kernel(GROUP_PASS)
def complete_rows(
    kernel_address, groups, origin, inverse_scale, offset, center, whitener, count, first, second
):  # pragma: no cover - compiled
    """Run the pass where no entry is missing."""
    order = groups.order[0]
    n_features = order.size
    averaged = softened(offset, whitener, groups.spread, order)
    log_normalizer = pass_at(kernel_address)(
        groups.values.reshape((groups.edges[1], n_features)), groups.weights,
        origin, inverse_scale, averaged, center, whitener, count, first, second,
    )  # fmt: skip
    add_spread(count, second, groups.spread, order)
    return log_normalizer


@kernel(GROUP_PASS)
def incomplete_rows(
    kernel_address, groups, origin, inverse_scale, offset, center, whitener, count, first, second
):  # pragma: no cover - compiled
    """Run the pass over every group, and complete its sums by their expectation."""
    accumulate = pass_at(kernel_address)
    n_components, n_features = center.shape
    rotated = np.empty((n_components, n_features, n_features))
    log_normalizer = 0.0
    place = 0
    for g in range(groups.widths.size):
        order, width = groups.order[g], groups.widths[g]
        low, high = groups.edges[g], groups.edges[g + 1]
        size = (high - low) * width
        rows = groups.values[place : place + size].reshape((high - low, width))
        weights = groups.weights[low:high] if groups.weights.size else groups.weights
        place += size
        own_origin, own_scale = np.empty(width), np.empty(width)
        for j in range(width):
            own_origin[j], own_scale[j] = origin[order[j]], inverse_scale[order[j]]
        own_offset, own_center, own_whitener = restricted(
            offset, center, whitener, order, width, rotated
        )
        own_offset = softened(own_offset, own_whitener, groups.spread, order)
        own_count = np.zeros(n_components)
        own_first = np.zeros((n_components, width))
        own_second = np.zeros((n_components, width, width))
        log_normalizer += accumulate(
            rows, weights, own_origin, own_scale, own_offset, own_center, own_whitener,
            own_count, own_first, own_second,
        )  # fmt: skip
        add_spread(own_count, own_second, groups.spread, order)
        for k in range(n_components):
            slope, root = given_observed(rotated[k], width)
            n = own_count[k]
            count[k] += n
            add_completed(order, width, slope, own_first[k], own_second[k], first[k], second[k])
            # N C = N root root', of what the missing entries vary by themselves
            for i in range(n_features - width):
                for j in range(i + 1):
                    entry = 0.0
                    for m in range(j + 1):
                        entry += root[i, m] * root[j, m]
                    add_symmetric(second[k], order[width + i], order[width + j], n * entry)
    return log_normalizer


@inlined
def restricted(offset, center, whitener, order, width, rotated):  # pragma: no cover - compiled
    """Integrate the missing features out: functions of the observed ones, (K,), (K, |o|), ...

    `rotated` (K, D, D) becomes the triangles L.
    """
    n_components, n_features = center.shape
    own_offset = np.empty(n_components)
    own_center = np.empty((n_components, width))
    own_whitener = np.empty((n_components, width, width))
    for k in range(n_components):
        rotate(whitener[k], order, width, rotated[k])
        own_offset[k] = offset[k] + 0.5 * (n_features - width) * LOG_2PI
        for i in range(width, n_features):
            own_offset[k] -= np.log(rotated[k, i, i])
        for i in range(width):
            own_center[k, i] = center[k, order[i]]
            for j in range(width):
                own_whitener[k, i, j] = rotated[k, i, j] if j <= i else 0.0
    return own_offset, own_center, own_whitener


@inlined
def rotate(whitener, order, width, turned):  # pragma: no cover - compiled
    """Turn a lower triangle (D, D), its columns in another order, into a lower triangle again.

    Missing features are moved behind the others one by one, the last of them first. Moving column
    j to the end of n columns leaves entries above the diagonal in that column alone; rotations of
    rows i and i + 1, for i = j .. n - 2, make them zero.
    """
    n_features = order.size
    for i in range(n_features):
        for j in range(n_features):
            turned[i, j] = whitener[i, j] if j <= i else 0.0
    for place in range(n_features - 1, width - 1, -1):
        column = order[place]
        for i in range(column, n_features):
            moved = turned[i, column]
            for j in range(column, place):
                turned[i, j] = turned[i, j + 1]
            turned[i, place] = moved
        for i in range(column, place):
            upper, lower = turned[i], turned[i + 1]
            length = np.hypot(upper[place], lower[place])
            cosine, sine = lower[place] / length, upper[place] / length
            for j in range(i + 1):
                entry = upper[j]
                upper[j] = cosine * entry - sine * lower[j]
                lower[j] = sine * entry + cosine * lower[j]
            upper[place], lower[place] = 0.0, length
            if upper[i] < 0.0:  # diagonals are positive
                for j in range(i + 1):
                    upper[j] = -upper[j]


@inlined
def given_observed(turned, width):  # pragma: no cover - compiled
    """What x_m is given x_o: slope B (|m|, |o|), and root L_mm^-1 (|m|, |m|), C = root root'."""
    n_missing = len(turned) - width
    slope, root = np.empty((n_missing, width)), np.zeros((n_missing, n_missing))
    for i in range(n_missing):
        row, diagonal = turned[width + i], turned[width + i, width + i]
        for j in range(width):
            entry = -row[j]
            for m in range(i):
                entry -= row[width + m] * slope[m, j]
            slope[i, j] = entry / diagonal
        root[i, i] = 1.0 / diagonal
        for j in range(i):
            entry = 0.0
            for m in range(j, i):
                entry -= row[width + m] * root[m, j]
            root[i, j] = entry / diagonal
    return slope, root


@inlined
def add_completed(
    order, width, slope, own_first, own_second, first, second
):  # pragma: no cover - compiled
    """Add the sums (|o|,), (|o|, |o|) of one component, completed by B d_o for the rest.

    Of `own_second` the lower triangle is read, of `second` (D, D) both are written.
    """
    n_missing = len(slope)
    product = np.empty((n_missing, width))  # B S
    for i in range(n_missing):
        for j in range(width):
            entry = 0.0
            for m in range(width):
                entry += slope[i, m] * own_second[max(m, j), min(m, j)]
            product[i, j] = entry
    for i in range(width):
        first[order[i]] += own_first[i]
        for j in range(i + 1):
            add_symmetric(second, order[i], order[j], own_second[i, j])
    for i in range(n_missing):
        entry = 0.0
        for m in range(width):
            entry += slope[i, m] * own_first[m]
        first[order[width + i]] += entry
        for j in range(width):
            add_symmetric(second, order[width + i], order[j], product[i, j])
        for j in range(i + 1):
            entry = 0.0
            for m in range(width):
                entry += product[i, m] * slope[j, m]
            add_symmetric(second, order[width + i], order[width + j], entry)


@inlined
def add_symmetric(second, i, j, entry):  # pragma: no cover - compiled
    """Add to an entry of a symmetric matrix, and to its mirror image."""
    second[i, j] += entry
    if i != j:
        second[j, i] += entry


def blocks_of(
    observations: Observations, block_rows: int, spread: np.ndarray | None = None
) -> Callable[[], Iterator[Groups]]:
    """Return a function that gives the rows of a data set again, in blocks of groups."""
    values, weights = observations.values, observations.weights
    if not observations.is_complete and not isinstance(values, Stream):
        order, _, _ = by_pattern(values)
        values = values[order]
        weights = None if weights is None else weights[order]
    make = Groups.complete if observations.is_complete else Groups.of

    def read() -> Iterator[Groups]:
        start = 0
        for block in blocks(values, block_rows):
            own = None if weights is None else weights[start : start + len(block)]
            start += len(block)
            yield make(block, own, spread)

    if isinstance(values, Stream | np.memmap):
        return read
    held = list(read())
    return lambda: iter(held)
