"""The pass with expected labels, compiled: the statistics of `reference`, near the machine's speed.

Rows are taken in chunks that stay in the second-level cache (`log_rho.py`). With few features all
sums are written out as loops; with many, the products of matrices go to BLAS. No array of N x K
numbers is ever made.

The kernel is serial and releases the GIL: samplers call it from threads of their own, and
`chunks.expectation` runs it on several blocks of rows at a time.
"""

import numpy as np

from bayes_gmm.kernels.diagonal import diagonal_whiteners
from bayes_gmm.kernels.incomplete import incomplete_rows
from bayes_gmm.kernels.kernel import Kernel, kernel
from bayes_gmm.kernels.log_rho import (
    CHUNK,
    FEW_FEATURES,
    PANEL,
    REASSOCIATE,
    log_rho_few,
    log_rho_many,
    normalize,
    packed,
    turn,
)
from bayes_gmm.kernels.shared import shared_whitener
from bayes_gmm.kernels.signatures import PASS
from bayes_gmm.kernels.weighted_sums import add_few, add_many, mirror
from bayes_gmm.model.structures import UNCONSTRAINED, Structure


def loop(n_features: int, structure: Structure = UNCONSTRAINED, *, complete: bool = True) -> Kernel:
    """Choose the fastest kernel of the signature `PASS`, given what the whiteners have in common.

    `complete` says whether no entry is missing.
    """
    if not complete:
        return incomplete_rows
    if structure.whiteners == "diagonal":
        return diagonal_whiteners
    if structure.whiteners == "one" and n_features > FEW_FEATURES:
        return shared_whitener
    return few_features if n_features <= FEW_FEATURES else many_features


@kernel(PASS, fastmath=REASSOCIATE)
def few_features(
    x, weights, origin, inverse_scale, offset, center, whitener, count, first, second
):  # pragma: no cover - compiled
    """Run the pass with every sum over rows written out; adds to count, first and second."""
    n_rows, n_features = x.shape
    n_components = offset.size
    rows, residual = np.empty((n_features, CHUNK)), np.empty((n_features, CHUNK))
    log_rho = np.empty((n_components, CHUNK))
    peak, total, scratch = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    product = np.empty(CHUNK // 32)
    log_normalizer = 0.0
    for start in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - start)
        turn(x[start : start + n], origin, inverse_scale, rows)
        for k in range(n_components):
            log_rho_few(rows, residual, scratch, offset[k], center[k], whitener[k], log_rho[k], n)
        log_normalizer += normalize(
            log_rho, weights[start : start + n], peak, total, product, scratch, n
        )
        for k in range(n_components):
            count[k] += add_few(
                rows, residual, scratch, log_rho[k], center[k], first[k], second[k], n
            )
    mirror(second)
    return log_normalizer


@kernel(PASS, fastmath=REASSOCIATE)
def many_features(
    x, weights, origin, inverse_scale, offset, center, whitener, count, first, second
):  # pragma: no cover - compiled
    """Run the pass with the products of matrices by BLAS; adds to count, first and second."""
    n_rows, n_features = x.shape
    n_components = offset.size
    width = min(CHUNK, n_rows)  # BLAS works on whole chunks, however few rows there are
    rows, residual = np.zeros((n_features, width)), np.empty((n_features, width))
    panel, square = np.empty((PANEL, width)), np.empty(PANEL * n_features)
    log_rho = np.empty((n_components, width))
    peak, total, scratch = np.empty(CHUNK), np.empty(CHUNK), np.empty(CHUNK)
    product = np.empty(CHUNK // 32)
    panels = packed(whitener)
    log_normalizer = 0.0
    for start in range(0, n_rows, CHUNK):
        n = min(CHUNK, n_rows - start)
        turn(x[start : start + n], origin, inverse_scale, rows)
        for k in range(n_components):
            log_rho_many(rows, residual, panel, offset[k], center[k], panels[k], log_rho[k])
        log_normalizer += normalize(
            log_rho, weights[start : start + n], peak, total, product, scratch, n
        )
        for k in range(n_components):
            count[k] += add_many(
                rows, residual, panel, square, log_rho[k], center[k], first[k], second[k], n
            )
    mirror(second)
    return log_normalizer
